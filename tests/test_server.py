"""The server's shell under load and at its edges; tests/contract has what the public contract promises."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator

import gevent
import pytest
from conftest import RunScript, eventually
from native import run_natively
from shell_pair import QUICK, Party, address_of, party

from pygase_gevent import (
    ArgumentError,
    ArgumentTypeError,
    CallTimeoutError,
    Client,
    Config,
    Delivery,
    Event,
    GameStateStore,
    GameStateUpdate,
    NotRunningError,
    QueueFullError,
    Server,
)

ORDERED = {"N": Delivery.RELIABLE_ORDERED}


@pytest.fixture
def net() -> Iterator[Party]:
    with party() as it:
        yield it


class Wire:
    """An event wire with as much room as the test gives it."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.events: list[Event] = []
        self.refused = 0

    def _push_event(self, event: Event) -> bool:
        if len(self.events) >= self.room:
            self.refused += 1
            return False
        self.events.append(event)
        return True

    def numbers(self) -> list[int]:
        return [event.handler_args[0] for event in self.events]


# --- what is received ---------------------------------------------------------------------------


@pytest.mark.crosses_threads
def test_a_full_event_wire_loses_nothing(net: Party) -> None:
    wire = Wire(room=3)
    config = Config(close_linger_s=0.03, max_received_events=8)
    server = net.server(config=config, event_wire=wire)
    client = net.client(server, deliveries=ORDERED)
    for number in range(100):
        client.dispatch_event("N", number)
    eventually(lambda: wire.refused > 0)
    assert wire.numbers() == [0, 1, 2]
    wire.room = 1000
    eventually(lambda: len(wire.events) == 100)
    assert wire.numbers() == list(range(100))
    assert {event.handler_kwargs["client_address"] for event in wire.events} == {address_of(server)}


@pytest.mark.crosses_threads
def test_a_full_event_wire_holds_up_neither_calls_nor_the_state(net: Party) -> None:
    server = net.server(config=Config(close_linger_s=0.03, max_received_events=8), event_wire=Wire(room=0))
    server.register_event_handler("ADD", lambda a, b: a + b)
    client = net.client(server, deliveries=ORDERED)
    for number in range(100):
        client.dispatch_event("N", number)
    assert client.call("ADD", 2, 3) == 5
    server.game_state_store.push_update(GameStateUpdate(0, x=1))
    client.wait_until(lambda state: getattr(state, "x", 0) == 1, timeout=10.0)


@pytest.mark.crosses_threads
def test_events_that_a_full_wire_holds_up_outlive_a_restart(net: Party) -> None:
    wire = Wire(room=2)
    server = net.server(event_wire=wire)
    client = net.client(server, deliveries=ORDERED)
    for number in range(20):
        client.dispatch_event("N", number)
    eventually(lambda: wire.refused > 0)
    port = server.port
    assert port is not None
    server.shutdown()
    wire.room = 1000
    server.run_in_thread(port, event_wire=wire)
    eventually(lambda: len(wire.events) == 20)
    assert wire.numbers() == list(range(20))


@pytest.mark.crosses_threads
def test_a_blocking_handler_holds_up_its_own_client_only(net: Party) -> None:
    server = net.server()
    released: list[bool] = []
    seen: list[tuple[str, int]] = []

    def handle(who: str, number: int) -> None:
        seen.append((who, number))
        while who == "slow" and not released:
            gevent.sleep(0.005)

    server.register_event_handler("N", handle)
    slow, quick = (net.client(server, deliveries=ORDERED) for _ in range(2))
    for number in range(10):
        slow.dispatch_event("N", "slow", number)
    eventually(lambda: seen == [("slow", 0)])
    for number in range(10):
        quick.dispatch_event("N", "quick", number)
    eventually(lambda: [number for who, number in seen if who == "quick"] == list(range(10)))
    assert [number for who, number in seen if who == "slow"] == [0]
    released.append(True)
    eventually(lambda: [number for who, number in seen if who == "slow"] == list(range(10)))


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), gevent.Timeout(1)], ids=lambda e: type(e).__name__
)
def test_whatever_a_handler_raises_the_next_event_is_handled(
    net: Party, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.server()
    seen: list[int] = []

    def handle(number: int) -> None:
        seen.append(number)
        if number == 0:
            raise error

    server.register_event_handler("N", handle)
    client = net.client(server, deliveries=ORDERED)
    client.dispatch_event("N", 0)
    client.dispatch_event("N", 1)
    eventually(lambda: seen == [0, 1])
    assert server.connections[address_of(server)].stats.handler_errors == 1
    assert "event 'N'" in caplog.text


def test_events_without_a_handler_are_counted_and_their_type_is_logged_once(
    net: Party, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.server()
    client = net.client(server, deliveries={"NOBODY": Delivery.RELIABLE, "NOR": Delivery.RELIABLE})
    for _ in range(3):
        client.dispatch_event("NOBODY")
    client.dispatch_event("NOR")
    eventually(lambda: server.connections[address_of(server)].stats.unhandled == 4)
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sum("'NOBODY'" in message for message in messages) == 1
    assert sum("'NOR'" in message for message in messages) == 1


# --- what is dispatched -------------------------------------------------------------------------


@pytest.mark.crosses_threads
def test_each_threads_dispatches_keep_their_order(net: Party) -> None:
    server = net.server(deliveries=ORDERED)
    client = net.client(server)
    seen: list[tuple[int, int]] = []
    client.register_event_handler("N", lambda thread, number: seen.append((thread, number)))

    def dispatch(thread: int) -> None:
        for number in range(200):
            server.dispatch_event("N", thread, number)

    threads = [run_natively(dispatch, thread) for thread in range(4)]
    for thread in threads:
        thread.wait()
    eventually(lambda: len(seen) == 800)
    for thread_number in range(4):
        assert [number for thread, number in seen if thread == thread_number] == list(range(200))


@pytest.mark.crosses_threads
def test_an_unreliable_broadcast_leaves_out_who_has_no_room(net: Party) -> None:
    config = Config(
        timeout_s=0.4, resume_after_s=0.3, resume_window_s=30, close_linger_s=0.03, max_queued_events=4
    )
    server = net.server(config=config, deliveries={"R": Delivery.RELIABLE})
    away = net.client(server, config=config)
    gone = address_of(server)
    here = net.client(server, config=config)
    name = next(address for address in server.connections if address != gone)
    got: list[int] = []
    here.register_event_handler("U", got.append)
    server.shutdown()  # so that what is dispatched waits
    for number in range(4):
        server.dispatch_event("R", number, target_client=gone)
    with pytest.raises(QueueFullError, match=r"client .* Nothing was queued"):
        server.dispatch_event("R", 4, target_client=gone)
    with pytest.raises(QueueFullError, match=str(gone[1])):
        server.dispatch_event("R", 4)
    server.dispatch_event("U", 1)
    assert server.connections[gone].stats.drops["queue_full"] == 1
    assert server.connections[name].stats.drops["queue_full"] == 0
    away.disconnect()


@pytest.mark.parametrize(
    "target", ["ALL", 5, None, ("127.0.0.1", "5"), ["127.0.0.1", 5], [["127.0.0.1", 5]], ("127.0.0.1", 5, 6)]
)
def test_a_target_that_is_no_address_says_what_one_is(net: Party, target: object) -> None:
    server = net.server(run=False)
    with pytest.raises(ArgumentTypeError, match=r"tuple \(host, port\)"):
        server.dispatch_event("N", target_client=target)  # type: ignore[arg-type]


def test_nobody_is_an_empty_list(net: Party) -> None:
    net.server(run=False).dispatch_event("N", target_client=[])


@pytest.mark.crosses_threads
def test_states_published_faster_than_the_rate_are_thinned_and_the_last_arrives(net: Party) -> None:
    config = Config(close_linger_s=0.03, state_rate_hz=20)
    server = net.server(config=config)
    client = net.client(server)
    started = time.monotonic()
    for number in range(1, 301):
        server.game_state_store.push_update(GameStateUpdate(0, n=number))
        gevent.sleep(0.001)
    client.wait_until(lambda state: getattr(state, "n", 0) == 300, timeout=10.0)
    elapsed = time.monotonic() - started
    assert len(client.recent_states()) <= 20 * elapsed + 4


def test_kick_takes_a_short_reason_only(net: Party) -> None:
    server = net.server()
    net.client(server)
    with pytest.raises(ArgumentError, match="200"):
        server.kick(address_of(server), "ä" * 101)
    with pytest.raises(ArgumentTypeError, match="int"):
        server.kick(address_of(server), 5)  # type: ignore[arg-type]


def test_kick_and_call_need_a_running_server(net: Party) -> None:
    server = net.server()
    net.client(server)
    address = address_of(server)
    server.shutdown()
    with pytest.raises(NotRunningError, match="must run"):
        server.kick(address)
    with pytest.raises(NotRunningError, match="must run"):
        server.call(address, "N")


@pytest.mark.parametrize("junk", [["127.0.0.1", 1], "127.0.0.1", ("127.0.0.1",), 5])
def test_the_host_is_an_address_or_nobody(net: Party, junk: object) -> None:
    server = net.server(run=False)
    with pytest.raises(ArgumentTypeError, match=r"tuple \(host, port\)"):
        server.host_client = junk  # type: ignore[assignment]
    server.host_client = ("127.0.0.1", 1)
    server.host_client = None


# --- life ---------------------------------------------------------------------------------------


@pytest.mark.crosses_threads
def test_a_thread_of_the_users_own_is_left_without_a_hub(net: Party, no_leaks: None) -> None:
    server = Server(GameStateStore(), config=QUICK)
    thread = run_natively(server.run)
    eventually(lambda: server.port)
    server.shutdown()
    thread.wait()


@pytest.mark.crosses_threads
def test_shutdown_while_it_starts_ends_it(net: Party, no_leaks: None) -> None:
    for _ in range(10):
        server = Server(GameStateStore(), config=QUICK)
        thread = run_natively(server.run)
        while not thread.is_done:  # whatever it has got to, one of these ends it
            server.shutdown()
        thread.wait()


@pytest.mark.crosses_threads
def test_handlers_at_work_may_end_when_the_server_does(net: Party) -> None:
    server = net.server()
    steps: list[str] = []

    def handle() -> None:
        steps.append("begun")
        gevent.sleep(0.1)
        steps.append("ended")

    server.register_event_handler("N", handle)
    net.client(server, deliveries=ORDERED).dispatch_event("N")
    eventually(lambda: steps)
    server.shutdown()
    assert steps == ["begun", "ended"]


@pytest.mark.crosses_threads
def test_a_handler_that_never_ends_does_not_hold_up_the_end(net: Party) -> None:
    server = net.server(config=Config(close_linger_s=0.03, handler_grace_s=0.1))
    steps: list[str] = []

    def handle() -> None:
        steps.append("begun")
        try:
            gevent.sleep(1000)
        finally:
            steps.append("killed")

    server.register_event_handler("N", handle)
    client = net.client(server, deliveries=ORDERED)
    client.dispatch_event("N")
    call = run_natively(lambda: client.call("N", timeout=0.5))
    eventually(lambda: len(steps) == 2)
    server.shutdown()
    assert steps == ["begun", "begun", "killed", "killed"]
    with pytest.raises(CallTimeoutError):
        call.wait()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_the_child_of_a_fork_it_says_so(run_script: RunScript) -> None:
    result = run_script(
        """
        import os
        from pygase_gevent import *
        server = Server(GameStateStore())
        server.run_in_thread()
        client = Client()
        client.connect_in_thread(server.port)
        client.wait_connected()
        child = os.fork()
        if child == 0:
            for function in (
                server.shutdown, server.run, client.disconnect, client.wait_connected,
                lambda: server.dispatch_event("N"), lambda: client.dispatch_event("N"),
            ):
                try:
                    function()
                except NotRunningError as error:
                    assert "fork" in str(error)
                else:
                    os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        server.register_event_handler("ADD", lambda a, b: a + b)
        print(client.call("ADD", 1, 2))
        client.disconnect()
        server.shutdown()
        """
    )
    assert (result.returncode, result.stdout) == (0, "3\n"), result.stderr


@pytest.mark.crosses_threads
def test_a_signal_handler_of_the_applications_own_stays(run_script: RunScript) -> None:
    result = run_script(
        """
        import os, signal, gevent
        from pygase_gevent import *
        server = Server(GameStateStore())
        def terminated(number, frame):
            print("own handler")
            server.shutdown()
        signal.signal(signal.SIGTERM, terminated)
        gevent.spawn_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
        server.run()
        assert signal.getsignal(signal.SIGTERM) is terminated
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        print("returned")
        """
    )
    assert (result.returncode, result.stdout) == (0, "own handler\nreturned\n"), result.stderr


def test_spawned_in_the_main_thread_its_clients_are_told_at_exit(net: Party, run_script: RunScript) -> None:
    """Ctrl-C is the main greenlet's there, so it is the exit of the interpreter that tells them."""
    patient = Config(resume_after_s=60, timeout_s=90, close_linger_s=0.03)  # so that it is not the silence
    client = Client(config=patient)
    dropped: list[bool] = []
    client.on_drop = lambda: dropped.append(True)
    port = free_port()
    client.connect_in_thread(port)
    net.at_end(client.disconnect)
    result = run_script(
        f"""
        import gevent
        from pygase_gevent import *
        server = Server(GameStateStore())
        gevent.spawn(server.run, {port})
        while not server.connections:
            gevent.sleep(0.01)
        gevent.sleep(0.1)
        """
    )
    assert (result.returncode, result.stderr) == (0, "")
    eventually(lambda: dropped)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
