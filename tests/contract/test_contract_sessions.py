"""The public contract, *The life of a session*: what needs no bad line. Times are short ones of a Config."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from pygase_gevent import (
    Backend,
    Client,
    ConnectionClosedError,
    ConnectionStatus,
    Delivery,
    GameState,
    Server,
)
from pygase_gevent.config import Config

from .conftest import Net
from .helpers import (
    KEY,
    ROOT,
    SHORT,
    NativeThread,
    Recorder,
    Router,
    eventually,
    free_port,
    is_up,
    only_address,
    shows,
)

pytestmark = pytest.mark.crosses_threads

PATIENT = Config(resume_after_s=0.3, close_linger_s=0.03)

RELIABLE = {"NEWS": Delivery.RELIABLE_ORDERED}


class Life:
    """A backend that writes down what its hooks saw."""

    def __init__(self, net: Net, **keywords: Any) -> None:
        self.seen: list[tuple[str, tuple[str, int]]] = []
        hooks = {name: self._hook(name) for name in ("on_join", "on_drop", "on_reconnect", "on_leave")}
        keywords.setdefault("config", SHORT)
        self.backend: Backend = net.backend(**hooks, **keywords)
        self.server: Server = self.backend.server

    def _hook(self, name: str) -> Any:
        def hook(client_address: tuple[str, int]) -> None:
            self.seen.append((name, client_address))

        return hook

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.seen]


def test_a_goodbye_is_final_for_the_client_and_on_leave_at_once_for_the_server(net: Net) -> None:
    life = Life(net)
    client = net.client(life.server)
    name = only_address(life.server)
    client.disconnect()
    assert client.connection.status == ConnectionStatus.DISCONNECTED
    eventually(lambda: life.seen == [("on_join", name), ("on_leave", name)])
    assert not life.server.connections


def test_a_kick_is_final_for_the_client_and_on_leave_at_once_for_the_server(net: Net) -> None:
    life = Life(net)
    client = net.client(life.server)
    name = only_address(life.server)
    life.server.kick(name, "no cheating")
    eventually(lambda: life.seen == [("on_join", name), ("on_leave", name)])
    eventually(lambda: client.connection.status == ConnectionStatus.DISCONNECTED)
    assert client.connection.disconnect_reason.text == "no cheating"


SILENT_CLIENT = """
import sys, os, signal
from pygase_gevent import Client
client = Client(deliveries={})
client.connect_in_thread(int(sys.argv[1]))
client.wait_connected(10.0)
print("connected", flush=True)
signal.pause()
"""


@pytest.fixture
def killed_client(net: Net) -> Any:
    """Connects a client in a process of its own and kills that process, so that it goes silent."""

    def connect_and_kill(port: int) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", SILENT_CLIENT, str(port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
        finally:
            process.kill()
            process.wait()

    return connect_and_kill


def test_a_client_gone_silent_is_dropped_its_seat_kept_then_it_leaves(net: Net, killed_client: Any) -> None:
    life = Life(net)
    killed_client(life.server.port)
    name = only_address(life.server)
    connection = life.server.connections[name]
    eventually(lambda: life.seen == [("on_join", name), ("on_drop", name)])
    assert connection.status == ConnectionStatus.DISCONNECTED
    eventually(lambda: life.seen == [("on_join", name), ("on_drop", name), ("on_leave", name)])
    eventually(lambda: not life.server.connections)
    assert connection.disconnect_reason.reason.name == "TIMED_OUT"


def test_a_host_gone_silent_stays_host_until_it_leaves_for_good(net: Net, killed_client: Any) -> None:
    life = Life(net)
    killed_client(life.server.port)
    name = only_address(life.server)
    eventually(lambda: life.names == ["on_join", "on_drop"])
    assert life.server.host_client == name
    eventually(lambda: life.server.host_client is None)


def test_at_shutdown_the_client_is_told_at_once_and_keeps_trying(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    server.shutdown()
    eventually(lambda: client.connection.status == ConnectionStatus.CONNECTING, timeout=1.5)


def test_after_a_shutdown_and_run_the_client_resumes_in_its_session(net: Net) -> None:
    life = Life(net)
    seen: list[str] = []
    client = Client(config=SHORT)
    client.on_drop = lambda: seen.append("on_drop")
    client.on_resume = lambda: seen.append("on_resume")
    net.connect(client, life.server)
    name = only_address(life.server)
    session_id = client.connection.session_id
    port = life.server.port
    life.backend.shutdown()
    life.backend.run_in_thread("localhost", port)
    eventually(lambda: seen == ["on_drop", "on_resume"])
    eventually(lambda: life.names[-1] == "on_reconnect")
    assert client.connection.session_id == session_id
    assert list(life.server.connections) == [name]


def test_a_restart_at_once_costs_no_ticket(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    port = server.port
    for _ in range(5):
        server.shutdown()
        eventually(lambda: not is_up(client))
        server.run_in_thread(port)
        # A spent ticket would cost a whole attempt at a handshake: five seconds.
        eventually(lambda: is_up(client), timeout=3.0)


def test_events_pending_on_either_side_are_delivered_once_after_a_restart(net: Net) -> None:
    server = net.server(deliveries=RELIABLE)
    server.register_event_handler("NEWS", up := Recorder())
    client = net.client(server, deliveries=RELIABLE)
    client.register_event_handler("NEWS", down := Recorder())
    name = only_address(server)
    port = server.port
    client.dispatch_event("NEWS", 0)
    server.dispatch_event("NEWS", 0)
    server.shutdown()
    eventually(lambda: not is_up(client))
    for number in range(1, 10):
        client.dispatch_event("NEWS", number)
        server.dispatch_event("NEWS", number, target_client=name)
    server.run_in_thread(port)
    client.dispatch_event("NEWS", 10)
    server.dispatch_event("NEWS", 10, target_client=name)
    up.wait(11)
    down.wait(11)
    assert up.args == down.args == [(number,) for number in range(11)]


def test_the_clocks_of_sessions_stand_still_while_the_server_is_shut_down(net: Net) -> None:
    life = Life(net)
    net.client(life.server)
    name = only_address(life.server)
    life.backend.shutdown()
    time.sleep(2 * SHORT.resume_window_s)
    assert list(life.server.connections) == [name]
    life.backend.run_in_thread("localhost", free_port())  # where the client does not look for it
    assert list(life.server.connections) == [name]
    eventually(lambda: life.names[-1] == "on_leave")
    assert not life.server.connections


def test_a_client_whose_server_does_not_come_back_ends_with_the_reason(net: Net) -> None:
    closed = Recorder()
    server = net.server(config=SHORT)
    client = Client(config=SHORT)
    client.on_close = closed
    thread = NativeThread(client.connect, server.port)
    client.wait_connected(5.0)
    server.shutdown()
    with pytest.raises(OSError):
        thread.wait()
    assert client.connection.status == ConnectionStatus.DISCONNECTED
    assert client.connection.disconnect_reason.reason.name in ("TIMED_OUT", "SHUTDOWN")
    (call,) = closed.wait()
    assert call.args == (client.connection.disconnect_reason,)


def test_a_ticket_is_a_new_session_for_another_process_of_the_server(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    first = net.server(key=KEY, deliveries=RELIABLE)
    lost = Recorder()
    connected: list[Any] = []
    client = Client(key=KEY, deliveries=RELIABLE)
    client.on_connect = lambda: connected.append(client.connection.session_id)
    net.connect(client, first)
    port = first.port
    first.shutdown()
    eventually(lambda: not is_up(client))
    client.dispatch_event("NEWS", "for the old one", ack_callback=lost)
    client.dispatch_event("NEWS", "for the old one too", ack_callback=lost)
    # As from a new process: a server that knows nothing but the key.
    second = net.idle_server(GameState(a=2), key=KEY)
    second.register_event_handler("NEWS", got := Recorder())
    second.run_in_thread(port)
    eventually(lambda: len(connected) == 2)
    assert connected[0] != connected[1] == client.connection.session_id
    client.dispatch_event("NEWS", "for the new one")
    got.wait()
    assert got.args == [("for the new one",)]
    assert lost.calls == []
    assert any("2 pending events were discarded" in record.getMessage() for record in caplog.records)
    client.wait_until(lambda state: shows(state, a=2), timeout=5.0)


def test_a_new_process_of_the_server_sees_a_client_join(net: Net) -> None:
    first = net.server(key=KEY)
    client = net.client(first, key=KEY)
    port = first.port
    first.shutdown()
    seen: list[str] = []
    backend = Backend(
        GameState(),
        lambda game_state, dt: {},
        key=KEY,
        on_join=lambda client_address: seen.append("on_join"),
        on_reconnect=lambda client_address: seen.append("on_reconnect"),
    )
    net.at_end(backend.shutdown)
    backend.run_in_thread("localhost", port)
    eventually(lambda: seen == ["on_join"])
    eventually(lambda: is_up(client))


def test_everything_of_a_session_that_left_is_freed(net: Net) -> None:
    import gc
    import weakref

    server = net.server(deliveries=RELIABLE)
    client = net.client(server)
    name = only_address(server)
    connection = weakref.ref(server.connections[name])
    server.dispatch_event("NEWS", target_client=name)
    client.disconnect()
    eventually(lambda: not server.connections)

    def freed() -> bool:
        gc.collect()
        return connection() is None

    eventually(freed)


def test_a_newcomer_at_a_dropped_sessions_name_makes_that_session_leave(net: Net) -> None:
    life = Life(net)
    router = Router(life.server.port, clients=2)
    net.at_end(router.close)
    router.route(1, None)
    net.client(router.ports[0])
    name = only_address(life.server)
    assert name == router.outer_addresses[0]
    old = life.server.connections[name]
    router.route(0, None)
    eventually(lambda: life.names == ["on_join", "on_drop"])
    router.route(1, 0)
    net.client(router.ports[1])
    eventually(lambda: life.names == ["on_join", "on_drop", "on_leave", "on_join"])
    assert {address for _, address in life.seen} == {name}
    assert life.server.connections[name] is not old
    assert old.disconnect_reason.reason.name == "REPLACED"


def test_a_newcomer_at_a_live_sessions_name_is_closed_with_a_reason(net: Net) -> None:
    life = Life(net, config=PATIENT)
    router = Router(life.server.port, clients=2)
    net.at_end(router.close)
    router.route(1, None)
    first = net.client(router.ports[0], config=PATIENT)
    name = only_address(life.server)
    connection = life.server.connections[name]
    router.route(0, 1)  # another source port: the client notices the silence and resumes
    eventually(lambda: connection.remote_address == router.outer_addresses[1])
    assert list(life.server.connections) == [name] == [router.outer_addresses[0]]
    router.route(1, 0)
    second = net.client(router.ports[1], wait=False)
    with pytest.raises(ConnectionClosedError, match="address"):
        second.wait_connected(5.0)
    assert second.connection.disconnect_reason.reason.name == "NAME_TAKEN"
    assert is_up(first)
    assert life.server.connections == {name: connection}
