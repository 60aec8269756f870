"""The public contract, *Client*: the state, hooks, what is for drawing, and `pump`."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pygase_gevent import (
    Client,
    Delivery,
    GameState,
    GameStateUpdate,
)
from pygase_gevent.config import Config

from .conftest import Net
from .helpers import (
    FAST,
    NativeThread,
    Recorder,
    eventually,
    only_address,
    shows,
)

pytestmark = pytest.mark.crosses_threads


# --- the state --------------------------------------------------------------------------------------


def test_access_game_state_yields_the_synchronized_state(net: Net) -> None:
    server = net.server(GameState(a=1))
    client = net.client(server)
    client.wait_until(lambda state: shows(state, a=1), timeout=5.0)
    with client.access_game_state() as state:
        assert isinstance(state, GameState)
        assert state.a == 1


def test_the_state_is_consistent_for_the_whole_block_and_the_network_never_waits(net: Net) -> None:
    server = net.server(GameState(n=1, twice=2))
    client = net.client(server)
    client.wait_until(lambda state: shows(state, n=1), timeout=5.0)
    client.register_event_handler("NEWS", got := Recorder())
    with client.access_game_state() as state:
        for number in range(2, 20):
            server.game_state_store.push_update(GameStateUpdate(0, n=number, twice=2 * number))
        server.dispatch_event("NEWS", retries=3)
        got.wait()
        eventually(lambda: shows(client, n=19))
        assert (state.n, state.twice) == (1, 2)
    client.wait_until(lambda state: (state.n, state.twice) == (19, 38), timeout=5.0)


def test_before_the_first_connection_the_state_is_empty() -> None:
    with Client().access_game_state() as state:
        assert isinstance(state, GameState)
        assert state.time_order == 0


def test_the_clients_state_is_for_reading(net: Net) -> None:
    client = net.client(net.server(GameState(a=1)))
    client.wait_until(lambda state: shows(state, a=1), timeout=5.0)
    with client.access_game_state() as state, pytest.raises(AttributeError):
        state.a = 2


def test_wait_until_raises_timeout_error() -> None:
    with pytest.raises(TimeoutError):
        Client().wait_until(lambda state: False, timeout=0.02)


def test_wait_until_returns_when_the_condition_holds(net: Net) -> None:
    server = net.server(GameState(n=0))
    client = net.client(server)
    waiter = NativeThread(lambda: client.wait_until(lambda state: shows(state, n=5), timeout=10.0))
    client.wait_until(lambda state: shows(state, n=0), timeout=5.0)
    for number in range(1, 6):
        server.game_state_store.push_update(GameStateUpdate(0, n=number))
    waiter.wait()


def test_an_error_in_the_condition_is_the_callers(net: Net) -> None:
    client = net.client(net.server(GameState(a=1)))
    client.wait_until(lambda state: shows(state, a=1), timeout=5.0)
    with pytest.raises(ZeroDivisionError):
        client.wait_until(lambda state: 1 / 0, timeout=5.0)


def test_wait_until_wakes_on_updates_instead_of_polling(net: Net) -> None:
    client = net.client(net.server(GameState(n=0)))
    client.wait_until(lambda state: shows(state, n=0), timeout=5.0)
    looked = Recorder(result=False)
    with pytest.raises(TimeoutError):
        client.wait_until(looked, timeout=0.5)  # nothing changes meanwhile: there is nothing to look at
    assert 1 <= len(looked.calls) <= 10


def test_try_to_tries_again_while_the_function_raises_or_returns_none(net: Net) -> None:
    server = net.server(GameState(d={}))
    client = net.client(server)
    client.wait_until(lambda state: shows(state, d={}), timeout=5.0)
    key = NativeThread(lambda: client.try_to(lambda state: state.d["x"], timeout=10.0))
    attribute = NativeThread(lambda: client.try_to(lambda state: state.late, timeout=10.0))
    none = NativeThread(lambda: client.try_to(lambda state: state.d.get("x"), timeout=10.0))
    server.game_state_store.push_update(GameStateUpdate(0, d={"x": 3}, late=4))
    assert (key.wait(), attribute.wait(), none.wait()) == (3, 4, 3)


def test_try_to_raises_timeout_error_with_the_last_error_as_its_cause() -> None:
    with pytest.raises(TimeoutError) as info:
        Client().try_to(lambda state: state.never, timeout=0.02)
    assert isinstance(info.value.__cause__, AttributeError)
    with pytest.raises(TimeoutError) as info:
        Client().try_to(lambda state: None, timeout=0.02)
    assert info.value.__cause__ is None


def test_try_to_lets_other_errors_through() -> None:
    with pytest.raises(ZeroDivisionError):
        Client().try_to(lambda state: 1 / 0, timeout=5.0)


# --- hooks and ack callbacks ------------------------------------------------------------------------


def with_hooks(seen: list[Any], config: Config = FAST) -> Client:
    client = Client(config=config)
    client.on_connect = lambda: seen.append("connect")
    client.on_drop = lambda: seen.append("drop")
    client.on_resume = lambda: seen.append("resume")
    client.on_close = lambda reason: seen.append(("close", reason))
    return client


def test_hooks_tell_the_life_of_a_connection(net: Net) -> None:
    seen: list[Any] = []
    server = net.server()
    client = net.connect(with_hooks(seen), server)
    eventually(lambda: seen == ["connect"])
    port = server.port
    server.shutdown()
    eventually(lambda: seen == ["connect", "drop"])
    server.run_in_thread(port)
    eventually(lambda: seen == ["connect", "drop", "resume"])
    client.disconnect()
    eventually(lambda: len(seen) == 4)
    assert seen[3][0] == "close"
    assert seen[3][1].reason.name == "GOODBYE"


def test_on_close_gets_the_reason(net: Net) -> None:
    seen: list[Any] = []
    server = net.server()
    net.connect(with_hooks(seen), server)
    server.kick(only_address(server), "no cheating")
    eventually(lambda: len(seen) == 2)
    (_, reason) = seen[1]
    assert (reason.reason.name, reason.text) == ("KICKED", "no cheating")


def test_a_hook_that_raises_ends_nothing(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    server = net.server(GameState(a=1))
    client = Client(config=FAST)

    def on_connect() -> None:
        raise ZeroDivisionError("the hook's own")

    client.on_connect = on_connect
    net.connect(client, server)
    client.wait_until(lambda state: shows(state, a=1), timeout=5.0)
    eventually(lambda: any("on_connect" in record.getMessage() for record in caplog.records))


def test_ack_callbacks_take_no_argument(net: Net) -> None:
    server = net.server()
    server.register_event_handler("PING", got := Recorder())
    client = net.client(server)
    acked = Recorder()
    client.dispatch_event("PING", retries=3, ack_callback=acked)
    (call,) = acked.wait()
    assert (call.args, call.kwargs) == ((), {})
    got.wait()


def test_events_carry_positional_and_keyword_arguments_to_the_server(net: Net) -> None:
    server = net.server()
    seen: list[Any] = []
    server.register_event_handler("PING", lambda *args, **kwargs: seen.append((args, kwargs)))
    client = net.client(server)
    client.dispatch_event("PING", 1, (2, 3), retries=3, when={"x": None})
    eventually(lambda: seen)
    assert seen == [((1, [2, 3]), {"when": {"x": None}, "client_address": only_address(server)})]


def test_the_librarys_own_names_are_dropped_from_the_wire(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("NEWS", got := Recorder())
    server.dispatch_event("NEWS", client_address=("6.6.6.6", 6), game_state=6, dt=6, own=1, retries=3)
    assert got.wait()[0].kwargs == {"own": 1}


# --- for drawing ------------------------------------------------------------------------------------


def test_server_time_is_a_clock_that_goes_forward(net: Net) -> None:
    client = net.client(net.server(GameState(a=1)))
    first = eventually(lambda: client.server_time)
    assert first > 0.0
    eventually(lambda: client.server_time > first)


def test_clients_agree_on_the_servers_time(net: Net) -> None:
    server = net.server(GameState(a=1))
    clients = [net.client(server) for _ in range(2)]
    for client in clients:
        eventually(lambda client=client: client.server_time)
    before = clients[0].server_time
    between = clients[1].server_time
    after = clients[0].server_time
    assert before - 0.1 <= between <= after + 0.1


def test_recent_states_are_the_last_ones_with_their_server_times(net: Net) -> None:
    server = net.server(GameState(n=0))
    client = net.client(server)
    for number in range(1, 6):
        server.game_state_store.push_update(GameStateUpdate(0, n=number))
        client.wait_until(lambda state, number=number: shows(state, n=number), timeout=5.0)
    recent = client.recent_states()
    assert [state.n for _, state in recent][-5:] == [1, 2, 3, 4, 5]
    times = [server_time for server_time, _ in recent]
    assert times == sorted(times)
    assert times[0] < times[-1] <= eventually(lambda: client.server_time) + 0.1


# --- pump -------------------------------------------------------------------------------------------


def test_with_pump_events_handlers_run_on_the_callers_thread_when_it_pumps(net: Net) -> None:
    server = net.server(GameState(a=1), deliveries={"NEWS": Delivery.RELIABLE_ORDERED})
    client = Client(pump_events=True, config=FAST)
    client.register_event_handler("NEWS", got := Recorder())
    net.connect(client, server)
    acked = Recorder()
    server.dispatch_event("NEWS", 1, ack_callback=acked)
    server.dispatch_event("NEWS", 2, ack_callback=acked)
    acked.wait(2)
    client.wait_until(lambda state: shows(state, a=1), timeout=5.0)  # the network goes on meanwhile
    assert got.calls == []

    def pumped() -> bool:
        client.pump()
        return len(got.calls) == 2

    eventually(pumped)
    assert got.args == [(1,), (2,)]
    assert {call.thread for call in got.calls} == {threading.get_native_id()}


def test_with_pump_events_ack_callbacks_and_hooks_wait_for_pump_too(net: Net) -> None:
    server = net.server()
    server.register_event_handler("PING", got := Recorder())
    client = Client(pump_events=True, config=FAST)
    connected, acked = Recorder(), Recorder()
    client.on_connect = connected
    net.connect(client, server)
    client.dispatch_event("PING", retries=3, ack_callback=acked)
    got.wait()

    def pumped() -> bool:
        client.pump()
        return bool(connected.calls and acked.calls)

    eventually(pumped)
    assert {call.thread for call in connected.calls + acked.calls} == {threading.get_native_id()}


def test_pump_does_not_block(net: Net) -> None:
    client = net.client(net.server(), pump_events=True)
    client.pump()
    Client(pump_events=True).pump()


def test_without_pump_events_handlers_run_on_the_network_thread(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("NEWS", got := Recorder())
    server.dispatch_event("NEWS", retries=3)
    assert got.wait()[0].thread != threading.get_native_id()
