"""The public contract, *Backend*."""

from __future__ import annotations

import threading
from typing import Any

import gevent
import pytest

from pygase_gevent import Backend, GameState, GameStateMachine, GameStateStore, GameStatus, Server, backend

from .conftest import Net
from .helpers import FAST, SHORT, NativeThread, Recorder, eventually, is_up, only_address, shows

pytestmark = pytest.mark.crosses_threads


def idle(game_state: GameState, dt: float) -> dict[str, Any]:
    return {}


def test_it_has_a_store_a_machine_and_a_server() -> None:
    made = Backend(GameState(a=1), idle)
    assert isinstance(made.game_state_store, GameStateStore)
    assert isinstance(made.game_state_machine, GameStateMachine)
    assert isinstance(made.server, Server)
    assert made.server.game_state_store is made.game_state_store
    assert made.game_state_store.get_game_state().a == 1


def test_it_takes_the_servers_keywords(net: Net) -> None:
    key = bytes(range(32))
    made = net.backend(GameState(a=1), game="tag", key=key)
    client = net.client(made.server, game="tag", key=key)
    client.wait_until(lambda state: shows(state, a=1), timeout=5.0)


def test_the_module_is_the_home_of_server_store_and_machine() -> None:
    assert backend.Server is Server
    assert backend.GameStateStore is GameStateStore
    assert backend.GameStateMachine is GameStateMachine


def test_time_steps_and_event_handlers_make_the_state_that_clients_see(net: Net) -> None:
    made = net.backend(
        GameState(foo=0.0, bar=1.0),
        lambda game_state, dt: {"foo": game_state.foo + game_state.bar * dt},
        {"SET_BAR": lambda new_bar, game_state, dt: {"bar": new_bar}},
    )
    client = net.client(made.server)
    client.wait_until(lambda state: getattr(state, "foo", 0.0) > 0.0, timeout=5.0)
    client.dispatch_event("SET_BAR", new_bar=5.0, retries=3)
    client.wait_until(lambda state: shows(state, bar=5.0), timeout=5.0)


def test_run_blocks_until_shutdown_and_pauses_the_game(net: Net) -> None:
    made = Backend(GameState(), idle, config=FAST)
    net.at_end(made.shutdown)
    thread = NativeThread(made.run, "localhost", 0)
    eventually(lambda: made.server.port)
    eventually(lambda: made.game_state_store.get_game_state().game_status == GameStatus.ACTIVE)
    assert not thread.is_done
    made.shutdown()
    thread.wait()
    assert made.server.port is None
    assert made.game_state_store.get_game_state().is_paused()


def test_run_may_be_spawned_as_a_greenlet(net: Net) -> None:
    made = Backend(GameState(), idle, config=FAST)
    net.at_end(made.shutdown)
    running = gevent.spawn(made.run, "localhost", 0)
    eventually(lambda: made.server.port, sleep=gevent.sleep)
    net.client(made.server).disconnect()
    made.shutdown()
    running.join(5.0)
    assert running.successful()


def test_run_in_thread_returns_a_thread_and_runs_loop_and_server_in_one_hub(net: Net) -> None:
    steps = Recorder(result={})
    made = Backend(GameState(), lambda game_state, dt: steps(), config=FAST)
    net.at_end(made.shutdown)
    thread = made.run_in_thread("localhost", 0)
    assert isinstance(thread, threading.Thread)
    assert made.server.port is not None
    made.server.register_event_handler("PING", got := Recorder())
    client = net.client(made.server)
    client.dispatch_event("PING", retries=3)
    assert got.wait()[0].thread == steps.wait()[0].thread != threading.get_native_id()
    made.shutdown()
    thread.join(5.0)
    assert not thread.is_alive()


def test_the_interval_is_that_of_the_game_loop(net: Net) -> None:
    steps = Recorder(result={})
    made = Backend(GameState(), lambda game_state, dt: steps(dt), config=FAST)
    net.at_end(made.shutdown)
    made.run_in_thread("localhost", 0, interval=0.1)
    steps.wait(4)
    # Measured steps vary, a game time of several of them less so.
    assert sum(args[0] for args in steps.args[1:4]) >= 0.15


def test_a_taken_port_raises_and_leaves_no_loop_running(net: Net) -> None:
    taken = net.server().port
    made = Backend(GameState(), idle, config=FAST)
    with pytest.raises(OSError):
        made.run_in_thread("localhost", taken)
    assert made.game_state_store.get_game_state().is_paused()
    with pytest.raises(OSError):
        made.run("localhost", taken)
    assert made.game_state_store.get_game_state().is_paused()


def test_a_backend_runs_again_after_shutdown(net: Net) -> None:
    made = net.backend(GameState(n=0), lambda game_state, dt: {"n": game_state.n + 1})
    client = net.client(made.server)
    port = made.server.port
    made.shutdown()
    reached = made.game_state_store.get_game_state().n
    made.run_in_thread("localhost", port)
    eventually(lambda: is_up(client))
    client.wait_until(lambda state: state.n > reached, timeout=5.0)


def test_the_librarys_own_names_are_dropped_from_the_wire(net: Net) -> None:
    made = net.backend(GameState(n=1), event_handlers={"PING": (got := Recorder())})
    client = net.client(made.server)
    client.dispatch_event("PING", client_address=("6.6.6.6", 6), game_state=6, dt=6, own=1, retries=3)
    kwargs = got.wait()[0].kwargs
    assert kwargs.pop("client_address") == only_address(made.server)
    assert kwargs.pop("game_state").n == 1
    assert 0 < kwargs.pop("dt") < 6
    assert kwargs == {"own": 1}


# --- hooks ------------------------------------------------------------------------------------------


def test_on_join_and_on_leave_run_in_the_game_loop_and_return_updates(net: Net) -> None:
    steps = Recorder(result={})
    threads: list[int] = []

    def on_join(client_address: tuple[str, int], game_state: GameState, dt: float) -> dict[str, Any]:
        threads.append(threading.get_native_id())
        assert game_state.players == {}
        return {"players": {client_address[1]: "here"}}

    def on_leave(client_address: tuple[str, int]) -> dict[str, Any]:
        return {"players": {client_address[1]: "gone"}}

    made = net.backend(
        GameState(players={}), lambda game_state, dt: steps(), on_join=on_join, on_leave=on_leave
    )
    client = net.client(made.server)
    _, port = only_address(made.server)
    eventually(lambda: shows(made.game_state_store.get_game_state(), players={port: "here"}))
    assert threads == [steps.wait()[0].thread]
    client.disconnect()
    eventually(lambda: shows(made.game_state_store.get_game_state(), players={port: "gone"}))


def test_on_reconnect_runs_for_a_client_that_comes_back(net: Net) -> None:
    seen: list[str] = []

    def note(name: str) -> Any:
        def hook(client_address: tuple[str, int]) -> None:
            seen.append(name)

        return hook

    hooks = {name: note(name) for name in ("on_join", "on_reconnect", "on_leave")}
    made = net.backend(**hooks)
    client = net.client(made.server)
    eventually(lambda: seen == ["on_join"])
    port = made.server.port
    made.shutdown()
    made.run_in_thread("localhost", port)
    eventually(lambda: seen == ["on_join", "on_reconnect"])
    client.disconnect()
    eventually(lambda: seen == ["on_join", "on_reconnect", "on_leave"])


def test_hooks_may_return_none_and_one_that_raises_ends_nothing(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    def on_join(client_address: tuple[str, int]) -> None:
        raise ZeroDivisionError("the hook's own")

    left = Recorder(result=None)
    made = net.backend(config=SHORT, on_join=on_join, on_leave=left)
    client = net.client(made.server)
    eventually(lambda: any("on_join" in record.getMessage() for record in caplog.records))
    assert is_up(client)
    client.disconnect()
    (call,) = left.wait()
    assert set(call.kwargs) == {"client_address", "game_state", "dt"}
