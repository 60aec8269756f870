"""Sees every switch of one hub: which watched greenlet runs, and since when.

A thread has one trace function (`greenlet.settrace`), and it costs something at each switch: so all
watchdogs of a hub share one tracer, found by that very function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import greenlet

from pygase_gevent.locks import get_ident

if TYPE_CHECKING:
    from pygase_gevent.hub.watchdog import Watch

_TraceFunction = Callable[[Any, Any], object]


class SwitchTracer:
    """The trace function of one thread. Opened, used and closed in that thread.

    Attributes:
        current: the watch of the greenlet that runs now; read by the monitor, from its own thread.
        watches: the innermost watch of each watched greenlet.
        thread_id: whose switches these are.
    """

    def __init__(self) -> None:
        self.current: Watch | None = None
        self.watches: dict[Any, Watch] = {}
        self.thread_id = get_ident()
        self._users = 0
        self._previous: _TraceFunction | None = greenlet.settrace(self._on_switch)

    @staticmethod
    def open() -> SwitchTracer:
        """The calling thread's tracer, which stays until everybody who opened it has closed it."""
        tracer = _owner_of(greenlet.gettrace()) or SwitchTracer()
        tracer._users += 1
        return tracer

    @property
    def is_closed(self) -> bool:
        return self._users == 0

    def close(self) -> None:
        """One user less; the last one ends the tracing."""
        self._users -= 1
        if self._users:
            return
        self.current = None
        self.watches.clear()
        if greenlet.gettrace() == self._on_switch:
            # Those below us that were closed while another tracer was on top are skipped now.
            previous = self._previous
            while (owner := _owner_of(previous)) is not None and owner.is_closed:
                previous = owner._previous
            greenlet.settrace(previous)

    def _on_switch(self, event: str, args: Any) -> None:
        # Called by greenlet in the middle of a switch: nothing in here may switch, log or raise.
        watches = self.watches
        if watches and event in ("switch", "throw"):
            origin, target = args
            if (watch := watches.get(origin)) is not None:
                watch.check()
            self.current = watch = watches.get(target)
            if watch is not None:
                watch.begin()
        if self._previous is not None:
            self._previous(event, args)


def _owner_of(trace: _TraceFunction | None) -> SwitchTracer | None:
    owner = getattr(trace, "__self__", None)
    return owner if isinstance(owner, SwitchTracer) else None
