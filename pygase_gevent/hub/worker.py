"""A greenlet that does one thing whenever it is asked to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gevent
from greenlet import GreenletExit, greenlet


class Worker:
    """Calls a function in a greenlet of this thread's hub, when the hub has gone through what is ready.

    However often it is asked to in between, the function is called once. Spawning a greenlet for each call
    costs ten times as much as this.

    Args:
        function: may wait; what it raises is the hub's to report.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._hub = gevent.get_hub()
        self._greenlet: Any = greenlet(self._run, self._hub)
        self._is_asked = False
        self._is_at_work = False
        self._is_closed = False

    def ask(self) -> None:
        """Have the function called."""
        if not self._is_asked and not self._is_closed:
            self._is_asked = True
            if not self._is_at_work:
                self._hub.loop.run_callback(self._greenlet.switch)

    def close(self) -> None:
        """Call it no more; a call that waits goes on. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            if not self._is_at_work and self._greenlet:  # never started, it needs no end
                self._hub.loop.run_callback(self._greenlet.throw, GreenletExit)

    def _run(self) -> None:
        while not self._is_closed:
            self._is_asked = False
            self._is_at_work = True
            try:
                self._function()
            except BaseException:
                # As of any greenlet: it is told, and Ctrl-C goes to the main greenlet.
                self._hub.handle_error(self._greenlet, *sys.exc_info())
            self._is_at_work = False
            if self._is_closed:
                return
            if self._is_asked:
                self._hub.loop.run_callback(self._greenlet.switch)
            self._hub.switch()
