"""The public contract, *Client*: connecting and disconnecting."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import gevent
import pytest

from pygase_gevent import (
    Client,
    ConnectError,
    ConnectionClosedError,
    ConnectionStatus,
    Delivery,
    GameState,
    NoAnswerError,
    ServerFullError,
)
from pygase_gevent.config import Config
from pygase_gevent.connection import ClientConnection
from pygase_gevent.tokens import issue_connect_token

from .conftest import Net
from .helpers import (
    FAST,
    KEY,
    PATCH_IF_THIS_IS_PATCHED,
    ROOT,
    SHORT,
    NativeThread,
    Recorder,
    eventually,
    free_port,
    is_up,
    only_address,
    shows,
)

pytestmark = pytest.mark.crosses_threads


# --- connect ----------------------------------------------------------------------------------------


def test_connection_is_a_client_connection(net: Net) -> None:
    client = net.client(net.server())
    assert isinstance(client.connection, ClientConnection)


def test_connect_blocks_while_connected_and_returns_after_a_goodbye_from_here(net: Net) -> None:
    server = net.server()
    client = Client(config=FAST)
    thread = NativeThread(client.connect, server.port)
    client.wait_connected(5.0)
    assert not thread.is_done
    client.disconnect()
    assert thread.wait() is None


def test_connect_raises_when_kicked_with_the_servers_reason(net: Net) -> None:
    server = net.server()
    client = Client(config=FAST)
    thread = NativeThread(client.connect, server.port)
    client.wait_connected(5.0)
    server.kick(only_address(server), "enough for today")
    with pytest.raises(ConnectionClosedError, match="enough for today"):
        thread.wait()


def test_connect_raises_when_there_is_no_answer() -> None:
    client = Client(config=SHORT)
    with pytest.raises(NoAnswerError):
        client.connect(free_port())


def test_connect_may_be_spawned_as_a_greenlet(net: Net) -> None:
    server = net.server()
    client = Client(config=FAST)
    running = gevent.spawn(client.connect, server.port)
    client.wait_connected(5.0)
    client.disconnect()
    running.join(5.0)
    assert running.successful()


def test_connect_in_thread_returns_at_once_with_a_native_daemon_thread(net: Net) -> None:
    server = net.server()
    client = Client(config=FAST)
    client.register_event_handler("NEWS", got := Recorder())
    thread = client.connect_in_thread(server.port)
    try:
        assert isinstance(thread, threading.Thread)
        assert thread.daemon is True
        assert thread.is_alive()
        client.wait_connected(5.0)
        server.dispatch_event("NEWS", retries=3)
        assert got.wait()[0].thread != threading.get_native_id()
    finally:
        client.disconnect()
    thread.join(5.0)
    assert not thread.is_alive()


def test_connect_in_thread_returns_before_there_is_a_server(net: Net) -> None:
    port = free_port()
    client = net.client(port, wait=False)
    assert client.connection.status == ConnectionStatus.CONNECTING


EXITING_CLIENT = (
    PATCH_IF_THIS_IS_PATCHED
    + """
import sys
from pygase_gevent import Client
client = Client()
client.connect_in_thread(int(sys.argv[1]))
client.wait_connected(10.0)
client.dispatch_event("READY", retries=10)
"""
)


def test_a_client_in_a_thread_says_goodbye_at_interpreter_exit(net: Net) -> None:
    server = net.server()
    joined = Recorder()
    server.register_event_handler("READY", joined)
    done = subprocess.run(
        [sys.executable, "-c", EXITING_CLIENT, str(server.port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Long before the server's timeout of five seconds.
    eventually(lambda: not server.connections, timeout=3.0)


def test_events_dispatched_before_the_first_connection_are_sent_when_it_stands(net: Net) -> None:
    server = net.server()
    server.register_event_handler("EARLY", got := Recorder())
    client = Client(deliveries={"EARLY": Delivery.RELIABLE_ORDERED}, config=FAST)
    for number in range(10):
        client.dispatch_event("EARLY", number)
    net.connect(client, server)
    client.dispatch_event("EARLY", 10)
    got.wait(11)
    assert got.args == [(number,) for number in range(11)]


def test_unreliable_events_dispatched_before_the_first_connection_are_kept_too(net: Net) -> None:
    server = net.server()
    server.register_event_handler("EARLY", got := Recorder())
    client = Client(config=Config(unreliable_lifetime_s=0.05))
    client.dispatch_event("EARLY", 1)
    time.sleep(0.1)
    net.connect(client, server)
    got.wait()


def test_wait_connected_blocks_until_it_stands(net: Net) -> None:
    port = free_port()
    client = net.client(port, wait=False)
    waiter = NativeThread(client.wait_connected, 10.0)
    server = net.idle_server()
    assert not waiter.is_done
    server.run_in_thread(port)
    waiter.wait()
    assert is_up(client)


def test_wait_connected_raises_at_its_deadline_with_the_reason(net: Net) -> None:
    client = net.client(free_port(), wait=False)
    with pytest.raises(NoAnswerError, match="wrong key, wrong game, no server, or a firewall"):
        client.wait_connected(0.2)
    with pytest.raises(TimeoutError):
        client.wait_connected(0.01)


def test_a_deadline_of_wait_connected_is_no_end_of_trying(net: Net) -> None:
    port = free_port()
    client = net.client(port, wait=False)
    with pytest.raises(NoAnswerError):
        client.wait_connected(0.05)
    server = net.idle_server()
    server.run_in_thread(port)
    client.wait_connected(5.0)


def test_wait_connected_says_that_the_server_is_full(net: Net) -> None:
    server = net.server(config=Config(max_clients=1))
    net.client(server)
    late = net.client(server, wait=False)
    with pytest.raises(ServerFullError, match="full"):
        late.wait_connected(5.0)


def test_wait_connected_says_why_the_server_closed(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    server.kick(only_address(server), "no cheating")
    eventually(lambda: not is_up(client))
    with pytest.raises(ConnectError, match="no cheating"):
        client.wait_connected(5.0)


def test_clients_may_start_first(net: Net) -> None:
    port = free_port()
    client = net.client(port, wait=False)
    with pytest.raises(NoAnswerError):
        client.wait_connected(0.15)  # the refused port has answered by then, and it was not final
    server = net.idle_server(GameState(a=1))
    server.run_in_thread(port)
    client.wait_connected(5.0)
    client.wait_until(lambda state: shows(state, a=1), timeout=5.0)


def test_port_zero_tries_a_tokens_own_addresses_in_turn(net: Net) -> None:
    server = net.server(key=KEY)
    addresses = [("127.0.0.1", free_port()), ("127.0.0.1", server.port)]
    token = issue_connect_token(key=KEY, server_addresses=addresses, timeout_s=1)
    client = Client(config=FAST)
    net.connect(client, 0, token=token)
    assert client.connection.remote_address == ("127.0.0.1", server.port)


def test_any_other_port_dials_exactly_that_address(net: Net) -> None:
    named, dialled = net.server(key=KEY), net.server(key=KEY)
    token = issue_connect_token(key=KEY, server_addresses=[("127.0.0.1", named.port)])
    client = Client(config=FAST)
    net.connect(client, dialled, token=token)
    assert client.connection.remote_address == ("127.0.0.1", dialled.port)
    assert not named.connections


# --- disconnect -------------------------------------------------------------------------------------


def test_the_server_learns_of_a_disconnect_at_once(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    only_address(server)
    client.disconnect()
    eventually(lambda: not server.connections, timeout=3.0)  # its timeout is five seconds


def test_disconnect_is_idempotent_and_harmless_without_a_connection(net: Net) -> None:
    Client(config=FAST).disconnect()
    client = net.client(net.server())
    client.disconnect()
    client.disconnect()
    assert client.connection.status == ConnectionStatus.DISCONNECTED


def test_a_client_may_connect_again_after_a_disconnect(net: Net) -> None:
    server = net.server(GameState(a=1))
    client = net.client(server)
    client.disconnect()
    eventually(lambda: not server.connections)
    net.connect(client, server)
    client.wait_until(lambda state: shows(state, a=1), timeout=5.0)
    assert is_up(client)


def test_shutdown_server_works_for_the_host_only(net: Net) -> None:
    server = net.server()
    host = net.client(server)
    only_address(server)
    guest = net.client(server)
    eventually(lambda: len(server.connections) == 2)
    guest.disconnect(shutdown_server=True)
    eventually(lambda: len(server.connections) == 1)
    net.client(server)  # it goes on
    assert is_up(host)
    host.disconnect(shutdown_server=True)
    eventually(lambda: server.port is None)
