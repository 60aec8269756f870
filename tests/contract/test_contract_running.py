"""The public contract, *Server*: `run`, `run_in_thread`, `shutdown`."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

import gevent
import pytest

from pygase_gevent import (
    AlreadyRunningError,
    ConnectionStatus,
    Event,
    GameState,
)

from .conftest import Net
from .helpers import (
    PATCH_IF_THIS_IS_PATCHED,
    ROOT,
    NativeThread,
    Recorder,
    eventually,
    free_port,
    has_ipv6,
    is_up,
    only_address,
    shows,
)

pytestmark = pytest.mark.crosses_threads

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


# --- run --------------------------------------------------------------------------------------------


def test_run_blocks_until_shut_down(net: Net) -> None:
    server = net.idle_server()
    thread = NativeThread(server.run)
    eventually(lambda: server.port)
    assert not thread.is_done
    server.shutdown()
    thread.wait()


def test_run_may_be_spawned_as_a_greenlet(net: Net) -> None:
    server = net.idle_server()
    running = gevent.spawn(server.run)
    eventually(lambda: server.port, sleep=gevent.sleep)
    client = net.client(server)
    client.disconnect()
    server.shutdown()
    running.join(5.0)
    assert running.successful()


def test_port_zero_takes_a_free_one(net: Net) -> None:
    first, second = net.server(), net.server()
    assert first.port > 0
    assert first.port != second.port


def test_a_named_port_is_taken(net: Net) -> None:
    port = free_port()
    server = net.idle_server()
    server.run_in_thread(port)
    assert server.port == port


def test_every_received_event_is_repeated_to_the_event_wire(net: Net) -> None:
    class Wire:
        def __init__(self) -> None:
            self.events: list[Event] = []

        def _push_event(self, event: Event) -> None:
            self.events.append(event)

    wire = Wire()
    server = net.idle_server()
    server.register_event_handler("HANDLED", handled := Recorder())
    server.run_in_thread(event_wire=wire)
    client = net.client(server)
    name = only_address(server)
    client.dispatch_event("HANDLED", 1, key="a", retries=3)
    eventually(lambda: len(wire.events) == 1)
    client.dispatch_event("UNHANDLED", 2, retries=3)
    eventually(lambda: len(wire.events) == 2)
    assert [(event.type, event.handler_args) for event in wire.events] == [
        ("HANDLED", [1]),
        ("UNHANDLED", [2]),
    ]
    assert wire.events[0].handler_kwargs == {"key": "a", "client_address": name}
    handled.wait()


def test_running_a_running_server_is_an_error(net: Net) -> None:
    server = net.server()
    for run in (server.run, server.run_in_thread):
        with pytest.raises(AlreadyRunningError):
            run()
    net.client(server)


def test_a_taken_port_raises_oserror(net: Net) -> None:
    port = net.server().port
    with pytest.raises(OSError, match=str(port)):
        net.idle_server().run(port)
    with pytest.raises(OSError, match=str(port)):
        net.idle_server().run_in_thread(port)


def test_a_server_that_could_not_bind_may_be_run_again(net: Net) -> None:
    taken = net.server().port
    server = net.idle_server()
    with pytest.raises(OSError):
        server.run_in_thread(taken)
    assert server.port is None
    server.run_in_thread()
    net.client(server)


MAIN_THREAD_SERVER = (
    PATCH_IF_THIS_IS_PATCHED
    + """
import sys
from pygase_gevent import GameStateStore, Server
server = Server(GameStateStore())
import threading
def say():
    import time
    while server.port is None:
        time.sleep(0.005)
    print(server.port, flush=True)
threading.Thread(target=say, daemon=True).start()
server.run()
print("ended", flush=True)
"""
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_on_the_main_thread_end_it_cleanly(net: Net, number: int) -> None:
    script = MAIN_THREAD_SERVER
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        net.client(port)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert out == "ended\n"
    assert "Traceback" not in err
    assert process.returncode == 0


@needs_ipv6
@pytest.mark.parametrize(("bind", "dial"), [("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")])
def test_ipv6_works(net: Net, bind: str, dial: str) -> None:
    server = net.idle_server(GameState(a=1), key=bytes(range(32)))
    server.run_in_thread(hostname=bind)
    client = net.client(server, dial, key=bytes(range(32)))
    client.wait_until(lambda state: shows(state, a=1), timeout=5.0)
    assert only_address(server)[0] == dial


@needs_ipv6
def test_the_ipv6_loopback_reads_localhost_too(net: Net) -> None:
    server = net.idle_server()
    server.run_in_thread(hostname="::1")
    assert server.hostname == "localhost"


# --- run_in_thread ----------------------------------------------------------------------------------


def test_run_in_thread_runs_in_a_native_thread_of_its_own(net: Net) -> None:
    server = net.idle_server()
    thread = server.run_in_thread()
    server.register_event_handler("PING", got := Recorder())
    client = net.client(server)
    client.dispatch_event("PING", retries=3)
    (call,) = got.wait()
    assert call.thread != threading.get_native_id()
    assert isinstance(thread, threading.Thread)


def test_run_in_thread_returns_when_the_socket_is_bound(net: Net) -> None:
    server = net.idle_server()
    server.run_in_thread()
    assert server.port is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, pytest.raises(OSError):
        probe.bind(("127.0.0.1", server.port))


def test_the_threads_join_is_alive_and_daemon_work(net: Net) -> None:
    server = net.idle_server()
    thread = server.run_in_thread()
    assert thread.daemon is True
    assert thread.is_alive()
    thread.join(0.01)
    assert thread.is_alive()
    server.shutdown()
    thread.join()
    assert not thread.is_alive()


def test_the_thread_may_be_no_daemon(net: Net) -> None:
    server = net.idle_server()
    thread = server.run_in_thread(daemon=False)
    assert thread.daemon is False
    server.shutdown()
    thread.join(5.0)
    assert not thread.is_alive()


# --- shutdown ---------------------------------------------------------------------------------------


def test_shutdown_is_idempotent(net: Net) -> None:
    server = net.idle_server()
    server.shutdown()
    server.run_in_thread()
    server.shutdown()
    server.shutdown()
    assert server.port is None


def test_shutdown_from_several_threads_at_once(net: Net) -> None:
    server = net.idle_server()
    thread = server.run_in_thread()
    callers = [NativeThread(server.shutdown) for _ in range(4)]
    for caller in callers:
        caller.wait()
    thread.join(5.0)
    assert not thread.is_alive()


def test_a_server_run_again_remembers_previous_connections(net: Net) -> None:
    server = net.server(GameState(a=1))
    client = net.client(server)
    name = only_address(server)
    port = server.port
    server.shutdown()
    assert list(server.connections) == [name]
    server.run_in_thread(port)
    eventually(lambda: is_up(client) and server.connections[name].status == ConnectionStatus.CONNECTED)
    assert list(server.connections) == [name]
