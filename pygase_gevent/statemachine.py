"""The game loop: takes the state through time, step by step, and handles the events that change it."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from greenlet import getcurrent, greenlet

from pygase_gevent.changes import apply_changes, combine_changes
from pygase_gevent.config import Config
from pygase_gevent.errors import AlreadyRunningError, ArgumentError, ArgumentTypeError, PygaseError
from pygase_gevent.event import Event, Handler, UniversalEventHandler
from pygase_gevent.gamestate import GameState, GameStateStore, GameStateUpdate, GameStatus
from pygase_gevent.hub.environment import Environment, current_environment
from pygase_gevent.hub.signal import Signal, hub_of_this_thread
from pygase_gevent.hub.watchdog import Watchdog
from pygase_gevent.locks import allocate_lock

logger = logging.getLogger(__name__)


class GameStateMachine:
    """Runs the simulation that takes a game state through time.

    Subclass it and implement `time_step`, or assign a function to that name. An exception in `time_step`
    or a handler is logged and counted; what it would have changed is skipped, and the loop goes on.

    Args:
        game_state_store: holds the state.
        config: for `max_wire_events` and the limits of data.
        environment: whose clock, sleep and threads to use; the calling thread's if not given.

    Attributes:
        game_time (float): seconds that the game has run.
        time_step_errors (int): steps whose `time_step` raised or returned no usable dict.
        handler_errors (Counter): the same of event handlers, by event type.
        unhandled (Counter): events that no handler here is for (a server may have one), by type.

    Example:
        >>> class Clock(GameStateMachine):
        ...     def time_step(self, game_state, dt):
        ...         return {"seconds": game_state.seconds + dt}
        >>> machine = Clock(GameStateStore(GameState(seconds=0.0)))
        >>> thread = machine.run_game_loop_in_thread(interval=0.01)
        >>> machine.stop()
        True
    """

    def __init__(
        self,
        game_state_store: GameStateStore,
        *,
        config: Config | None = None,
        environment: Environment | None = None,
    ) -> None:
        if not isinstance(game_state_store, GameStateStore):
            raise ArgumentTypeError(f"a GameStateStore is needed, not {type(game_state_store).__name__}")
        self.game_time = 0.0
        self.time_step_errors = 0
        self.handler_errors: Counter[str] = Counter()
        self.unhandled: Counter[str] = Counter()
        self._store = game_state_store
        self._config = config or Config()
        self._environment = environment
        self._event_handler = UniversalEventHandler()
        self._lock = allocate_lock()
        self._queue: deque[_Item] = deque()
        self._run: _Run | None = None
        self._changed = Signal()  # the loop has ended, or there is room in the queue

    def time_step(self, game_state: GameState, dt: float) -> dict[str, Any]:
        """Calculate how the state changes in a time step. To be implemented.

        Args:
            game_state: the state before the step, for reading.
            dt: seconds since the last step, as measured.

        Returns:
            The changes by attribute name, as for a `GameStateUpdate`.
        """
        raise NotImplementedError("time_step is not implemented: subclass GameStateMachine, or assign it")

    def register_event_handler(self, event_type: str, function: Callable[..., Any]) -> None:
        """Let `function` handle events of `event_type`, inside the game loop.

        It is called with the event's arguments and, as far as it takes them, `game_state` (as `time_step`
        and the handlers before it left it), `dt` and `client_address`. It returns changes as
        `time_step` does, or `None`. Events come here from a server that was given this machine as
        `event_wire`.

        Raises:
            ArgumentTypeError: `event_type` is no `str`, or `function` is not callable or a
                coroutine function.
        """
        self._event_handler.register_event_handler(event_type, function)

    def run_game_loop(self, interval: float = 0.02) -> None:
        """Run the game until it is stopped; `game_status` is `ACTIVE` meanwhile.

        Steps are due at whole intervals after the start. One that comes late does not delay the others,
        and however many were missed, one with a large `dt` makes up for them. All events that
        wait when a step begins are handled in it.

        Args:
            interval: seconds between steps.

        Raises:
            AlreadyRunningError: the game loop runs already.
            ArgumentError: the interval is not a positive number.
        """
        self._run_loop(self._begin_run(interval))

    def run_game_loop_in_thread(self, interval: float = 0.02) -> threading.Thread:
        """Run the game in a native thread of its own; see `run_game_loop`.

        Returns:
            The thread. It is no daemon: the interpreter's exit waits for it, as with PyGaSe.

        Raises:
            AlreadyRunningError: the game loop runs already.
            ArgumentError: the interval is not a positive number.
        """
        run = self._begin_run(interval)
        environment = self._environment or current_environment()
        try:
            return environment.start_thread(
                lambda: self._run_loop(run),
                name="pygase_gevent game loop",
                daemon=False,
                stop=run.request_stop,
                config=self._config,
            )
        except BaseException:
            self._run = None
            raise

    def stop(self, timeout: float = 1.0) -> bool:
        """Pause the game. Running the loop again resumes it.

        Called inside the loop, by `time_step` or a handler, it only sets the end going: the step is
        completed.

        Args:
            timeout: seconds to wait for the loop to end.

        Returns:
            Whether the loop has ended.
        """
        run = self._run
        if run is None:
            self._set_status(GameStatus.PAUSED)
            return True
        run.request_stop()
        if run.greenlet is getcurrent():
            return False
        return self._changed.wait_for(lambda: self._run is not run, timeout)

    def _push_event(self, event: Event) -> bool:
        """Queue an event for the next step; it is handled if a handler for its type is registered.

        The client's address stands among the event's keyword arguments, where the server put it.

        Returns:
            Whether there was room; if not, see `_wait_for_room`.
        """
        if not self._event_handler.has_event_type(event.type):
            self._count_unhandled(event.type)
            return True
        item = _Item(event.type, event.handler_kwargs.get("client_address"), event)
        return self._push(item, self._config.max_wire_events)

    def _push_call(self, function: Callable[..., Any], **kwargs: Any) -> bool:
        """Queue a call that is made in turn with the events, and whose result counts as a handler's.

        Args:
            function: called with as many of `kwargs`, `game_state` and `dt` as it takes.
            **kwargs: for the function.

        Returns:
            Whether there was room; there is twice as much as for events.
        """
        handler = function if isinstance(function, Handler) else Handler(function)
        name = getattr(handler.function, "__qualname__", repr(handler.function))
        item = _Item(name, kwargs.get("client_address"), None, handler, kwargs)
        return self._push(item, 2 * self._config.max_wire_events)

    def _wait_for_room(self, timeout: float | None = None) -> bool:
        """Wait until `_push_event` has room; from any thread or greenlet."""
        return self._changed.wait_for(lambda: len(self._queue) < self._config.max_wire_events, timeout)

    def _push(self, item: _Item, limit: int) -> bool:
        with self._lock:
            if len(self._queue) >= limit:
                return False
            self._queue.append(item)
        return True

    def _count_unhandled(self, event_type: str) -> None:
        if event_type not in self.unhandled:
            if len(self.unhandled) >= self._config.max_streams:
                return
            logger.debug("no handler in the game loop for events of type %r", event_type)
        self.unhandled[event_type] += 1

    def _begin_run(self, interval: float) -> _Run:
        if isinstance(interval, bool) or not isinstance(interval, (int, float)):
            raise ArgumentTypeError(f"interval is a number of seconds, not {type(interval).__name__}")
        if not 0 < interval < math.inf:
            raise ArgumentError(f"interval must be a positive number of seconds, not {interval!r}")
        run = _Run(float(interval))
        with self._lock:
            is_free = self._run is None
            if is_free:
                self._run = run
        if not is_free:
            raise AlreadyRunningError("the game loop runs already")
        return run

    def _run_loop(self, run: _Run) -> None:
        environment = self._environment or current_environment()
        run.greenlet = getcurrent()
        if hub_of_this_thread() is not None:  # else nobody can be held up
            run.watchdog = environment.watchdog(self._config)
        try:
            if not run.is_stop_requested:
                self._set_status(GameStatus.ACTIVE)
            last = environment.now()
            due = last + run.interval
            logger.info("the game loop starts, with an interval of %s s", run.interval)
            while self._wait_until(due, run, environment):
                now = environment.now()
                dt, last = now - last, now
                self.game_time += dt
                self._step(run, dt)
                missed = (now - due) // run.interval
                due += (1 + missed) * run.interval
        finally:
            try:
                if run.watchdog is not None:
                    run.watchdog.close()
                self._set_status(GameStatus.PAUSED)
            finally:
                self._run = None
                self._changed.notify()
                logger.info("the game loop has ended")

    def _wait_until(self, due: float, run: _Run, environment: Environment) -> bool:
        """Sleep, at least for a turn of the others; return whether the next step is to be made."""
        sleep_s = due - environment.now()
        while not run.is_stop_requested:
            environment.sleep(min(max(sleep_s, 0.0), self._config.stop_check_s))
            sleep_s = due - environment.now()
            if sleep_s <= 0:
                return not run.is_stop_requested and not self._store.get_game_state().is_paused()
        return False

    def _step(self, run: _Run, dt: float) -> None:
        game_state = self._store.get_game_state()
        with run.watch("time_step"):
            changes = self._changes_of_time_step(game_state, dt)
        has_stepped = changes is not None
        content = game_state.to_dict()
        total = changes or {}
        for _ in range(len(self._queue)):
            content = apply_changes(content, changes or {})
            view = GameState.from_dict(game_state.time_order, content)
            item = self._queue.popleft()
            with run.watch(str(item)):
                changes = self._changes_of_handler(item, view, dt)
            total = combine_changes(total, changes or {})
        self._changed.notify()
        if has_stepped or total:
            self._push_changes(total)

    def _push_changes(self, changes: dict[str, Any]) -> None:
        try:
            self._store.push_update(GameStateUpdate.from_dict(0, changes))
        except PygaseError:
            self.time_step_errors += 1
            logger.exception("the changes of a time step and its events could not be applied")

    def _changes_of_time_step(self, game_state: GameState, dt: float) -> dict[str, Any] | None:
        try:
            return self._checked(self.time_step(game_state, dt), "time_step")
        except Exception:
            self.time_step_errors += 1
            logger.exception("time_step failed; the step changes nothing")
            return None

    def _changes_of_handler(self, item: _Item, game_state: GameState, dt: float) -> dict[str, Any] | None:
        try:
            result = item.call(self._event_handler, game_state, dt)
            return None if result is None else self._checked(result, "the handler")
        except Exception:
            self.handler_errors[item.name] += 1
            logger.exception("%s from client %s failed; it changes nothing", item, item.client_address)
            return None

    def _checked(self, changes: object, source: str) -> dict[str, Any]:
        if not isinstance(changes, dict):
            raise ArgumentTypeError(
                f"{source} must return a dict of changed attributes, not {type(changes).__name__}"
            )
        return GameStateUpdate.copy_of(changes, self._config).to_dict()

    def _set_status(self, status: GameStatus) -> None:
        if self._store.get_game_state().game_status != status:
            self._store.push_update(GameStateUpdate(0, game_status=status))


class _Run:
    """One run of the loop, from start to end."""

    __slots__ = ("greenlet", "interval", "is_stop_requested", "watchdog")

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.is_stop_requested = False
        self.greenlet: greenlet | None = None
        self.watchdog: Watchdog | None = None

    def request_stop(self) -> None:
        self.is_stop_requested = True

    def watch(self, name: str) -> AbstractContextManager[None]:
        return nullcontext() if self.watchdog is None else self.watchdog.watch(name)


@dataclass(frozen=True, slots=True)
class _Item:
    """What waits for the next step: an event, or a call with the library's arguments only."""

    name: str
    client_address: object
    event: Event | None
    handler: Handler | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)

    def call(self, event_handler: UniversalEventHandler, game_state: GameState, dt: float) -> Any:
        if self.event is not None:
            return event_handler.handle(
                self.event, game_state=game_state, dt=dt, client_address=self.client_address
            )
        assert self.handler is not None
        return self.handler([], {}, {**self.kwargs, "game_state": game_state, "dt": dt})

    def __str__(self) -> str:
        return f"handler of event {self.name}" if self.event is not None else f"hook {self.name}"
