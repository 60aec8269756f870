"""The public contract, *Server*: its attributes, `dispatch_event`, `register_event_handler`."""

from __future__ import annotations

from typing import Any

import pytest

from pygase_gevent import (
    Client,
    ConnectionStatus,
    Delivery,
    GameState,
    GameStateStore,
    GameStateUpdate,
    Server,
)
from pygase_gevent.connection import ServerConnection

from .conftest import Net
from .helpers import (
    FAST,
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


# --- what it is, and its attributes -----------------------------------------------------------------


def test_a_server_orchestrates_events_and_state_updates(net: Net) -> None:
    server = net.server(GameState(score=3))
    server.register_event_handler("PING", got := Recorder())
    client = net.client(server)
    client.wait_until(lambda state: shows(state, score=3), timeout=5.0)
    client.dispatch_event("PING", retries=3)
    got.wait()


def test_the_store_given_is_the_store_served() -> None:
    store = GameStateStore()
    assert Server(store).game_state_store is store


def test_connections_maps_client_addresses_to_server_connections(net: Net) -> None:
    server = net.server()
    net.client(server)
    host, port = only_address(server)
    assert host == "127.0.0.1"
    assert 0 < port < 65536
    assert isinstance(server.connections[host, port], ServerConnection)


def test_connections_is_replaced_on_change_and_never_mutated(net: Net) -> None:
    server = net.server()
    empty = server.connections
    net.client(server)
    one = eventually(lambda: server.connections)
    second = net.client(server)
    eventually(lambda: len(server.connections) == 2)
    two = server.connections
    second.disconnect()
    eventually(lambda: len(server.connections) == 1)
    assert (len(empty), len(one), len(two)) == (0, 1, 2)


def test_any_thread_may_iterate_the_connections_it_got(net: Net) -> None:
    server = net.server()
    stop: list[bool] = []

    def iterate() -> int:
        rounds = 0
        while not stop:
            rounds += sum(1 for _, connection in server.connections.items() if connection.status is not None)
        return rounds

    thread = NativeThread(iterate)
    try:
        for _ in range(3):
            net.client(server).disconnect()
    finally:
        stop.append(True)
    thread.wait()


def test_the_client_address_is_the_sessions_name_also_after_a_resume(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    name = only_address(server)
    session_id = server.connections[name].session_id
    port = server.port
    server.shutdown()
    server.run_in_thread(port)
    eventually(lambda: server.connections[name].status == ConnectionStatus.CONNECTED)
    assert list(server.connections) == [name]
    assert server.connections[name].session_id == session_id == client.connection.session_id
    host, _ = server.connections[name].remote_address
    assert host == "127.0.0.1"


def test_session_ids_are_unique(net: Net) -> None:
    server = net.server()
    first, second = net.client(server), net.client(server)
    seen = {first.connection.session_id, second.connection.session_id}
    second.disconnect()
    net.connect(second, server)
    seen.add(second.connection.session_id)
    assert len(seen) == 3


def test_the_first_client_to_connect_becomes_host(net: Net) -> None:
    server = net.server()
    assert server.host_client is None
    net.client(server)
    first = only_address(server)
    eventually(lambda: server.host_client == first)
    net.client(server)
    eventually(lambda: len(server.connections) == 2)
    assert server.host_client == first


def test_only_the_host_may_shut_the_server_down(net: Net) -> None:
    server = net.server()
    host, guest = net.client(server), net.client(server)
    eventually(lambda: len(server.connections) == 2)
    guest.disconnect(shutdown_server=True)
    eventually(lambda: len(server.connections) == 1)
    net.client(server)  # it goes on
    assert is_up(host)
    host.disconnect(shutdown_server=True)
    eventually(lambda: server.port is None)


def test_the_application_may_assign_the_host(net: Net) -> None:
    server = net.server()
    net.client(server)
    first = only_address(server)
    guest = net.client(server)
    eventually(lambda: len(server.connections) == 2)
    (second,) = set(server.connections) - {first}
    server.host_client = second
    assert server.host_client == second
    guest.disconnect(shutdown_server=True)
    eventually(lambda: server.port is None)


def test_when_the_host_leaves_for_good_there_is_none_until_assigned(net: Net) -> None:
    server = net.server()
    host = net.client(server)
    eventually(lambda: server.host_client is not None)
    host.disconnect()
    eventually(lambda: server.host_client is None)
    net.client(server)
    name = only_address(server)
    assert server.host_client is None
    server.host_client = name
    assert server.host_client == name


def test_hostname_and_port_are_none_while_not_running_and_read_only(net: Net) -> None:
    server = net.idle_server()
    assert (server.hostname, server.port) == (None, None)
    server.run_in_thread(hostname="127.0.0.1")
    assert server.hostname == "localhost"
    assert isinstance(server.port, int)
    with pytest.raises(AttributeError):
        server.port = 1
    with pytest.raises(AttributeError):
        server.hostname = "elsewhere"
    server.shutdown()
    assert (server.hostname, server.port) == (None, None)


# --- dispatch_event ---------------------------------------------------------------------------------


def three_clients(net: Net, server: Server) -> tuple[list[tuple[str, int]], list[Recorder]]:
    names: list[tuple[str, int]] = []
    recorders = []
    for count in range(3):
        recorder = Recorder()
        client = Client(config=FAST)
        client.register_event_handler("NEWS", recorder)
        recorders.append(recorder)
        net.connect(client, server)
        eventually(lambda count=count: len(server.connections) == count + 1)
        names.extend(set(server.connections) - set(names))
    return names, recorders


def test_an_event_goes_to_all_to_one_or_to_several(net: Net) -> None:
    server = net.server(deliveries={"NEWS": Delivery.RELIABLE_ORDERED})
    names, recorders = three_clients(net, server)
    server.dispatch_event("NEWS", "all")
    server.dispatch_event("NEWS", "one", target_client=names[0])
    server.dispatch_event("NEWS", "two", target_client=[names[0], names[1]])
    server.dispatch_event("NEWS", "end", target_client="all")
    expected = [["all", "one", "two", "end"], ["all", "two", "end"], ["all", "end"]]
    eventually(lambda: [[args[0] for args in recorder.args] for recorder in recorders] == expected)


def test_events_carry_positional_and_keyword_arguments(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("NEWS", got := Recorder())
    server.dispatch_event("NEWS", 1, [2, 3], b"4", when={"x": None}, retries=3)
    (call,) = got.wait()
    assert call.args == (1, [2, 3], b"4")
    assert call.kwargs == {"when": {"x": None}}


def test_however_often_an_event_is_resent_its_handler_runs_once(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("NEWS", got := Recorder())
    acked = Recorder()
    for number in range(50):
        server.dispatch_event("NEWS", number, retries=100, ack_callback=acked)
    acked.wait(50)
    got.wait(50)
    assert sorted(got.args) == [(number,) for number in range(50)]


def test_ack_callback_gets_the_connection_after_that_client_received_the_event(net: Net) -> None:
    server = net.server(deliveries={"NEWS": Delivery.RELIABLE})
    names, recorders = three_clients(net, server)
    acked = Recorder()
    server.dispatch_event("NEWS", ack_callback=acked)
    acked.wait(3)
    assert {call.args[0].client_address for call in acked.calls} == set(names)
    assert all(isinstance(call.args[0], ServerConnection) and len(call.args) == 1 for call in acked.calls)
    for recorder in recorders:
        recorder.wait()


def test_ack_callback_runs_where_handlers_run(net: Net) -> None:
    server = net.server()
    server.register_event_handler("PING", handled := Recorder())
    client = net.client(server)
    client.dispatch_event("PING", retries=3)
    acked = Recorder()
    server.dispatch_event("NEWS", retries=3, ack_callback=acked)
    assert acked.wait()[0].thread == handled.wait()[0].thread


def test_ack_callback_never_runs_without_delivery(net: Net) -> None:
    server = net.server(config=SHORT, deliveries={"NEWS": Delivery.RELIABLE})
    net.client(server)
    name = only_address(server)
    acked = Recorder()
    server.shutdown()
    server.dispatch_event("NEWS", target_client=name, ack_callback=acked)
    server.run_in_thread(free_port())  # where the client does not look for it
    eventually(lambda: not server.connections)
    assert acked.calls == []


# --- register_event_handler -------------------------------------------------------------------------


def test_a_handler_gets_client_address_only_if_it_takes_it(net: Net) -> None:
    server = net.server()
    with_address: list[Any] = []
    without: list[Any] = []

    def takes(number: int, client_address: Any) -> None:
        with_address.append((number, client_address))

    server.register_event_handler("WITH", takes)
    server.register_event_handler("WITHOUT", without.append)
    client = net.client(server)
    client.dispatch_event("WITH", 1, retries=3)
    client.dispatch_event("WITHOUT", 2, retries=3)
    eventually(lambda: with_address and without)
    assert with_address == [(1, only_address(server))]
    assert without == [2]


@pytest.mark.parametrize("function", [None, 1, "name", object()])
def test_a_handler_that_is_not_callable_is_a_type_error(function: Any) -> None:
    with pytest.raises(TypeError):
        Server(GameStateStore()).register_event_handler("X", function)


def test_the_librarys_own_names_are_dropped_from_the_wire(net: Net) -> None:
    server = net.server()
    server.register_event_handler("PING", got := Recorder())
    client = net.client(server)
    client.dispatch_event("PING", client_address=("6.6.6.6", 6), game_state=6, dt=6, own=1, retries=3)
    (call,) = got.wait()
    assert call.kwargs == {"client_address": only_address(server), "own": 1}


def test_a_state_pushed_to_the_store_reaches_every_client(net: Net) -> None:
    server = net.server(GameState(a=1))
    clients = [net.client(server) for _ in range(3)]
    server.game_state_store.push_update(GameStateUpdate(1, a=2))
    for client in clients:
        client.wait_until(lambda state: shows(state, a=2), timeout=5.0)
