"""PyGaSe's state machine: time steps and handlers on a state that they may change in place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from pygase_gevent import gamestate, statemachine
from pygase_gevent.config import Config
from pygase_gevent.errors import WaitTimeoutError
from pygase_gevent.event import Event as LibraryEvent
from pygase_gevent.event import Handler
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.legacy.coroutines import awaitable_method, complete, completed, in_own_thread, pause
from pygase_gevent.legacy.event import Event, UniversalEventHandler
from pygase_gevent.legacy.gamestate import GameState, GameStateUpdate, GameStatus
from pygase_gevent.legacy.store import GameStateStore
from pygase_gevent.legacy.values import from_wire, to_wire

_CONFIG = Config()

_STEP: ContextVar[object] = ContextVar("pygase_step", default=None)
"""The step that the calling code is part of, also where it is a coroutine that another thread runs."""

_SHORTEST_STEP_S = 1e-6
"""A clock that stands still gives no time step."""

_LOOKS = 100
"""How often an awaited `stop` looks within its timeout whether the loop has ended."""


class GameStateMachine:
    """Runs the game: subclass it and implement `time_step`, or assign a function to that name.

    `time_step` and handlers may be coroutine functions. The methods marked *awaitable* block when plain
    code calls them; a coroutine awaits them.

    Args:
        game_state_store: holds the state.

    Attributes:
        underlying: this library's state machine, which does the work.

    Raises:
        TypeError: no `GameStateStore` of PyGaSe's.
    """

    def __init__(self, game_state_store: GameStateStore) -> None:
        self._game_state_store = game_state_store
        self._universal_event_handler = UniversalEventHandler()
        self._coroutine_ended: Outcome[None] | None = None  # of the game loop that runs as a coroutine
        self._is_stop_requested = False
        self.underlying = _SteppingMachine(store_below(game_state_store), game_state_store)
        self.underlying.time_step = self._run_time_step  # type: ignore[method-assign]
        self._universal_event_handler.tell(self)

    @property
    def game_time(self) -> float:
        """Seconds that the game has run."""
        return self.underlying.game_time

    @game_time.setter
    def game_time(self, value: float) -> None:
        self.underlying.game_time = value

    def time_step(self, game_state: GameState, dt: float) -> dict[str, Any]:
        """Calculate how the state changes in `dt` seconds. To be implemented."""
        raise NotImplementedError("time_step is not implemented: subclass GameStateMachine, or assign it")

    def register_event_handler(self, event_type: str, event_handler_function: Callable[..., Any]) -> None:
        """Let a function handle events of a type, in the game loop.

        It is called with the event's arguments and, as far as it takes them, `game_state`, `dt` and
        `client_address`, and returns changes as `time_step` does, or `None`.

        Raises:
            TypeError: not callable.
        """
        self._universal_event_handler.register_event_handler(event_type, event_handler_function)

    @awaitable_method(coroutine="_run_as_coroutine")
    def run_game_loop(self, interval: float = 0.02) -> None:
        """Run the game until it is stopped. Awaitable: its steps are made between those of other coroutines.

        Args:
            interval: seconds between steps.
        """
        self.underlying.run_game_loop(interval)

    def run_game_loop_in_thread(self, interval: float = 0.02) -> threading.Thread:
        """Run the game in a thread, which is no daemon."""
        return self.underlying.run_game_loop_in_thread(interval)

    @awaitable_method(coroutine="_stop_as_coroutine")
    def stop(self, timeout: float = 1.0) -> bool:
        """Pause the game. Awaitable. Within a step it only sets the end going.

        Args:
            timeout: seconds to wait for the loop to end.

        Returns:
            Whether it has ended.
        """
        ended = self._coroutine_ended
        if ended is None or self.underlying.is_in_step():
            return self._request_stop(timeout)
        self._is_stop_requested = True
        with suppress(WaitTimeoutError):
            ended.wait(timeout)
        return ended.is_done

    async def _run_as_coroutine(self, interval: float = 0.02) -> None:
        self._is_stop_requested = False
        ended = self._coroutine_ended = Outcome()
        self._set_status("Active")
        state = self._game_state_store.get_game_state()
        last, dt = time.monotonic(), interval
        try:
            while not self._is_stop_requested and not state.is_paused():
                self.underlying.step(dt)
                await pause(0)
                while (rest_s := last + interval - time.monotonic()) > 0 and not self._is_stop_requested:
                    await pause(min(rest_s, _CONFIG.stop_check_s))
                now = time.monotonic()
                dt, last = max(now - last, _SHORTEST_STEP_S), now
        finally:
            self._coroutine_ended = None
            self._set_status("Paused")
            ended.set_result(None)

    async def _stop_as_coroutine(self, timeout: float = 1.0) -> bool:
        ended = self._coroutine_ended
        if self.underlying.is_in_step():
            return self._request_stop(timeout)
        if ended is None:
            return await in_own_thread(lambda: self.underlying.stop(timeout), lambda: None)
        self._is_stop_requested = True
        for look in range(_LOOKS):
            if ended.is_done:
                break
            await pause(timeout / _LOOKS if look else 0)
        return ended.is_done

    def _request_stop(self, timeout: float) -> bool:
        self._is_stop_requested = True
        return self.underlying.stop(0 if self.underlying.is_in_step() else timeout)

    def _set_status(self, status: str) -> None:
        store = self._game_state_store
        state, value = store.get_game_state(), GameStatus.get(status)
        if state.game_status != value:
            store.push_update(GameStateUpdate(state.time_order + 1, game_status=value))

    @awaitable_method()
    def _push_event(self, event: Event) -> None:
        """Queue an event for the next step: what a server does with its `event_wire`."""
        self.underlying._push_event(
            LibraryEvent(event.type, *to_wire(event.handler_args), **to_wire(event.handler_kwargs))
        )

    def handle_events_of(self, event_type: str, function: Callable[..., Any]) -> None:
        """A handler was registered."""
        handler = Handler(completed(function))

        def handle(*args: Any, game_state: gamestate.GameState, dt: float, **kwargs: Any) -> dict[str, Any]:
            given = {"game_state": self._game_state_store.get_game_state(), "dt": dt}
            if "client_address" in kwargs:
                given["client_address"] = kwargs.pop("client_address")
            return self._changed(game_state, handler(from_wire(list(args)), from_wire(kwargs), given))

        self.underlying.register_event_handler(event_type, handle)

    def _run_time_step(self, game_state: gamestate.GameState, dt: float) -> dict[str, Any]:
        state = self._game_state_store.get_game_state()
        changes = complete(self.time_step(state, dt))
        return self._changed(game_state, {} if changes is None else changes)

    def _changed(self, before: gamestate.GameState, changes: Any) -> dict[str, Any]:
        """Change the state as a function of the program returned, and say how it differs from before."""
        store = self._game_state_store
        if changes is not None:
            if not isinstance(changes, dict):
                raise TypeError(f"a dict of changed attributes is needed, not {type(changes).__name__}")
            store.change(changes)
        return store.changes_since(before)


class _SteppingMachine(statemachine.GameStateMachine):
    """Tells PyGaSe's store when a step begins and ends."""

    def __init__(self, store: gamestate.GameStateStore, owner: GameStateStore) -> None:
        super().__init__(store)
        self._owner = owner
        self._step_at_work: object = None

    def is_in_step(self) -> bool:
        """Whether who calls is part of the step that is being made, and would wait for itself."""
        step = self._step_at_work
        return step is not None and _STEP.get() is step

    def _step(self, *arguments: Any) -> None:
        self._step_at_work = object()
        before = _STEP.set(self._step_at_work)
        self._owner.begin_step()
        try:
            super()._step(*arguments)
        finally:
            self._step_at_work = None
            _STEP.reset(before)
            self._owner.end_step()


def store_below(game_state_store: object) -> gamestate.GameStateStore:
    """This library's store below one of PyGaSe's. Raises `TypeError`."""
    if not isinstance(game_state_store, GameStateStore):
        raise TypeError(f"a GameStateStore is needed, not {type(game_state_store).__name__}")
    return game_state_store.underlying
