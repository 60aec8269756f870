"""Bad local input: each a clear error at the call, or in `wait_connected`, with its message."""

from __future__ import annotations

from typing import Any

import pytest

from pygase_gevent import (
    AlreadyRunningError,
    ArgumentError,
    ArgumentTypeError,
    Client,
    ConnectError,
    Delivery,
    GameState,
    GameStateStore,
    GameStateUpdate,
    LocalError,
    MessageTooLargeError,
    NoAnswerError,
    SerializationError,
    Server,
    UnknownClientError,
)
from pygase_gevent.config import Config
from pygase_gevent.tokens import issue_connect_token

from .conftest import Net
from .helpers import FAST, KEY, OTHER_KEY, SHORT, Recorder, eventually, free_port

STRANGER = ("198.51.100.9", 1234)
UNSENDABLE: list[tuple[Any, str]] = [
    ({1, 2}, r"\bset\b"),
    (object(), r"\bobject\b"),
    ({"players": [{"name": {"x"}}]}, r"players.*0.*name.*\bset\b"),
    ({1.5: "float key"}, r"\bfloat\b"),
    ({True: "bool key"}, r"\bbool\b"),
    (2**64, r"2\*\*64|18446744073709551616"),
    (-(2**63) - 1, r"2\*\*63|-9223372036854775809"),
    (1j, r"\bcomplex\b"),
]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# --- data of every kind that cannot travel, and of every kind that can


@pytest.mark.crosses_threads
def test_an_unknown_client_address(net: Net) -> None:
    server = net.server()
    with pytest.raises(UnknownClientError, match=r"198\.51\.100\.9.*1234"):
        server.dispatch_event("NEWS", target_client=STRANGER)
    with pytest.raises(KeyError):
        server.dispatch_event("NEWS", target_client=[STRANGER])
    with pytest.raises(UnknownClientError, match=r"198\.51\.100\.9.*1234"):
        server.call(STRANGER, "NEWS", timeout=1.0)
    with pytest.raises(UnknownClientError, match=r"198\.51\.100\.9.*1234"):
        server.kick(STRANGER, "why not")


@pytest.mark.parametrize("target", ["everyone", 5, None, ("host",), ["x"], ("host", "port")])
@pytest.mark.crosses_threads
def test_a_target_that_is_no_address(net: Net, target: Any) -> None:
    server = net.server()
    with pytest.raises(LocalError, match=r"target_client|address"):
        server.dispatch_event("NEWS", target_client=target)


@pytest.mark.parametrize(("value", "message"), UNSENDABLE)
@pytest.mark.crosses_threads
def test_an_argument_that_cannot_be_serialized(net: Net, value: Any, message: str) -> None:
    server = net.server()
    client = net.client(server)
    eventually(lambda: server.connections)
    for dispatch in (client.dispatch_event, server.dispatch_event):
        with pytest.raises(SerializationError, match=message):
            dispatch("NEWS", value)
        with pytest.raises(TypeError, match="where"):
            dispatch("NEWS", where=value)


@pytest.mark.parametrize(("value", "message"), UNSENDABLE)
def test_state_that_cannot_be_serialized(value: Any, message: str) -> None:
    store = GameStateStore(GameState(a=1))
    with pytest.raises(SerializationError, match=message):
        store.push_update(GameStateUpdate(1, place=value))
    with pytest.raises(SerializationError, match="place"):
        GameStateStore(GameState(place=value))
    assert store.get_game_state().time_order == 0


def test_data_nested_too_deeply() -> None:
    with pytest.raises(SerializationError, match=r"32|deep"):
        GameStateStore(GameState(a=nested(40)))
    recursive: list[Any] = []
    recursive.append(recursive)
    with pytest.raises(SerializationError, match=r"32|deep"):
        GameStateStore(GameState(a=recursive))


@pytest.mark.crosses_threads
def test_an_oversized_event(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    server.register_event_handler("END", end := Recorder())
    server.register_event_handler("LARGE", large := Recorder())
    eventually(lambda: server.connections)
    for dispatch in (client.dispatch_event, server.dispatch_event):
        with pytest.raises(MessageTooLargeError, match=r"1048576"):
            dispatch("LARGE", bytes(1024 * 1024))
    client.dispatch_event("END", retries=5)
    end.wait()
    assert large.calls == []


@pytest.mark.parametrize("function", [None, 5, "handler"])
def test_a_handler_that_is_not_callable(function: Any) -> None:
    from pygase_gevent import Backend, GameStateMachine

    store = GameStateStore()
    for owner in (Server(store), Client(), GameStateMachine(store)):
        with pytest.raises(ArgumentTypeError, match="callable"):
            owner.register_event_handler("NEWS", function)
    if function is not None:
        for keywords in ({"event_handlers": {"NEWS": function}}, {"on_join": function}):
            with pytest.raises(ArgumentTypeError, match="callable"):
                Backend(GameState(), lambda game_state, dt: {}, **keywords)


@pytest.mark.crosses_threads
def test_run_while_running(net: Net) -> None:
    server = net.server()
    for run in (server.run, server.run_in_thread):
        with pytest.raises(AlreadyRunningError, match="runs already"):
            run()


@pytest.mark.crosses_threads
def test_run_of_a_backend_while_running(net: Net) -> None:
    backend = net.backend()
    for run in (backend.run, backend.run_in_thread):
        with pytest.raises(AlreadyRunningError, match="runs already"):
            run("localhost", 0)
    net.client(backend.server)


@pytest.mark.crosses_threads
def test_a_taken_port(net: Net) -> None:
    port = net.server().port
    for run in (net.idle_server().run, net.idle_server().run_in_thread):
        with pytest.raises(OSError, match=rf"{port}.*in use|in use.*{port}"):
            run(port)


@pytest.mark.crosses_threads
def test_connect_to_a_dead_port(net: Net) -> None:
    port = free_port()
    client = net.client(port, wait=False, config=SHORT)
    with pytest.raises(NoAnswerError, match="wrong key, wrong game, no server, or a firewall"):
        client.wait_connected(10.0)
    with pytest.raises(NoAnswerError, match="wrong key, wrong game, no server, or a firewall"):
        Client(config=SHORT).connect(port)


@pytest.mark.crosses_threads
def test_a_wrong_key(net: Net) -> None:
    client = net.client(net.server(key=KEY), wait=False, key=OTHER_KEY, config=SHORT)
    with pytest.raises(NoAnswerError, match="wrong key, wrong game, no server, or a firewall"):
        client.wait_connected(10.0)


# --- the rest of what may be handed in --------------------------------------------------------------


@pytest.mark.parametrize("key", ["secret", 5, [0] * 32])
def test_a_key_of_a_wrong_type(key: Any) -> None:
    for make in (lambda: Server(GameStateStore(), key=key), lambda: Client(key=key)):
        with pytest.raises(ArgumentTypeError, match=r"key.*bytes"):
            make()


@pytest.mark.parametrize("key", [b"", b"short", bytes(33)])
def test_a_key_of_a_wrong_size(key: bytes) -> None:
    for make in (lambda: Server(GameStateStore(), key=key), lambda: Client(key=key)):
        with pytest.raises(ArgumentError, match=r"key.*32"):
            make()


@pytest.mark.parametrize("game", [None, b"pong", 1.5])
def test_a_game_of_a_wrong_type(game: Any) -> None:
    for make in (lambda: Server(GameStateStore(), game=game), lambda: Client(game=game)):
        with pytest.raises(ArgumentTypeError, match="game"):
            make()


@pytest.mark.parametrize("game", [-1, 2**64])
def test_a_protocol_id_out_of_range(game: int) -> None:
    with pytest.raises(ArgumentError, match=r"game.*2\*\*64"):
        Client(game=game)


@pytest.mark.parametrize("deliveries", [["CHAT"], {"CHAT": "reliable"}, {5: Delivery.RELIABLE}])
def test_deliveries_that_are_no_mapping_of_types_to_deliveries(deliveries: Any) -> None:
    for make in (
        lambda: Server(GameStateStore(), deliveries=deliveries),
        lambda: Client(deliveries=deliveries),
    ):
        with pytest.raises(ArgumentTypeError, match="deliver"):
            make()


@pytest.mark.parametrize("store", [None, {}, GameState()])
def test_a_server_of_something_else_than_a_store(store: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="GameStateStore"):
        Server(store)


@pytest.mark.parametrize("update", [None, {"a": 1}, GameState()])
def test_a_push_of_something_else_than_an_update(update: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="GameStateUpdate"):
        GameStateStore().push_update(update)


@pytest.mark.parametrize("event_type", [None, 5, b"NEWS"])
@pytest.mark.crosses_threads
def test_an_event_type_that_is_no_str(net: Net, event_type: Any) -> None:
    server = net.server()
    client = net.client(server)
    eventually(lambda: server.connections)
    for call in (
        lambda: client.dispatch_event(event_type),
        lambda: server.dispatch_event(event_type),
        lambda: client.call(event_type, timeout=1.0),
    ):
        with pytest.raises(ArgumentTypeError, match=r"event.type"):
            call()


@pytest.mark.parametrize("retries", [-1, 1001, 1.5, "2"])
@pytest.mark.crosses_threads
def test_retries_out_of_range_or_of_a_wrong_type(net: Net, retries: Any) -> None:
    server = net.server()
    client = net.client(server)
    eventually(lambda: server.connections)
    for dispatch in (client.dispatch_event, server.dispatch_event):
        with pytest.raises(LocalError, match="retries"):
            dispatch("NEWS", retries=retries)


@pytest.mark.crosses_threads
def test_an_ack_callback_that_is_not_callable(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    eventually(lambda: server.connections)
    for dispatch in (client.dispatch_event, server.dispatch_event):
        with pytest.raises(ArgumentTypeError, match=r"ack_callback.*callable"):
            dispatch("NEWS", ack_callback=5)


@pytest.mark.parametrize("port", [-1, 65536, "80", None, 80.0])
@pytest.mark.crosses_threads
def test_a_port_that_is_none(net: Net, port: Any) -> None:
    client = Client(config=FAST)
    for call in (
        lambda: net.idle_server().run(port),
        lambda: net.idle_server().run_in_thread(port),
        lambda: client.connect(port),
        lambda: client.connect_in_thread(port),
    ):
        with pytest.raises(LocalError, match="port"):
            call()


def test_port_zero_without_a_token_is_nothing_to_dial() -> None:
    client = Client(config=FAST)
    for connect in (client.connect, client.connect_in_thread):
        with pytest.raises(ArgumentError, match=r"port.*token|token.*port"):
            connect(0)


@pytest.mark.parametrize("token", [b"", b"too short", bytes(2048)])
def test_a_token_that_is_none(token: bytes) -> None:
    client = Client(config=FAST)
    for connect in (client.connect, client.connect_in_thread):
        with pytest.raises(ArgumentError, match="token"):
            connect(4000, token=token)


def test_a_token_of_another_game() -> None:
    token = issue_connect_token(key=KEY, game="chess", server_addresses=[("127.0.0.1", 4000)])
    with pytest.raises(ArgumentError, match="another game"):
        Client(game="pong", config=FAST).connect(4000, token=token)


def test_claims_that_do_not_fit_into_a_token() -> None:
    addresses = [("127.0.0.1", 4000)]
    with pytest.raises(MessageTooLargeError, match=r"claims.*200"):
        issue_connect_token(key=KEY, server_addresses=addresses, claims={"name": "x" * 300})
    with pytest.raises(SerializationError):
        issue_connect_token(key=KEY, server_addresses=addresses, claims={"name": {1}})


@pytest.mark.parametrize("addresses", [[], [("127.0.0.1", 4000)] * 33])
def test_a_token_of_no_address_or_too_many(addresses: list[tuple[str, int]]) -> None:
    with pytest.raises(ArgumentError, match="32"):
        issue_connect_token(key=KEY, server_addresses=addresses)


@pytest.mark.crosses_threads
def test_a_host_that_does_not_exist(net: Net) -> None:
    name = "no such host.invalid"
    with pytest.raises(OSError, match="no such host"):
        net.idle_server().run(hostname=name)
    with pytest.raises(OSError, match="no such host"):
        Client(config=FAST).connect(4000, name)
    client = Client(config=FAST)
    with pytest.raises((OSError, ConnectError), match="no such host"):
        net.connect(client, 4000, name)


@pytest.mark.crosses_threads
def test_connect_while_connected(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    for connect in (client.connect, client.connect_in_thread):
        with pytest.raises(AlreadyRunningError, match=r"client.*already"):
            connect(server.port)


@pytest.mark.parametrize("event_wire", [object(), 5])
@pytest.mark.crosses_threads
def test_an_event_wire_without_push_event(net: Net, event_wire: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="_push_event"):
        net.idle_server().run_in_thread(event_wire=event_wire)


@pytest.mark.parametrize("interval", [0, -1.0, "fast", float("nan")])
def test_an_interval_that_is_no_time(interval: Any) -> None:
    from pygase_gevent import GameStateMachine

    machine = GameStateMachine(GameStateStore())
    for run in (machine.run_game_loop, machine.run_game_loop_in_thread):
        with pytest.raises(LocalError, match="interval"):
            run(interval)


@pytest.mark.parametrize(("name", "value"), [("timeout_s", 0), ("max_clients", -1), ("max_depth", True)])
def test_a_limit_that_is_not_positive(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=name):
        Config(**{name: value})
