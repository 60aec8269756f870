"""Says which handler or time step held the hub, for how long, and where it stood.

While a greenlet computes, or blocks without gevent knowing, no other greenlet of its hub runs: every
player waits. Only that counts: a handler that waits cooperatively holds up nobody else. greenlet tells
of every switch (`greenlet.settrace`), so what is measured is exactly the time between two of them.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from traceback import StackSummary
from types import TracebackType
from typing import Any, Final

import gevent
import greenlet
from mypy_extensions import mypyc_attr

from pygase_gevent.config import Config
from pygase_gevent.hub.monitor import Monitor
from pygase_gevent.hub.tracer import SwitchTracer

logger = logging.getLogger("pygase_gevent.hub")

MAX_SPARES: Final = 8
"""Watches kept for the next handlers: about as many as are nested or wait at once."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Watchdog:
    """Watches what runs in one hub. Made, used and closed in that hub's thread.

    Example:

        with watchdog.watch("time_step"):
            update = time_step(state, dt)

    Args:
        config: the limits are `blocked_hub_s` and `blocked_log_s`.
        now: the clock.
        monitor: sees stacks; without one, only names and times are told.

    Attributes:
        blocked: how often each name held the hub for longer than `blocked_hub_s`; assign a counter that
            is to outlast the watchdog.
        now: as given.
        limit_s: `blocked_hub_s`.
        tracer: sees the hub's switches.
    """

    def __init__(self, config: Config, now: Callable[[], float], monitor: Monitor | None = None) -> None:
        self.blocked: Counter[str] = Counter()
        self.now = now
        self.limit_s = config.blocked_hub_s
        self.tracer = SwitchTracer.open()
        self._max_names = config.max_blocked_names
        self._log_interval_s = config.blocked_log_s
        self._loop = gevent.get_hub().loop
        self._last_logged: dict[str, float] = {}
        self._to_log: deque[tuple[str, float, StackSummary | None]] = deque()
        self._is_closed = False
        self._spares: list[Watch] = []  # handlers are many, and most are short
        self._monitor = monitor
        if monitor is not None:
            monitor.add(self)

    def watch(self, name: str, whose: str = "", counter: Counter[str] | None = None) -> Watch:
        """A context manager around what is called `name` in the log; may be nested.

        Args:
            name: what is counted, and logged once in a while.
            whose: told in the log as well.
            counter: counts it, too.
        """
        watch = self._spares.pop() if self._spares else Watch(self)
        watch.name, watch.whose, watch.counter = name, whose, counter
        return watch

    def close(self) -> None:
        """Watches no longer. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._monitor is not None:
            self._monitor.remove(self)
        self.tracer.close()

    def take_back(self, watch: Watch) -> None:
        """A watch has ended, and may serve for another name."""
        if len(self._spares) < MAX_SPARES:
            self._spares.append(watch)

    def check(self, watch: Watch) -> None:
        """This watch gives the hub back, or ends: count and log it if it held the hub too long."""
        if self._is_closed:  # the switches since were not seen
            return
        now = self.now()
        held_s = now - watch.since
        stack = watch.stack if watch.seen_since == watch.since else None
        watch.since = now
        if held_s <= self.limit_s:
            return
        name = watch.name
        for counter in (self.blocked, watch.counter):
            if counter is not None:
                counter[name if name in counter or len(counter) < self._max_names else "another handler"] += 1
        if name not in self.blocked:
            name = "another handler"
        last_logged = self._last_logged.get(name)
        if last_logged is None or now - last_logged >= self._log_interval_s:
            self._last_logged[name] = now
            self._to_log.append((name + watch.whose, held_s, stack))
            self._loop.run_callback(gevent.spawn_raw, self._log)

    def _log(self) -> None:
        while self._to_log:
            name, held_s, stack = self._to_log.popleft()
            # Without a stack it ended before the monitor could look, or let no other thread run at all.
            where = "" if stack is None else f"; it was here:\n{''.join(stack.format()).rstrip()}"
            logger.warning(
                "%s held the hub for %.0f ms; everybody else on it waited (limit %.0f ms)%s",
                name,
                held_s * 1000,
                self.limit_s * 1000,
                where,
            )


@mypyc_attr(allow_interpreted_subclasses=True)
class Watch:
    """What `Watchdog.watch` returns.

    Attributes:
        name, whose, counter: as given.
        since: when its greenlet had the hub last.
        seen_since: the `since` that `stack` belongs to; both are the monitor's.
    """

    __slots__ = (
        "_greenlet",
        "_outer",
        "_watchdog",
        "counter",
        "name",
        "seen_since",
        "since",
        "stack",
        "whose",
    )

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._greenlet: Any = None
        self._outer: Watch | None = None
        self.name = self.whose = ""
        self.counter: Counter[str] | None = None
        self.since = 0.0
        self.seen_since: float | None = None
        self.stack: StackSummary | None = None

    @property
    def limit_s(self) -> float:
        """How long it may hold the hub."""
        return self._watchdog.limit_s

    def begin(self) -> None:
        """Its greenlet has the hub now."""
        self.since = self._watchdog.now()

    def check(self) -> None:
        """Its greenlet gives the hub back, or goes on with something else under this watch."""
        watchdog = self._watchdog
        now = watchdog.now()
        if now - self.since <= watchdog.limit_s:  # nearly always, and for each event
            self.since = now
        else:
            watchdog.check(self)

    def __enter__(self) -> Watch:
        self._greenlet = greenlet.getcurrent()
        self.since = self._watchdog.now()  # before the monitor can see it
        self._outer = self._watchdog.tracer.begin(self._greenlet, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.check()
        outer = self._outer
        self._watchdog.tracer.end(self._greenlet, outer)
        if outer is not None:
            outer.since = self.since
        self._greenlet = self._outer = self.counter = self.stack = None
        self._watchdog.take_back(self)
