"""The client's shell at its edges; tests/contract has what the public contract promises."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent
import pytest
from conftest import eventually
from native import run_natively
from shell_pair import QUICK, Party, address_of, party

from pygase_gevent import (
    AlreadyRunningError,
    ArgumentError,
    CallTimeoutError,
    Client,
    Config,
    ConnectError,
    ConnectionClosedError,
    ConnectionLostError,
    ConnectionStatus,
    Delivery,
    Disconnect,
    DisconnectReason,
    GameStateUpdate,
    NoAnswerError,
    NotRunningError,
    RemoteError,
    Server,
)

ORDERED = {"N": Delivery.RELIABLE_ORDERED}


@pytest.fixture
def net() -> Iterator[Party]:
    with party() as it:
        yield it


# --- connecting ---------------------------------------------------------------------------------


@pytest.mark.crosses_threads
def test_a_name_that_nobody_knows_is_said_in_both_places() -> None:
    client = Client(config=QUICK)
    with pytest.raises(NoAnswerError, match=r"nowhere\.invalid"):
        client.connect(1234, "nowhere.invalid")
    client.connect_in_thread(1234, "nowhere.invalid")
    with pytest.raises(NoAnswerError, match=r"nowhere\.invalid"):
        client.wait_connected(10.0)
    assert client.connection.status is ConnectionStatus.DISCONNECTED


def test_wait_connected_without_connect_says_so() -> None:
    with pytest.raises(NotRunningError, match="call connect"):
        Client().wait_connected(0.0)


@pytest.mark.crosses_threads
def test_the_connection_object_is_there_at_once_and_new_for_each_connect(net: Party) -> None:
    server = net.server()
    client = Client(config=QUICK)
    net.at_end(client.disconnect)
    assert server.port is not None
    client.connect_in_thread(server.port)
    first = client.connection
    assert first.status is not ConnectionStatus.DISCONNECTED
    with pytest.raises(AlreadyRunningError):
        client.connect_in_thread(server.port)
    client.wait_connected()
    client.disconnect()
    client.connect_in_thread(server.port)
    assert client.connection is not first
    client.wait_connected()
    assert first.disconnect_reason == Disconnect(DisconnectReason.GOODBYE, "")
    assert first.session_id != client.connection.session_id


@pytest.mark.crosses_threads
def test_a_greenlet_that_is_killed_in_connect_says_goodbye(net: Party) -> None:
    server = net.server()
    client = Client(config=QUICK)
    connecting = gevent.spawn(client.connect, server.port or 0)
    client.wait_connected()
    connecting.kill()
    eventually(lambda: not server.connections)
    assert server.stats.left == 1
    assert server.stats.dropped == 0


@pytest.mark.crosses_threads
def test_once_the_connection_is_over_dispatching_and_calling_say_so(net: Party) -> None:
    server = net.server()
    client = net.client(server)
    server.kick(address_of(server), "too loud")
    eventually(lambda: client.connection.disconnect_reason)
    for dispatch in (client.dispatch_event, client.call):
        with pytest.raises(NotRunningError, match="kicked: too loud"):
            dispatch("N")
    with pytest.raises(ConnectionClosedError, match="too loud") as caught:
        client.wait_connected()
    assert caught.value.reason is DisconnectReason.KICKED


def test_a_call_before_any_connect_says_so() -> None:
    with pytest.raises(NotRunningError, match="call connect"):
        Client().call("N")


@pytest.mark.crosses_threads
def test_hooks_may_be_methods_of_a_subclass(net: Party) -> None:
    seen: list[object] = []

    class Player(Client):
        def on_connect(self) -> None:
            seen.append(self.connection.status)

        def on_close(self, reason: Disconnect) -> None:
            seen.append(reason.reason)

    net.client(net.server(), cls=Player).disconnect()
    assert seen == [ConnectionStatus.CONNECTED, DisconnectReason.GOODBYE]


@pytest.mark.crosses_threads
def test_connect_and_disconnect_leave_nothing_behind(net: Party, no_leaks: None) -> None:
    server = Server(net.server(run=False).game_state_store, config=QUICK)
    server.run_in_thread()
    client = Client(config=QUICK)
    assert server.port is not None
    for _ in range(3):
        client.connect_in_thread(server.port)
        client.wait_connected()
        client.disconnect()
    server.shutdown()


@pytest.mark.crosses_threads
def test_on_close_is_told_at_the_end_also_where_a_handler_goes_on_for_ever(net: Party) -> None:
    server = net.server(deliveries=ORDERED)
    client = net.client(server, config=Config(close_linger_s=0.03, handler_grace_s=0.1))
    log: list[object] = []

    def handle(number: int) -> None:
        log.append(number)
        gevent.sleep(1000)

    client.register_event_handler("N", handle)
    client.on_close = lambda disconnect: log.append(disconnect.reason)
    arrived: list[object] = []
    for number in range(3):
        server.dispatch_event("N", number, ack_callback=arrived.append)
    eventually(lambda: log == [0] and len(arrived) == 3)
    connection = client.connection
    client.disconnect()
    assert log == [0, DisconnectReason.GOODBYE]
    assert connection.stats.drops["connection_over"] == 2
    assert server.port is not None
    client.connect_in_thread(server.port)
    client.wait_connected()
    server.dispatch_event("N", 7)
    eventually(lambda: len(log) > 2)
    assert log == [0, DisconnectReason.GOODBYE, 7]


@pytest.mark.crosses_threads
def test_on_close_is_told_where_nothing_could_be_dialled() -> None:
    client = Client(config=QUICK)
    seen: list[Disconnect] = []
    client.on_close = seen.append
    with pytest.raises(NoAnswerError):
        client.connect(1234, "nowhere.invalid")
    client.connect_in_thread(1234, "nowhere.invalid").join(10.0)
    assert [disconnect.reason for disconnect in seen] == [DisconnectReason.NO_ANSWER] * 2
    pumping = Client(config=QUICK, pump_events=True)
    pumping.on_close = seen.append
    pumping.connect_in_thread(1234, "nowhere.invalid").join(10.0)
    assert len(seen) == 2
    assert pumping.pump() == 1
    assert len(seen) == 3


@pytest.mark.crosses_threads
def test_connected_again_it_can_call_at_once(net: Party) -> None:
    server = net.server()
    server.register_event_handler("ADD", lambda a, b: a + b)
    client = net.client(server)
    for _ in range(20):
        client.disconnect()
        assert server.port is not None
        client.connect_in_thread(server.port)
        assert client.call("ADD", 1, 2) == 3


def test_a_timeout_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(ArgumentError, match="timeout"):
        Client().wait_until(lambda state: True, 10**400)


# --- calls --------------------------------------------------------------------------------------


@pytest.mark.crosses_threads
def test_an_answer_that_comes_too_late_is_counted_and_disturbs_nothing(net: Party) -> None:
    server = net.server()
    released: list[bool] = []

    def wait(number: int) -> int:
        while number == 1 and not released:
            gevent.sleep(0.005)
        return number

    server.register_event_handler("WAIT", wait)
    client = net.client(server)
    with pytest.raises(CallTimeoutError, match=r"call of 'WAIT' on the server: no answer within 0\.05 s"):
        client.call("WAIT", 1, timeout=0.05)
    released.append(True)
    eventually(lambda: client.connection.stats.drops["unexpected_result"] == 1)
    assert client.call("WAIT", 2) == 2


@pytest.mark.crosses_threads
def test_an_open_call_ends_with_the_session_that_it_was_made_in(net: Party) -> None:
    first = net.server()
    first.register_event_handler("WAIT", lambda: gevent.sleep(1000))
    client = net.client(first, deliveries=ORDERED)
    call = run_natively(lambda: client.call("WAIT", timeout=60))
    eventually(lambda: first.connections[address_of(first)].stats.calls_handled)
    port = first.port
    assert port is not None
    first.shutdown()
    eventually(lambda: client.connection.status is ConnectionStatus.CONNECTING)
    client.dispatch_event("N", 1)
    second = net.server(run=False)
    second.register_event_handler("ADD", lambda a, b: a + b)
    second.run_in_thread(port)
    with pytest.raises(ConnectionLostError, match="replaced"):
        call.wait(30.0)
    assert client.call("ADD", 1, 2) == 3
    assert client.connection.stats.drops["session_replaced"] >= 1


def test_an_error_text_of_any_size_and_content_arrives(net: Party) -> None:
    server = net.server()

    def fail() -> None:
        raise ValueError("\ud800" + "x" * 10_000)

    server.register_event_handler("FAIL", fail)
    with pytest.raises(RemoteError, match=r"^ValueError: .x{100}") as caught:
        net.client(server).call("FAIL")
    assert len(str(caught.value)) == Config().max_error_text


# --- pumping ------------------------------------------------------------------------------------


def test_pumping_needs_a_client_that_is_made_for_it() -> None:
    with pytest.raises(ArgumentError, match="pump_events=True"):
        Client().pump()


@pytest.mark.crosses_threads
def test_who_does_not_pump_slows_the_sender_down_and_loses_nothing(net: Party) -> None:
    server = net.server(deliveries=ORDERED)
    config = Config(close_linger_s=0.03, max_received_events=16)
    client = net.client(server, config=config, pump_events=True)
    seen: list[int] = []
    client.register_event_handler("N", seen.append)
    address = address_of(server)
    for number in range(200):
        server.dispatch_event("N", number, target_client=address)
    eventually(lambda: client.connection.stats.drops["inbox_full"])
    server.game_state_store.push_update(GameStateUpdate(0, x=1))
    client.wait_until(lambda state: getattr(state, "x", 0) == 1, timeout=10.0)  # the state gets through
    counts: list[int] = []

    def pump() -> bool:
        counts.append(client.pump())
        return len(seen) == 200

    eventually(pump)
    assert seen == list(range(200))
    assert max(counts) <= 16


@pytest.mark.crosses_threads
def test_what_a_pumped_handler_raises_is_logged_and_counted(
    net: Party, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.server(deliveries=ORDERED)
    client = net.client(server, pump_events=True)
    seen: list[int] = []

    def handle(number: int) -> None:
        seen.append(1 // number)

    client.register_event_handler("N", handle)
    server.dispatch_event("N", 0)
    server.dispatch_event("N", 1)
    eventually(lambda: client.pump() >= 0 and seen == [1])
    assert client.connection.stats.handler_errors == 1
    assert "handler of event 'N'" in caplog.text


@pytest.mark.crosses_threads
def test_a_pumped_handler_may_take_its_time(net: Party, caplog: pytest.LogCaptureFixture) -> None:
    server = net.server(deliveries=ORDERED)
    client = net.client(server, config=Config(close_linger_s=0.03, blocked_hub_s=0.02), pump_events=True)

    def handle() -> None:
        ends_at = time.monotonic() + 0.1
        while time.monotonic() < ends_at:
            pass
        client.disconnect()

    client.register_event_handler("N", handle)
    server.dispatch_event("N")
    eventually(lambda: client.pump() and client.connection.stats.events_handled)
    assert client.connection.stats.handler_errors == 0
    assert "held the hub" not in caplog.text


@pytest.mark.crosses_threads
def test_on_close_can_be_pumped_after_the_end(net: Party) -> None:
    client = net.client(net.server(), pump_events=True)
    seen: list[Disconnect] = []
    client.on_close = seen.append
    client.disconnect()
    assert seen == []
    assert client.pump() >= 1
    assert seen == [Disconnect(DisconnectReason.GOODBYE, "")]
    assert client.pump() == 0


# --- the state ----------------------------------------------------------------------------------


@pytest.mark.crosses_threads
def test_many_threads_wait_for_one_update(net: Party) -> None:
    server = net.server()
    client = net.client(server)
    waits = [
        run_natively(lambda: client.try_to(lambda state: state.x, timeout=30.0)),
        run_natively(lambda: client.wait_until(lambda state: getattr(state, "x", 0) == 7, timeout=30.0)),
    ]
    greenlets = [gevent.spawn(client.try_to, lambda state: state.x, 30.0) for _ in range(3)]
    gevent.sleep(0.01)
    server.game_state_store.push_update(GameStateUpdate(0, x=7))
    assert [wait.wait(30.0) for wait in waits] == [7, None]
    assert [greenlet.get(timeout=30.0) for greenlet in greenlets] == [7, 7, 7]


@pytest.mark.crosses_threads
def test_another_connection_begins_with_an_empty_state(net: Party) -> None:
    server = net.server()
    server.game_state_store.push_update(GameStateUpdate(0, x=1))
    client = net.client(server)
    client.wait_until(lambda state: getattr(state, "x", 0) == 1, timeout=10.0)
    client.disconnect()
    with client.access_game_state() as state:
        assert state.x == 1  # what was last seen stays until then
    with pytest.raises(ConnectError):
        client.connect(9, "nowhere.invalid")
    with client.access_game_state() as state:
        assert not hasattr(state, "x")
    assert client.recent_states() == []
