"""The public contract, *Rules for every call*."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from typing import Any

import gevent
import pytest

import pygase_gevent
from pygase_gevent import (
    Client,
    Delivery,
    GameState,
    GameStateMachine,
    GameStateStore,
    Server,
    errors,
)

from .conftest import Net
from .helpers import (
    FAST,
    ROOT,
    NativeThread,
    Recorder,
    eventually,
    in_native_thread,
    is_up,
    only_address,
    shows,
)

pytestmark = pytest.mark.crosses_threads


# --- any thread, any greenlet -----------------------------------------------------------------------


def test_importing_the_library_patches_nothing() -> None:
    script = (
        "import pygase_gevent, pygase_gevent.backend\n"
        "from gevent import monkey\n"
        "names = 'socket threading _thread time select ssl os signal queue subprocess'.split()\n"
        "assert not any(map(monkey.is_module_patched, names)), monkey.saved\n"
        "print('untouched')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "untouched\n", done.stderr


def test_methods_may_be_called_from_the_hub_that_runs_the_server(net: Net) -> None:
    server = net.server()

    def answer(number: int, client_address: Any) -> None:
        server.register_event_handler("LATER", lambda: None)
        server.dispatch_event("ANSWER", number, target_client=client_address)

    server.register_event_handler("ASK", answer)
    client = net.client(server)
    answers = Recorder()
    client.register_event_handler("ANSWER", answers)
    client.dispatch_event("ASK", 7)
    answers.wait()
    assert answers.args == [(7,)]


def test_methods_may_be_called_from_the_hub_that_runs_the_client(net: Net) -> None:
    server = net.server()
    got = Recorder()
    server.register_event_handler("ANSWER", got)
    client = net.client(server)
    client.register_event_handler("ASK", lambda number: client.dispatch_event("ANSWER", number))
    server.dispatch_event("ASK", 8)
    got.wait()
    assert got.args == [(8,)]


def test_methods_may_be_called_from_a_thread_without_a_hub(net: Net) -> None:
    server = net.server(GameState(a=1))
    got = Recorder()
    server.register_event_handler("PING", got)
    server.register_event_handler("ADD", lambda a, b: a + b)

    def whole_life() -> int:
        client = Client(config=FAST)
        client.connect_in_thread(server.port)
        client.wait_connected(5.0)
        client.wait_until(lambda state: shows(state, a=1), timeout=5.0)
        client.dispatch_event("PING")
        result: int = client.call("ADD", 2, 3, timeout=5.0)
        client.disconnect()
        return result

    assert in_native_thread(whole_life) == 5
    got.wait()


def test_methods_may_be_called_from_many_greenlets_of_one_thread(net: Net) -> None:
    server = net.server()
    got = Recorder()
    server.register_event_handler("PING", got)
    server.register_event_handler("DOUBLE", lambda number: 2 * number)
    client = net.client(server, deliveries={"PING": Delivery.RELIABLE})

    def talk(number: int) -> int:
        client.dispatch_event("PING", number)
        result: int = client.call("DOUBLE", number, timeout=5.0)
        return result

    greenlets = [gevent.spawn(talk, number) for number in range(8)]
    gevent.joinall(greenlets, timeout=10.0)
    assert [greenlet.value for greenlet in greenlets] == [2 * number for number in range(8)]
    eventually(lambda: sorted(got.args) == [(number,) for number in range(8)])


def test_many_native_threads_dispatch_at_once_and_everything_arrives_once(net: Net) -> None:
    server = net.server()
    got = Recorder()
    server.register_event_handler("PING", got)
    client = net.client(server, deliveries={"PING": Delivery.RELIABLE})

    def talk(thread: int) -> None:
        for number in range(50):
            client.dispatch_event("PING", thread, number)

    threads = [NativeThread(talk, thread) for thread in range(4)]
    for thread in threads:
        thread.wait()
    got.wait(200)
    assert sorted(got.args) == [(thread, number) for thread in range(4) for number in range(50)]


# --- fail at the call, never from the wire ----------------------------------------------------------


def test_a_call_that_fails_has_queued_nothing(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    got = Recorder()
    client.register_event_handler("HALF", got)
    client.register_event_handler("END", end := Recorder())
    with pytest.raises(errors.UnknownClientError):
        server.dispatch_event("HALF", target_client=[only_address(server), ("127.0.0.1", 1)])
    with pytest.raises(errors.SerializationError):
        server.dispatch_event("HALF", {1, 2})
    server.dispatch_event("END")
    end.wait()
    assert got.calls == []


def test_no_datagram_raises_out_of_the_library_or_disturbs_a_connection(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.server()
    client = net.client(server)
    server.register_event_handler("PING", got := Recorder())
    client_address = only_address(server)
    garbage = [
        b"",
        b"\0",
        b"shut_me_down",
        bytes(1078),
        b"\xff" * 1500,
        *(bytes([n]) * 40 for n in range(32)),
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for datagram in garbage:
            stranger.sendto(datagram, ("127.0.0.1", server.port))
            stranger.sendto(datagram, client_address)
    # Each is counted by its reason, on both sides.
    eventually(lambda: sum(server.stats.drops.values()) >= len(garbage))
    eventually(lambda: sum(client.connection.stats.drops.values()) >= len(garbage))
    assert all(isinstance(reason, str) and reason for reason in server.stats.drops)
    client.dispatch_event("PING", retries=10)
    got.wait()
    assert is_up(client)
    assert only_address(server) == client_address
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# --- a handler's exception is the handler's ---------------------------------------------------------


def fail(*args: Any, **kwargs: Any) -> None:
    raise ZeroDivisionError("the handler's own")


def test_a_handlers_exception_is_logged_with_event_type_and_client_counted_and_everything_goes_on(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.server()
    server.register_event_handler("BROKEN", fail)
    server.register_event_handler("PING", got := Recorder())
    client = net.client(server)
    name = only_address(server)
    client.dispatch_event("BROKEN", retries=3)
    eventually(lambda: server.connections[name].stats.handler_errors == 1)
    eventually(lambda: [record for record in caplog.records if record.levelno >= logging.ERROR])
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name.startswith("pygase_gevent")
    assert "BROKEN" in record.getMessage()
    assert str(name[1]) in record.getMessage()
    assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError
    other = net.client(server)
    client.dispatch_event("PING", 1, retries=3)
    other.dispatch_event("PING", 2, retries=3)
    got.wait(2)
    assert sorted(got.args) == [(1,), (2,)]


def test_an_exception_of_a_clients_handler_is_logged_counted_and_the_connection_goes_on(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("BROKEN", fail)
    client.register_event_handler("PING", got := Recorder())
    server.dispatch_event("BROKEN", retries=3)
    server.dispatch_event("PING", retries=3)
    got.wait()
    eventually(lambda: client.connection.stats.handler_errors == 1)
    assert any("BROKEN" in record.getMessage() for record in caplog.records)
    assert is_up(client)


def test_an_exception_of_a_handler_in_the_game_loop_is_logged_and_the_loop_goes_on(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    backend = net.backend(GameState(n=0), event_handlers={"BROKEN": fail, "SET": lambda n: {"n": n}})
    client = net.client(backend.server)
    name = only_address(backend.server)
    client.dispatch_event("BROKEN", retries=3)
    eventually(lambda: any(record.levelno >= logging.ERROR for record in caplog.records))
    message = next(record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR)
    assert "BROKEN" in message
    assert str(name[1]) in message
    client.dispatch_event("SET", 5, retries=3)
    client.wait_until(lambda state: shows(state, n=5), timeout=5.0)


# --- waiting ----------------------------------------------------------------------------------------


def test_shutdown_blocks_until_it_is_done(net: Net) -> None:
    server = net.idle_server()
    thread = server.run_in_thread()
    server.shutdown()
    assert server.port is None
    thread.join(5.0)
    assert not thread.is_alive()


def test_disconnect_blocks_until_it_is_done(net: Net) -> None:
    client = net.client(net.server())
    client.disconnect()
    assert client.connection.status == pygase_gevent.ConnectionStatus.DISCONNECTED


def test_stop_blocks_until_it_is_done() -> None:
    store = GameStateStore()
    machine = GameStateMachine(store)
    steps = Recorder(result={})
    machine.time_step = steps
    thread = machine.run_game_loop_in_thread(0.005)
    steps.wait(2)
    assert machine.stop(5.0) is True
    done = len(steps.calls)
    thread.join(5.0)
    assert not thread.is_alive()
    assert len(steps.calls) == done


def test_a_handler_may_shut_its_own_server_down(net: Net) -> None:
    server = net.idle_server()
    thread = server.run_in_thread()
    server.register_event_handler("END", server.shutdown)
    client = net.client(server)
    client.dispatch_event("END", retries=3)
    thread.join(5.0)
    assert not thread.is_alive()
    assert server.port is None


def test_a_handler_may_disconnect_its_own_client(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("END", client.disconnect)
    server.dispatch_event("END", retries=3)
    eventually(lambda: not server.connections)
    eventually(lambda: not is_up(client))


def test_a_time_step_may_stop_its_own_machine() -> None:
    machine = GameStateMachine(store := GameStateStore())

    def step(game_state: GameState, dt: float) -> dict[str, Any]:
        machine.stop()
        return {}

    machine.time_step = step
    thread = machine.run_game_loop_in_thread(0.005)
    thread.join(5.0)
    assert not thread.is_alive()
    assert store.get_game_state().is_paused()


def test_an_event_handler_in_the_loop_may_shut_the_backend_down(net: Net) -> None:
    backend = net.backend()
    backend.game_state_machine.register_event_handler("END", lambda: backend.shutdown())
    client = net.client(backend.server)
    client.dispatch_event("END", retries=3)
    eventually(lambda: backend.server.port is None)
    eventually(lambda: backend.game_state_store.get_game_state().is_paused())


def test_nothing_of_a_server_and_its_client_is_left_running(no_leaks: None) -> None:
    server = Server(GameStateStore(), config=FAST)
    server_thread = server.run_in_thread()
    client = Client(config=FAST)
    client_thread = client.connect_in_thread(server.port)
    client.wait_connected(5.0)
    client.disconnect()
    server.shutdown()
    for thread in (server_thread, client_thread):
        thread.join(5.0)
        assert not thread.is_alive()
