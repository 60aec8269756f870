"""The stand-in where threads meet: updates amid a step, held events, loops that stop themselves."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import pytest
from native import native_sleep, run_natively

from pygase_gevent.hub.signal import Outcome
from pygase_gevent.legacy import GameState, GameStateMachine, GameStateStore, store
from pygase_gevent.legacy.gamestate import GameStateUpdate, GameStatus
from tests.conftest import eventually

LIMIT_S = 30.0


def test_events_that_one_step_cannot_hold_do_not_overtake(monkeypatch) -> None:
    monkeypatch.setattr(store, "_MAX_HELD", 3)
    held, left = GameStateStore(), list[int]()
    held.begin_step()
    for number in range(8):
        held.after_step(lambda number=number: left.append(number))
    assert left == list(range(len(left)))
    held.take_step({}, lambda: None)
    assert left == list(range(8))


def push_in_thread(held: GameStateStore, update: GameStateUpdate) -> None:
    thread = threading.Thread(target=held.push_update, args=(update,))
    thread.start()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


@pytest.mark.crosses_threads
def test_an_update_from_another_thread_waits_for_the_step() -> None:
    held = GameStateStore(GameState(objects={0: 0}))
    machine = GameStateMachine(held)
    seen: list[object] = []

    def time_step(game_state, dt):
        game_state.objects[1] = 1
        push_in_thread(held, GameStateUpdate(game_state.time_order + 1, note="x"))
        seen.append(held.underlying.get_game_state().to_dict())
        game_state.objects[2] = 2
        if len(seen) == 2:
            raise ValueError("the step fails, the update stays")
        return {}

    machine.time_step = time_step  # type: ignore[method-assign]
    before = held.underlying.get_game_state().to_dict()
    machine.underlying.step(0.1)
    assert seen[0] == before  # nothing of a step that is being made
    after = held.underlying.get_game_state()
    assert (after.objects, after.note) == ({0: 0, 1: 1, 2: 2}, "x")
    held.get_game_state().note = ""
    machine.underlying.step(0.1)
    assert held.underlying.get_game_state().note == "x"


@pytest.mark.crosses_threads
def test_whoever_compares_does_not_undo_what_the_loop_pushes() -> None:
    held = GameStateStore()
    machine = GameStateMachine(held)
    machine.time_step = lambda game_state, dt: {"steps": getattr(game_state, "steps", 0) + 1}  # type: ignore[method-assign]
    comparing: list[Outcome[object]] = []

    def sync_in_thread() -> None:  # the loop has pushed its status, and is about to tell the store
        if not comparing:
            comparing.append(run_natively(held.sync))
            native_sleep(0.2)

    held.underlying.subscribe(sync_in_thread)
    loop = machine.run_game_loop_in_thread(0.001)
    try:
        eventually(lambda: getattr(held.get_game_state(), "steps", 0) >= 3)
    finally:
        machine.stop()
        loop.join(LIMIT_S)
        comparing[0].wait(LIMIT_S)


def test_nor_does_who_compares_because_of_that_push() -> None:
    held = GameStateStore()
    machine = GameStateMachine(held)
    statuses: list[int] = []
    machine.time_step = lambda game_state, dt: statuses.append(game_state.game_status)  # type: ignore[method-assign]
    held.underlying.subscribe(held.sync)
    loop = machine.run_game_loop_in_thread(0.001)
    try:
        eventually(lambda: len(statuses) >= 3)
    finally:
        machine.stop()
        loop.join(LIMIT_S)
    assert set(statuses) == {GameStatus.get("Active")}
    assert held.get_game_state().game_status == GameStatus.get("Paused")


def test_the_child_of_a_fork_waits_for_no_step() -> None:
    held = GameStateStore(GameState())
    held.begin_step()
    held.underlying.after_fork()
    push_in_thread(held, GameStateUpdate(1, note="x"))
    assert held.underlying.get_game_state().note == "x"


def test_a_state_that_other_threads_change_can_be_compared() -> None:
    state = GameState(objects={number: {"x": number} for number in range(500)})
    held, ended = GameStateStore(state), threading.Event()

    def change() -> None:
        for number in range(10**6):
            state.objects[500 + number % 50] = {"x": 1}
            state.objects.pop(500 + (number + 25) % 50, None)
            if ended.is_set():
                return

    thread, interval = threading.Thread(target=change), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for number in range(30):
            held.push_update(GameStateUpdate(number + 1, note=number))
            assert held.underlying.get_game_state().note == number
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        thread.join(LIMIT_S)


def test_a_failed_step_lets_its_events_go() -> None:
    held, left = GameStateStore(), list[str]()
    machine = GameStateMachine(held)

    def time_step(game_state, dt):
        held.after_step(lambda: left.append("event"))
        raise ValueError("as it may happen")

    machine.time_step = time_step  # type: ignore[method-assign]
    machine.underlying.step(0.1)
    assert left == ["event"]


@pytest.mark.parametrize("is_coroutine", [False, True])
@pytest.mark.parametrize("is_awaited", [False, True])
def test_a_loop_that_stops_itself_does_not_wait_for_itself(is_coroutine: bool, is_awaited: bool) -> None:
    machine = GameStateMachine(GameStateStore())
    results: list[object] = []

    def time_step(game_state, dt):
        start = time.monotonic()
        results.append((machine.stop(LIMIT_S), time.monotonic() - start < LIMIT_S / 2))

    async def time_step_as_coroutine(game_state, dt):
        start = time.monotonic()
        results.append((await machine.stop(LIMIT_S), time.monotonic() - start < LIMIT_S / 2))

    async def main() -> None:
        await machine.run_game_loop(0.001)

    machine.time_step = time_step_as_coroutine if is_coroutine else time_step  # type: ignore[method-assign]
    if is_awaited:
        asyncio.run(main())
    else:
        machine.run_game_loop(0.001)
    assert results == [(False, True)]
    assert machine.stop() is True


def test_who_is_outside_waits_for_the_end() -> None:
    machine = GameStateMachine(GameStateStore())
    stopped: list[bool] = []
    is_in_step = threading.Event()

    def time_step(game_state, dt):
        is_in_step.set()
        eventually(lambda: machine._is_stop_requested, LIMIT_S)

    async def main() -> None:
        await machine.run_game_loop(0.001)

    def stop() -> None:
        assert is_in_step.wait(LIMIT_S)
        stopped.append(machine.stop(LIMIT_S))

    machine.time_step = time_step  # type: ignore[method-assign]
    thread = threading.Thread(target=stop)
    thread.start()
    asyncio.run(main())
    thread.join(LIMIT_S)
    assert stopped == [True]
