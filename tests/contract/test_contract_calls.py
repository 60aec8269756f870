"""The public contract, *Calls that return*."""

from __future__ import annotations

import threading
from typing import Any

import gevent
import pytest

from pygase_gevent import (
    Client,
    GameState,
    PygaseError,
    QueueFullError,
    RemoteError,
    SerializationError,
    UnknownClientError,
)

from .conftest import Net
from .helpers import FAST, NativeThread, Recorder, eventually, is_up, only_address

pytestmark = pytest.mark.crosses_threads


def fail(*args: Any, **kwargs: Any) -> None:
    raise ZeroDivisionError("seven by nothing")


def wait_for(flag: list[bool]) -> str:
    """What a handler does that blocks: cooperatively."""
    while not flag:
        gevent.sleep(0.002)
    return "done"


def test_a_client_calls_a_handler_of_the_server_and_gets_its_value(net: Net) -> None:
    server = net.server()
    server.register_event_handler("ADD", lambda a, b, c=0: {"sum": a + b + c})
    client = net.client(server)
    assert client.call("ADD", 1, 2, c=3, timeout=5.0) == {"sum": 6}


def test_the_server_calls_a_handler_of_a_client_and_gets_its_value(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("ADD", lambda a, b: a + b)
    assert server.call(only_address(server), "ADD", 1, b=2, timeout=5.0) == 3


@pytest.mark.parametrize("value", [None, True, 2**63, 0.5, "text", b"bytes", [1, [2]], {"k": {1: None}}])
def test_any_plain_value_returns(net: Net, value: Any) -> None:
    server = net.server()
    server.register_event_handler("ECHO", lambda value: value)
    client = net.client(server)
    result = client.call("ECHO", value, timeout=5.0)
    assert result == value
    assert type(result) is type(value)


def test_a_large_value_returns(net: Net) -> None:
    server = net.server()
    server.register_event_handler("LARGE", lambda size: bytes(size))
    client = net.client(server)
    assert client.call("LARGE", 300_000, timeout=10.0) == bytes(300_000)


def test_a_called_handler_gets_client_address_if_it_takes_it(net: Net) -> None:
    server = net.server()
    server.register_event_handler("WHO", lambda client_address: list(client_address))
    client = net.client(server)
    assert tuple(client.call("WHO", timeout=5.0)) == only_address(server)


def test_the_peers_exception_arrives_as_a_remote_error_without_its_traceback(net: Net) -> None:
    server = net.server()
    server.register_event_handler("BROKEN", fail)
    client = net.client(server)
    with pytest.raises(RemoteError) as info:
        client.call("BROKEN", timeout=5.0)
    assert "ZeroDivisionError" in str(info.value)
    assert "seven by nothing" in str(info.value)
    assert "Traceback" not in str(info.value)
    assert "test_contract" not in str(info.value)
    client.register_event_handler("BROKEN", fail)
    with pytest.raises(RemoteError, match="seven by nothing"):
        server.call(only_address(server), "BROKEN", timeout=5.0)


def test_a_remote_error_also_where_no_handler_is_registered(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    with pytest.raises(RemoteError, match="NOBODY"):
        client.call("NOBODY", timeout=5.0)
    with pytest.raises(RemoteError, match="NOBODY"):
        server.call(only_address(server), "NOBODY", timeout=5.0)


def test_a_result_that_cannot_be_serialized_is_a_remote_error_too(net: Net) -> None:
    server = net.server()
    server.register_event_handler("BAD", lambda: object())
    client = net.client(server)
    with pytest.raises(RemoteError, match="object"):
        client.call("BAD", timeout=5.0)


def test_timeout_error_at_the_deadline(net: Net) -> None:
    release: list[bool] = []
    server = net.server()
    server.register_event_handler("SLOW", lambda: wait_for(release))
    client = net.client(server)
    client.register_event_handler("SLOW", lambda: wait_for(release))
    try:
        with pytest.raises(TimeoutError, match="SLOW"):
            client.call("SLOW", timeout=0.1)
        with pytest.raises(TimeoutError, match="SLOW"):
            server.call(only_address(server), "SLOW", timeout=0.1)
    finally:
        release.append(True)
    assert client.call("SLOW", timeout=5.0) == "done"


def test_each_call_runs_in_a_greenlet_of_its_own(net: Net) -> None:
    release: list[bool] = []
    server = net.server()
    server.register_event_handler("SLOW", lambda: wait_for(release))
    server.register_event_handler("FAST", lambda: "quick")
    client = net.client(server)
    slow = NativeThread(lambda: client.call("SLOW", timeout=10.0))
    try:
        assert client.call("FAST", timeout=5.0) == "quick"
        assert not slow.is_done
    finally:
        release.append(True)
    assert slow.wait() == "done"


def test_calls_are_outside_the_order_of_events(net: Net) -> None:
    release: list[bool] = []
    server = net.server()
    entered = Recorder()

    def block() -> None:
        entered()
        wait_for(release)

    server.register_event_handler("BLOCK", block)
    server.register_event_handler("FAST", lambda: "quick")
    client = net.client(server)
    client.dispatch_event("BLOCK", retries=5)
    entered.wait()
    try:
        assert client.call("FAST", timeout=5.0) == "quick"
    finally:
        release.append(True)


def test_at_most_64_calls_run_at_once_per_peer(net: Net) -> None:
    release: list[bool] = []
    running: list[int] = []
    most: list[int] = []
    server = net.server()

    def slow() -> str:
        running.append(1)
        most.append(len(running))
        wait_for(release)
        running.pop()
        return "done"

    server.register_event_handler("SLOW", slow)
    client = net.client(server)
    refused: list[BaseException] = []

    def call() -> Any:
        try:
            return client.call("SLOW", timeout=10.0)
        except QueueFullError as error:
            refused.append(error)
            return "done"

    greenlets = [gevent.spawn(call) for _ in range(80)]
    try:
        eventually(lambda: len(running) == 64, sleep=gevent.sleep)
    finally:
        release.append(True)
    gevent.joinall(greenlets, timeout=10.0)
    assert [greenlet.value for greenlet in greenlets] == ["done"] * 80
    assert max(most) == 64
    assert client.call("SLOW", timeout=5.0) == "done"


def test_calls_may_nest(net: Net) -> None:
    server = net.server()
    client = net.client(server)

    def outer(client_address: tuple[str, int]) -> str:
        return "outer " + server.call(client_address, "MIDDLE", timeout=5.0)

    server.register_event_handler("OUTER", outer)
    client.register_event_handler("MIDDLE", lambda: "middle " + client.call("INNER", timeout=5.0))
    server.register_event_handler("INNER", lambda: "inner")
    assert client.call("OUTER", timeout=5.0) == "outer middle inner"


def test_an_event_handler_may_call_back(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("NAME", lambda: "ada")
    names: list[str] = []
    server.register_event_handler(
        "HELLO", lambda client_address: names.append(server.call(client_address, "NAME", timeout=5.0))
    )
    client.dispatch_event("HELLO", retries=5)
    eventually(lambda: names == ["ada"])


def test_calls_do_not_reach_handlers_of_the_state_machine(net: Net) -> None:
    handled = Recorder()
    backend = net.backend(GameState(), event_handlers={"GAME": handled})
    client = net.client(backend.server)
    with pytest.raises(RemoteError, match=r"'GAME' at the server.*Server\.register_event_handler"):
        client.call("GAME", timeout=5.0)
    client.dispatch_event("GAME", retries=5)
    handled.wait()
    assert len(handled.calls) == 1


def test_with_pump_events_calls_wait_for_pump(net: Net) -> None:
    server = net.server()
    client = Client(pump_events=True, config=FAST)
    handler = Recorder(result="pumped")
    client.register_event_handler("ASK", handler)
    client.register_event_handler("NEWS", Recorder())
    net.connect(client, server)
    name = only_address(server)
    asked = NativeThread(lambda: server.call(name, "ASK", timeout=10.0))
    acked = Recorder()
    server.dispatch_event("NEWS", retries=5, ack_callback=acked)
    acked.wait()
    assert not asked.is_done
    assert handler.calls == []

    def pumped() -> bool:
        client.pump()
        return asked.is_done

    eventually(pumped)
    assert asked.wait() == "pumped"
    assert handler.calls[0].thread == threading.get_native_id()


def test_a_call_fails_at_the_call(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    with pytest.raises(SerializationError):
        client.call("ADD", {1, 2}, timeout=5.0)
    with pytest.raises(UnknownClientError, match="12345"):
        server.call(("127.0.0.1", 12345), "ADD", timeout=5.0)


def test_a_call_to_a_peer_that_leaves_ends_with_an_error(net: Net) -> None:
    release: list[bool] = []
    server = net.server()
    server.register_event_handler("SLOW", lambda: wait_for(release))
    client = net.client(server)
    pending = NativeThread(lambda: client.call("SLOW", timeout=20.0))
    server.kick(only_address(server), "enough")
    eventually(lambda: not is_up(client))
    try:
        with pytest.raises(PygaseError):
            pending.wait()
    finally:
        release.append(True)
