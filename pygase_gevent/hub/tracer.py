"""Sees the switches of one hub while something in it is watched: which watched greenlet runs, and since when.

A thread has one trace function (`greenlet.settrace`), and it costs something at each switch. So all
watchdogs of a thread share one tracer; it begins to trace with the first watch, and ends at the first switch
without any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import greenlet

from pygase_gevent.locks import get_ident

if TYPE_CHECKING:
    from pygase_gevent.hub.watchdog import Watch

_TraceFunction = Callable[[Any, Any], object]


_tracers: dict[int, SwitchTracer] = {}  # by thread


class SwitchTracer:
    """The trace function of one thread. Opened, used and closed in that thread.

    Attributes:
        current: the watch of the greenlet that runs now; read by the monitor, from its own thread.
        thread_id: whose switches these are.
    """

    def __init__(self) -> None:
        self.current: Watch | None = None
        self.thread_id = get_ident()
        self._watches: dict[Any, Watch] = {}  # the innermost one of each watched greenlet
        self._users = 0
        self._is_tracing = False
        self._previous: _TraceFunction | None = None

    @staticmethod
    def open() -> SwitchTracer:
        """The calling thread's tracer, which stays until everybody who opened it has closed it."""
        tracer = _tracers.get(get_ident())
        if tracer is None:
            tracer = _tracers[get_ident()] = SwitchTracer()
        tracer._users += 1
        return tracer

    def close(self) -> None:
        """One user less; the last one ends the tracing."""
        self._users -= 1
        if not self._users:
            _tracers.pop(self.thread_id, None)
            self.current = None
            self._watches.clear()
            self._trace_no_more()

    def begin(self, watched: Any, watch: Watch) -> Watch | None:
        """This watch is the innermost one of a greenlet, which has the hub; the one around it, if any."""
        if not self._is_tracing or greenlet.gettrace() is None:  # which another's end may have done
            self._previous = greenlet.gettrace()
            greenlet.settrace(self._on_switch)
            self._is_tracing = True
        outer = self._watches.get(watched)
        self._watches[watched] = self.current = watch
        return outer

    def end(self, watched: Any, outer: Watch | None) -> None:
        """The innermost watch of a greenlet, which has the hub, has ended."""
        self.current = outer
        if outer is None:
            self._watches.pop(watched, None)  # gone if this was closed meanwhile
        else:
            self._watches[watched] = outer

    def _on_switch(self, event: str, args: Any) -> None:
        # Called by greenlet in the middle of a switch: nothing in here may switch, log or raise.
        watches, previous = self._watches, self._previous
        if not watches:
            self._trace_no_more()
        elif event in ("switch", "throw"):
            origin, target = args
            if (watch := watches.get(origin)) is not None:
                watch.check()
            self.current = watch = watches.get(target)
            if watch is not None:
                watch.begin()
        if previous is not None:
            previous(event, args)

    def _trace_no_more(self) -> None:
        """Unless another trace function is on top by now, and may call this one."""
        if self._is_tracing and greenlet.gettrace() == self._on_switch:
            greenlet.settrace(self._previous)
            self._is_tracing = False
            self._previous = None
