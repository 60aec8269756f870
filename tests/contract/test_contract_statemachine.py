"""The public contract, *GameStateMachine*."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from pygase_gevent import AlreadyRunningError, Event, GameState, GameStateMachine, GameStateStore, GameStatus

from .helpers import NativeThread, Recorder, eventually, shows

pytestmark = pytest.mark.crosses_threads


class Loop:
    """A machine whose game loop runs in a thread of its own."""

    def __init__(self, state: GameState | None, time_step: Callable[..., Any], interval: float) -> None:
        self.store = GameStateStore(state)
        self.machine = GameStateMachine(self.store)
        self.machine.time_step = time_step
        self.interval = interval

    def start(self) -> threading.Thread:
        return self.machine.run_game_loop_in_thread(self.interval)


@pytest.fixture
def make_loop() -> Iterator[Callable[..., Loop]]:
    made: list[Loop] = []

    def make(
        state: GameState | None = None,
        time_step: Callable[..., Any] = lambda game_state, dt: {},
        interval: float = 0.005,
    ) -> Loop:
        made.append(Loop(state, time_step, interval))
        return made[-1]

    yield make
    for loop in made:
        assert loop.machine.stop(5.0)


def test_subclass_and_implement_time_step() -> None:
    class Counting(GameStateMachine):
        def time_step(self, game_state: GameState, dt: float) -> dict[str, Any]:
            return {"n": game_state.n + 1}

    store = GameStateStore(GameState(n=0))
    machine = Counting(store)
    machine.run_game_loop_in_thread(0.005)
    eventually(lambda: store.get_game_state().n >= 3)
    assert machine.stop(5.0)


def test_or_assign_it(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(GameState(n=0), lambda game_state, dt: {"n": game_state.n + 1})
    loop.start()
    eventually(lambda: loop.store.get_game_state().n >= 3)


def test_game_time_is_the_seconds_the_game_has_run(make_loop: Callable[..., Loop]) -> None:
    times: list[float] = []

    def step(game_state: GameState, dt: float) -> dict[str, Any]:
        times.append(dt)
        return {}

    loop = make_loop(time_step=step)
    assert loop.machine.game_time == 0.0
    started = time.monotonic()
    loop.start()
    eventually(lambda: loop.machine.game_time > 0.1)
    assert loop.machine.stop(5.0)
    stopped = loop.machine.game_time
    assert stopped <= time.monotonic() - started + 2 * loop.interval
    assert stopped == pytest.approx(sum(times), abs=2 * loop.interval)
    gevent.sleep(0.05)
    assert loop.machine.game_time == stopped


def test_handlers_are_called_inside_the_game_loop(make_loop: Callable[..., Loop]) -> None:
    steps = Recorder(result={})
    loop = make_loop(time_step=steps)
    loop.machine.register_event_handler("PING", got := Recorder())
    loop.start()
    loop.machine._push_event(Event("PING", 1, key="a", client_address=("127.0.0.1", 5)))
    (call,) = got.wait()
    assert call.thread == steps.wait()[0].thread
    assert call.args == (1,)
    assert call.kwargs.pop("dt") > 0
    assert isinstance(call.kwargs.pop("game_state"), GameState)
    assert call.kwargs == {"key": "a", "client_address": ("127.0.0.1", 5)}


def test_a_handler_gets_only_what_it_takes(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(GameState(n=1))
    loop.machine.register_event_handler("PLAIN", lambda number: {"plain": number})
    loop.machine.register_event_handler("STATE", lambda game_state: {"state": game_state.n + 1})
    loop.machine.register_event_handler("DT", lambda dt: {"positive": dt > 0})
    loop.machine.register_event_handler("WHO", lambda *, client_address: {"who": client_address[1]})
    loop.start()
    for event in (Event("PLAIN", 4), Event("STATE"), Event("DT"), Event("WHO", client_address=("h", 7))):
        loop.machine._push_event(event)
    eventually(lambda: shows(loop.store.get_game_state(), plain=4, state=2, positive=True, who=7))


def test_a_handler_may_return_none(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(GameState(n=1))
    loop.machine.register_event_handler("NOTHING", got := Recorder(result=None))
    loop.machine.register_event_handler("SET", lambda n: {"n": n})
    loop.start()
    loop.machine._push_event(Event("NOTHING"))
    loop.machine._push_event(Event("SET", 2))
    got.wait()
    eventually(lambda: loop.store.get_game_state().n == 2)


def test_updates_of_several_handlers_in_one_step_merge_deeply(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(GameState(players={"a": {"x": 0}, "b": {"x": 0}}))
    loop.machine.register_event_handler("MOVE", lambda who, key: {"players": {who: {key: 1}}})
    for who, key in (("a", "x"), ("b", "y"), ("a", "z")):
        loop.machine._push_event(Event("MOVE", who, key))
    loop.start()
    eventually(
        lambda: shows(loop.store.get_game_state(), players={"a": {"x": 1, "z": 1}, "b": {"x": 0, "y": 1}})
    )


def test_each_handler_sees_the_state_as_those_before_it_left_it(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(GameState(n=0), lambda game_state, dt: {"from_step": 1}, interval=0.01)
    seen: list[int] = []

    def add(game_state: GameState) -> dict[str, Any]:
        seen.append(game_state.n)
        return {"n": game_state.n + 1}

    loop.machine.register_event_handler("ADD", add)
    for _ in range(20):
        loop.machine._push_event(Event("ADD"))
    loop.start()
    eventually(lambda: loop.store.get_game_state().n == 20)
    assert seen == list(range(20))


def test_a_time_step_that_raises_is_logged_counted_and_skipped_and_the_loop_goes_on(
    make_loop: Callable[..., Loop], caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def step(game_state: GameState, dt: float) -> dict[str, Any]:
        calls.append(1)
        if len(calls) < 3:
            raise ZeroDivisionError("the game's own")
        return {"n": len(calls)}

    loop = make_loop(time_step=step)
    loop.start()
    eventually(lambda: hasattr(loop.store.get_game_state(), "n"))
    assert loop.machine.time_step_errors == 2
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors and errors[0].name.startswith("pygase_gevent")
    assert "time_step" in errors[0].getMessage() or "time step" in errors[0].getMessage()


def test_the_status_is_active_while_running_and_paused_after_stop(make_loop: Callable[..., Loop]) -> None:
    statuses: list[GameStatus] = []

    def step(game_state: GameState, dt: float) -> dict[str, Any]:
        statuses.append(game_state.game_status)
        return {}

    loop = make_loop(time_step=step)
    assert loop.store.get_game_state().is_paused()
    loop.start()
    eventually(lambda: len(statuses) >= 3)
    assert loop.store.get_game_state().game_status == GameStatus.ACTIVE
    assert loop.machine.stop(5.0)
    assert loop.store.get_game_state().is_paused()
    assert set(statuses) == {GameStatus.ACTIVE}


def test_running_again_resumes(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(GameState(n=0), lambda game_state, dt: {"n": game_state.n + 1})
    loop.start()
    eventually(lambda: loop.store.get_game_state().n >= 3)
    assert loop.machine.stop(5.0)
    reached, game_time = loop.store.get_game_state().n, loop.machine.game_time
    loop.start()
    eventually(lambda: loop.store.get_game_state().n >= reached + 3)
    assert loop.machine.game_time > game_time
    assert loop.store.get_game_state().game_status == GameStatus.ACTIVE


def test_run_game_loop_blocks_until_stopped(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(GameState(n=0), lambda game_state, dt: {"n": game_state.n + 1})
    thread = NativeThread(loop.machine.run_game_loop, 0.005)
    eventually(lambda: loop.store.get_game_state().n >= 3)
    assert not thread.is_done
    assert loop.machine.stop(5.0)
    thread.wait()


def test_run_game_loop_may_be_spawned_as_a_greenlet(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(GameState(n=0), lambda game_state, dt: {"n": game_state.n + 1})
    running = gevent.spawn(loop.machine.run_game_loop, 0.005)
    eventually(lambda: loop.store.get_game_state().n >= 3, sleep=gevent.sleep)
    assert loop.machine.stop(5.0)
    running.join(5.0)
    assert running.successful()


def test_stop_of_a_machine_that_does_not_run_is_true_at_once() -> None:
    assert GameStateMachine(GameStateStore()).stop() is True


def test_stop_returns_false_when_the_loop_did_not_end_in_time(make_loop: Callable[..., Loop]) -> None:
    release: list[bool] = []
    entered = Recorder()

    def step(game_state: GameState, dt: float) -> dict[str, Any]:
        entered()
        while not release:
            gevent.sleep(0.001)
        return {}

    loop = make_loop(time_step=step)
    loop.start()
    entered.wait()
    try:
        assert loop.machine.stop(0.02) is False
    finally:
        release.append(True)


def test_running_a_running_machine_is_an_error(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop()
    loop.start()
    with pytest.raises(AlreadyRunningError):
        loop.machine.run_game_loop()
    with pytest.raises(AlreadyRunningError):
        loop.machine.run_game_loop_in_thread()


def test_a_long_stall_is_caught_up_by_one_step_with_a_large_dt(make_loop: Callable[..., Loop]) -> None:
    interval, stall, after = 0.01, 0.3, 20
    steps: list[tuple[float, float]] = []

    def step(game_state: GameState, dt: float) -> dict[str, Any]:
        steps.append((time.monotonic(), dt))
        if len(steps) == 3:
            until = time.monotonic() + stall
            while time.monotonic() < until:
                pass
        return {}

    loop = make_loop(time_step=step, interval=interval)
    loop.start()
    eventually(lambda: len(steps) >= 4 + after)
    assert steps[3][1] >= stall
    # The steps after it keep the schedule, all but the first: 20 of them take 19 intervals at least.
    elapsed = steps[3 + after][0] - steps[3][0]
    assert elapsed >= (after - 2) * interval


def test_dt_is_the_measured_time(make_loop: Callable[..., Loop]) -> None:
    steps: list[tuple[float, float]] = []

    def step(game_state: GameState, dt: float) -> dict[str, Any]:
        steps.append((time.monotonic(), dt))
        return {}

    loop = make_loop(time_step=step, interval=0.01)
    loop.start()
    eventually(lambda: len(steps) >= 60)
    measured = steps[59][0] - steps[0][0]
    assert sum(dt for _, dt in steps[1:60]) == pytest.approx(measured, abs=0.2)


def test_a_machines_loop_runs_in_a_native_thread_of_its_own(make_loop: Callable[..., Loop]) -> None:
    steps = Recorder(result={})
    loop = make_loop(time_step=steps)
    thread = loop.start()
    assert isinstance(thread, threading.Thread)
    assert steps.wait()[0].thread != threading.get_native_id()
    assert loop.machine.stop(5.0)
    thread.join(5.0)
    assert not thread.is_alive()
