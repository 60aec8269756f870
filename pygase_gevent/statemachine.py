"""The game loop: takes the state through time, step by step, and handles the events that change it."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from pygase_gevent.arguments import check_interval
from pygase_gevent.changes import combine_all
from pygase_gevent.config import Config
from pygase_gevent.errors import AlreadyRunningError, ArgumentTypeError, PygaseError
from pygase_gevent.event import Event
from pygase_gevent.gamestate import GameState, GameStateStore, GameStateUpdate, GameStatus
from pygase_gevent.handling import HandlerLog
from pygase_gevent.hub.environment import Environment, current_environment
from pygase_gevent.hub.process import forget_fork, on_fork
from pygase_gevent.hub.signal import Signal, hub_of_this_thread
from pygase_gevent.hub.watchdog import Watch, Watchdog
from pygase_gevent.locks import allocate_lock
from pygase_gevent.loop_events import LoopEvents, Part, StateInStep, checked_changes
from pygase_gevent.wire_queue import WireItem

logger = logging.getLogger(__name__)


class GameStateMachine:
    """Runs the simulation that takes a game state through time.

    Subclass it and implement `time_step`, or assign a function to that name. An exception in `time_step`
    or a handler is logged and counted; what it would have changed is skipped, and the loop goes on.

    Args:
        game_state_store: holds the state.
        config: for `max_wire_events`, `max_wire_events_per_client`, `wire_share` and the limits of data.
        environment: whose clock, sleep and threads to use; the calling thread's if not given.

    Attributes:
        game_time (float): seconds that the game has run.
        time_step_errors (int): steps whose `time_step` raised or returned no usable dict.
        handler_errors (Counter): the same of event handlers, by event type.
        blocked (Counter): how often `time_step`, or a handler, held up whatever else runs in its hub for
            longer than `Config.blocked_hub_s`.
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
        self.blocked: Counter[str] = Counter()
        self._store = game_state_store
        self._config = config or Config()
        self._environment = environment
        self._lock = allocate_lock()
        self._log = HandlerLog(self._config)
        self._events = LoopEvents(self._config, self._log)
        self.handler_errors: Counter[str] = self._events.handler_errors
        self.unhandled: Counter[str] = self._events.unhandled
        self._run: _Run | None = None
        self._ended = Signal()

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
        self._events.handlers.register_event_handler(event_type, function)

    def run_game_loop(self, interval: float = 0.02) -> None:
        """Run the game until it is stopped; `game_status` is `ACTIVE` meanwhile.

        Steps are due at whole intervals after the start. One that comes late does not delay the others,
        and however many were missed, one with a large `dt` makes up for them. The events that wait when a
        step begins are handled in it, the clients taking turns; if that takes long, after one of each
        client the rest is left to the next step (`Config.wire_share`).

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
            forget_fork(self._after_fork)
            self._run = None
            raise

    def step(self, dt: float) -> None:
        """Make one step, for a program that has a loop of its own; `game_status` is left as it is.

        Args:
            dt: seconds since the last step.

        Raises:
            AlreadyRunningError: the game loop runs, or another step is being made.
            ArgumentError: `dt` is not a positive number.
        """
        run = self._begin_run(dt)
        run.greenlet = getcurrent()
        try:
            self.game_time += dt
            self._step(run, dt, self._environment or current_environment())
        finally:
            forget_fork(self._after_fork)
            self._run = None
            self._ended.notify()

    def stop(self, timeout: float = 1.0) -> bool:
        """Pause the game. Running the loop again resumes it.

        Called by `time_step` or a handler it only sets the end going: the step is completed.

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
        return self._ended.wait_for(lambda: self._run is not run, timeout)

    def _push_event(self, event: Event) -> bool:
        """Queue an event for the next step; it is handled if a handler for its type is registered.

        The client's address stands among the event's keyword arguments, where the server put it.

        Returns:
            Whether there was room; if not, it may be pushed again later.
        """
        if not self._events.wants(event.type):
            return True
        return self._events.push(event, event.handler_kwargs.get("client_address"))

    def _direct_events(self) -> LoopEvents | None:
        """Where a server may push events past `_push_event`; `None` where that is somebody else's."""
        own = type(self)
        is_own = own._push_event is GameStateMachine._push_event
        is_own = is_own and own._wants_event is GameStateMachine._wants_event
        return self._events if is_own and not {"_push_event", "_wants_event"} & vars(self).keys() else None

    def _wants_event(self, event_type: str) -> bool:
        """Whether a handler for this type is registered; counted if not. It spares decoding the event."""
        return self._events.wants(event_type)

    def _handles(self, event_type: str) -> bool:
        """Whether a handler for this type is registered."""
        return self._events.handlers.has_event_type(event_type)

    def _push_call(self, function: Callable[..., Any], **kwargs: Any) -> bool:
        """Queue a call that is made in turn with the events, and whose result counts as a handler's.

        Args:
            function: called with as many of `kwargs`, `game_state` and `dt` as it takes.
            **kwargs: for the function.

        Returns:
            Whether there was room; there is twice as much as for events.
        """
        return self._events.push_call(function, kwargs)

    def _begin_run(self, interval: float) -> _Run:
        run = _Run(check_interval(interval))
        with self._lock:
            is_free = self._run is None
            if is_free:
                self._run = run
        if not is_free:
            raise AlreadyRunningError("the game loop runs already")
        on_fork(self._after_fork)
        return run

    def _run_loop(self, run: _Run) -> None:
        environment = self._environment or current_environment()
        run.greenlet = getcurrent()
        if hub_of_this_thread() is not None:  # else nobody can be held up
            run.watchdog = environment.watchdog(self._config)
            run.watchdog.blocked = self.blocked
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
                self._step(run, dt, environment)
                rest_s = (environment.now() - now) * self._config.loop_rest_share
                run.rest_s = min(rest_s, self._config.loop_rest_s)
                missed = (now - due) // run.interval
                due += (1 + missed) * run.interval
        finally:
            try:
                if run.watchdog is not None:
                    run.watchdog.close()
                self._set_status(GameStatus.PAUSED)
            finally:
                forget_fork(self._after_fork)
                self._run = None
                self._ended.notify()
                logger.info("the game loop has ended")

    def _wait_until(self, due: float, run: _Run, environment: Environment) -> bool:
        """Sleep, at least for a turn of the others; return whether the next step is to be made.

        After a long step the others get a share of its time, also when the next one is overdue: a message
        passes through several turns of the hub, and a game that is slow should not be deaf as well.
        """
        due = max(due, environment.now() + run.rest_s)
        sleep_s = due - environment.now()
        while not run.is_stop_requested:
            environment.sleep(min(max(sleep_s, 0.0), self._config.stop_check_s))
            sleep_s = due - environment.now()
            if sleep_s <= 0:
                return not run.is_stop_requested and not self._store.get_game_state().is_paused()
        return False

    def _step(self, run: _Run, dt: float, environment: Environment) -> None:
        game_state = self._store.get_game_state()
        with run.watch("time_step"):
            changes = self._changes_of_time_step(game_state, dt)
        seen = StateInStep(game_state)
        parts: list[Part] = []
        if changes is not None:
            parts.append((None, None, changes))
            seen.change(changes)
        until = environment.now() + run.interval * self._config.wire_share
        with run.watch("handlers of events") as watch:
            parts += self._events.handle(seen, dt, environment, until, watch)
        if parts:
            self._push_changes(parts)

    def _push_changes(self, parts: list[Part]) -> None:
        """Apply the changes of a step: at once, or if that cannot be, each part that can be."""
        total = parts[0][2] if len(parts) == 1 else combine_all([changes for _, _, changes in parts])
        try:
            self._store.push_update(GameStateUpdate.from_dict(0, total))
            return
        except PygaseError:
            if len(parts) == 1:
                self._count_failed(parts[0][0], parts[0][1])
                return
        for item, client, changes in parts:
            try:
                self._store.push_update(GameStateUpdate.from_dict(0, changes))
            except PygaseError:
                self._count_failed(item, client)

    def _count_failed(self, item: WireItem | None, client: object) -> None:
        """Count and log the error being handled."""
        if item is None:
            self.time_step_errors += 1
            self._log.raised("game loop", "time_step")
        else:
            self._events.count_failed(item, client)

    def _changes_of_time_step(self, game_state: GameState, dt: float) -> dict[str, Any] | None:
        try:
            return checked_changes(self.time_step(game_state, dt), "time_step", self._config)
        except (GreenletExit, KeyboardInterrupt):
            raise
        except BaseException:  # a gevent.Timeout or SystemExit of a time step is the time step's, too
            self._count_failed(None, None)
            return None

    def _after_fork(self) -> None:
        """In the child of a fork the loop does not go on; what it may have held is free again."""
        if self._run is not None:
            self._run.request_stop()
        self._run = None
        self._lock = allocate_lock()
        self._events.after_fork()
        self._ended.after_fork()
        self._store.after_fork()

    def _set_status(self, status: GameStatus) -> None:
        if self._store.get_game_state().game_status != status:
            self._store.push_update(GameStateUpdate(0, game_status=status))


class _Run:
    """One run of the loop, from start to end."""

    __slots__ = ("greenlet", "interval", "is_stop_requested", "rest_s", "watchdog")

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.is_stop_requested = False
        self.rest_s = 0.0
        self.greenlet: greenlet | None = None
        self.watchdog: Watchdog | None = None

    def request_stop(self) -> None:
        self.is_stop_requested = True

    def watch(self, name: str) -> AbstractContextManager[Watch | None]:
        return nullcontext() if self.watchdog is None else self.watchdog.watch(name)
