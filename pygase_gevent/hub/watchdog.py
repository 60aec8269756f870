"""Says which handler or time step held the hub, and for how long.

While a greenlet computes, or blocks without gevent knowing, no other greenlet of its hub runs: every
player waits. Only that counts: a handler that waits cooperatively holds up nobody else. greenlet tells
of every switch (`greenlet.settrace`), so what is measured is exactly the time between two of them.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

import gevent
import greenlet

from pygase_gevent.config import Config

logger = logging.getLogger("pygase_gevent.hub")

_TraceFunction = Callable[[Any, Any], object]


class Watchdog:
    """Watches what runs in one hub. Made, used and closed in that hub's thread.

    Example:

        with watchdog.watch("time_step"):
            update = time_step(state, dt)

    Args:
        config: the limits are `blocked_hub_s` and `blocked_log_s`.
        now: the clock.
    """

    def __init__(self, config: Config, now: Callable[[], float]) -> None:
        self.blocked: Counter[str] = Counter()
        """How often each name held the hub for longer than `blocked_hub_s`."""
        self._limit_s = config.blocked_hub_s
        self._max_names = config.max_blocked_names
        self._log_interval_s = config.blocked_log_s
        self._now = now
        self._loop = gevent.get_hub().loop
        self._watches: dict[Any, Watch] = {}  # by greenlet, the innermost one
        self._last_logged: dict[str, float] = {}
        self._to_log: deque[tuple[str, float]] = deque()
        self._is_closed = False
        self._previous: _TraceFunction | None = greenlet.settrace(self._on_switch)

    def watch(self, name: str) -> Watch:
        """A context manager around what is called `name` in the log; may be nested."""
        return Watch(self, name)

    def close(self) -> None:
        """Stops tracing. Idempotent."""
        self._is_closed = True
        if greenlet.gettrace() == self._on_switch:
            # Those below us that were closed while we were on top are skipped now.
            previous = self._previous
            while isinstance(owner := getattr(previous, "__self__", None), Watchdog) and owner._is_closed:
                previous = owner._previous
            greenlet.settrace(previous)

    def _on_switch(self, event: str, args: Any) -> None:
        # Called by greenlet in the middle of a switch: nothing in here may switch, log or raise.
        if event in ("switch", "throw") and not self._is_closed:
            origin, target = args
            watches = self._watches
            if watches:
                if (watch := watches.get(origin)) is not None:
                    self._check(watch)
                if (watch := watches.get(target)) is not None:
                    watch.since = self._now()
        if self._previous is not None:
            self._previous(event, args)

    def _check(self, watch: Watch) -> None:
        if self._is_closed:  # the switches since were not seen
            return
        now = self._now()
        held_s = now - watch.since
        watch.since = now
        if held_s <= self._limit_s:
            return
        name = watch.name
        if name not in self.blocked and len(self.blocked) >= self._max_names:
            name = "another handler"
        self.blocked[name] += 1
        last_logged = self._last_logged.get(name)
        if last_logged is None or now - last_logged >= self._log_interval_s:
            self._last_logged[name] = now
            self._to_log.append((name, held_s))
            self._loop.run_callback(gevent.spawn_raw, self._log)

    def _log(self) -> None:
        while self._to_log:
            name, held_s = self._to_log.popleft()
            logger.warning(
                "%s held the hub for %.0f ms; everybody else on it waited (limit %.0f ms)",
                name,
                held_s * 1000,
                self._limit_s * 1000,
            )


class Watch:
    """What `Watchdog.watch` returns."""

    __slots__ = ("_greenlet", "_outer", "_watchdog", "name", "since")

    def __init__(self, watchdog: Watchdog, name: str) -> None:
        self._watchdog = watchdog
        self.name = name
        self.since = 0.0

    def __enter__(self) -> None:
        self._greenlet = greenlet.getcurrent()
        watches = self._watchdog._watches
        self._outer: Watch | None = watches.get(self._greenlet)
        watches[self._greenlet] = self
        self.since = self._watchdog._now()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        watchdog = self._watchdog
        watchdog._check(self)
        if self._outer is None:
            del watchdog._watches[self._greenlet]
        else:
            watchdog._watches[self._greenlet] = self._outer
            self._outer.since = self.since
