"""The events that wait for the game loop, and how a step handles them: what each of them passes through."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit

from pygase_gevent.changes import apply_changes
from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentTypeError
from pygase_gevent.event import Event, Handler, UniversalEventHandler
from pygase_gevent.gamestate import GameState, copy_changes
from pygase_gevent.handling import HandlerLog
from pygase_gevent.hub.environment import Environment
from pygase_gevent.hub.watchdog import Watch
from pygase_gevent.wire_queue import WireCall, WireItem, WireLine, WireQueue

logger = logging.getLogger("pygase_gevent.statemachine")

Part = tuple[WireItem | None, object, dict[str, Any]]
"""What changed something in a step (`None`: `time_step`), the client it came from, and the changes."""


class LoopEvents:
    """Events and hooks on their way into a game loop. Any thread may push; the loop handles them.

    Args:
        config: `max_wire_events` and what belongs to it, `max_streams`, the limits of data.
        log: where exceptions go.

    Attributes:
        handlers: the application's, by event type.
        handler_errors: how many raised, or returned no usable dict, by event type.
        unhandled: events that no handler here is for, by type.
    """

    def __init__(self, config: Config, log: HandlerLog) -> None:
        self.handlers = UniversalEventHandler()
        self.handler_errors: Counter[str] = Counter()
        self.unhandled: Counter[str] = Counter()
        self._config = config
        self._log = log
        self._queue = WireQueue(config)
        self._names: dict[str, str] = {}  # of event types that have handlers, for log and watchdog

    # --- any thread -----------------------------------------------------------------------------

    def wants(self, event_type: str) -> bool:
        """Whether a handler for this type is registered; counted if not. It spares decoding the event."""
        if self.handlers.has_event_type(event_type):
            return True
        self._count_unhandled(event_type)
        return False

    def open_line(self, client: object) -> WireLine:
        """Where a client's events are pushed to, until `close_line`."""
        return self._queue.open_line(client)

    def close_line(self, line: WireLine) -> None:
        """The client is gone, or its server."""
        self._queue.close_line(line)

    def push(self, event: Event, client: object) -> bool:
        """Queue an event of a type that is wanted; whether there was room. Never waits."""
        return self._queue.push_event(event, client)

    def push_to(self, line: WireLine, event: Event) -> bool:
        """The same for an event of the client that the line is of."""
        return self._queue.push_to(line, event)

    def push_call(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> bool:
        """Queue a call; whether there was room."""
        handler = function if isinstance(function, Handler) else Handler(function)
        name = getattr(handler.function, "__qualname__", repr(handler.function))
        return self._queue.push_call(WireCall(name, handler, kwargs), kwargs.get("client_address"))

    def _count_unhandled(self, event_type: str) -> None:
        event_type = event_type[: self._config.max_event_type_bytes]
        if event_type not in self.unhandled:
            if len(self.unhandled) >= self._config.max_streams:
                return
            logger.debug("no handler in the game loop for events of type %.80r", event_type)
        self.unhandled[event_type] += 1

    # --- the loop -------------------------------------------------------------------------------

    def handle(
        self, seen: StateInStep, dt: float, environment: Environment, until: float, watch: Watch | None
    ) -> list[Part]:
        """Handle what waits now: one item of each client, then others until it is late.

        Args:
            seen: the state as `time_step` left it; the handlers' changes come on top.
            dt: of the step.
            environment: whose clock.
            until: when it is late.
            watch: the loop's, for all handlers; it begins anew with each.

        Returns:
            What changed something.
        """
        parts: list[Part] = []
        queue = self._queue
        queue.begin_step(environment, until)
        try:
            named = ""  # the type of event that the watch has the name of
            # In the child of a fork there is another queue: the parent goes on with this step.
            while queue is self._queue and (item := queue.next_item()) is not None:
                client = queue.client
                if watch is not None and (not isinstance(item, Event) or item.type != named or not named):
                    watch.name = self._name_of(item)
                    named = item.type if isinstance(item, Event) else ""
                changes = self._changes_of(item, client, seen, dt)
                if changes:
                    parts.append((item, client, changes))
                    seen.change(changes)
                if watch is not None:
                    watch.check()
        finally:
            if queue is self._queue:
                queue.end_step()
        return parts

    def _changes_of(
        self, item: WireItem, client: object, seen: StateInStep, dt: float
    ) -> dict[str, Any] | None:
        try:
            if isinstance(item, Event):
                handler = self.handlers.find(item.type)
                assert handler is not None, "it had one when it was queued, and they only change"
                state = seen.view() if handler.takes_game_state else None
                result = handler.call_in_loop(item.handler_args, item.handler_kwargs, client, state, dt)
            else:
                state = seen.view() if item.handler.takes_game_state else None
                result = item.handler([], {}, {**item.kwargs, "game_state": state, "dt": dt})
            return None if result is None else checked_changes(result, "the handler", self._config)
        except (GreenletExit, KeyboardInterrupt):
            raise
        except BaseException:
            self.count_failed(item, client)
            return None

    def count_failed(self, item: WireItem, client: object) -> None:
        """Count and log the error being handled."""
        self.handler_errors[item.type if isinstance(item, Event) else item.name] += 1
        self._log.raised(f"client {client}", self._name_of(item))

    def _name_of(self, item: WireItem) -> str:
        """For the log, and for what counts who held the hub."""
        if not isinstance(item, Event):
            return f"hook {item.name}"
        name = self._names.get(item.type)
        if name is None:
            name = self._names[item.type] = f"handler of event {item.type}"
        return name

    def after_fork(self) -> None:
        """In the child of a fork what waited is the parent's, and somebody may have held the lock."""
        self._queue = WireQueue(self._config)


class StateInStep:
    """The state as the handlers of a step find it: each sees what those before it changed.

    Changes are applied when the next handler wants to see the state; most return none, or take none.
    """

    __slots__ = ("_changes", "_view")

    def __init__(self, game_state: GameState) -> None:
        self._view = game_state
        self._changes: list[dict[str, Any]] = []

    def change(self, changes: dict[str, Any]) -> None:
        """These changes come on top."""
        self._changes.append(changes)

    def view(self) -> GameState:
        """The state with all changes, for reading; it stays as it is."""
        if self._changes:
            content = self._view.to_dict()
            for changes in self._changes:
                content = apply_changes(content, changes)
            self._changes.clear()
            self._view = GameState.from_dict(self._view.time_order, content)
        return self._view


def checked_changes(changes: object, source: str, config: Config) -> dict[str, Any]:
    """A copy of what a function of the application returned.

    Raises:
        ArgumentTypeError: no dict, or not the changes of a state.
        LocalError: something in it cannot travel.
    """
    if not isinstance(changes, dict):
        raise ArgumentTypeError(
            f"{source} must return a dict of changed attributes, not {type(changes).__name__}"
        )
    return copy_changes(changes, config)
