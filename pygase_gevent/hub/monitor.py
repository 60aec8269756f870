"""Looks at hubs from outside, and notes where one stands that is held too long.

While a handler holds its hub nothing in that thread can look at it: that takes another native thread.
There is one for the whole process, however many hubs it has, from the first watchdog to the end of the
last. It wakes ten times a second, and once more when a limit runs out meanwhile. It does not log, since
that may wait, but leaves what it saw to the hub's own thread.

gevent has such a thread too (`gevent.config.monitor_thread`): one per hub, which prints all greenlets
and knows no handler by its name.
"""

from __future__ import annotations

import sys
import traceback
from _thread import LockType
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, cast

from gevent import monkey

from pygase_gevent.hub.process import forget_fork, on_fork
from pygase_gevent.locks import allocate_lock

if TYPE_CHECKING:
    from pygase_gevent.hub.watchdog import Watchdog

_start_new_thread = cast(
    "Callable[[Callable[..., None], tuple[LockType]], int]",
    monkey.get_original("_thread", "start_new_thread"),
)

_MAX_FRAMES = 16
"""Of a stack, the innermost ones: enough to find the place, few enough for a log."""
_LONGEST_WAIT_S = 1.0
"""No native wait takes any number of seconds, and a limit may be infinite."""
_MARGIN_S = 0.002
"""Beyond a limit, so that whoever is found there is over it."""
_LIBRARIES = ("pygase_gevent", "gevent")


class Monitor:
    """One native thread that looks after the watchdogs of all hubs. Any thread."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._watchdogs: dict[Watchdog, None] = {}
        self._stop: LockType | None = None  # of the thread that runs: released when it is to end

    def add(self, watchdog: Watchdog) -> None:
        """Look after this one, too."""
        with self._lock:
            self._watchdogs[watchdog] = None
            if self._stop is not None:
                return
            stop = self._stop = allocate_lock()
        stop.acquire()
        on_fork(self._after_fork)
        _start_new_thread(self._run, (stop,))

    def remove(self, watchdog: Watchdog) -> None:
        """Never again. With the last one the thread ends, by itself and soon."""
        with self._lock:
            self._watchdogs.pop(watchdog, None)
            if self._watchdogs or self._stop is None:
                return
            stop, self._stop = self._stop, None
        forget_fork(self._after_fork)
        stop.release()

    def _run(self, stop: LockType) -> None:
        while not stop.acquire(True, self._look()):
            pass

    def _look(self) -> float:
        """Note the stack of each hub that is held too long; seconds until the next look."""
        with self._lock:
            watchdogs = list(self._watchdogs)
        wait_s = min((_LONGEST_WAIT_S, *(watchdog.limit_s for watchdog in watchdogs)))
        for watchdog in watchdogs:
            tracer = watchdog.tracer
            watch = tracer.current
            if watch is None:
                continue
            since = watch.since
            left_s = since + watch.limit_s - watchdog.now()
            if left_s > 0:  # whoever begins after this look is found by the next one in time
                wait_s = min(wait_s, left_s)
            elif watch.seen_since != since:
                frame = sys._current_frames().get(tracer.thread_id)
                if frame is not None and tracer.current is watch and watch.since == since:
                    watch.stack = _stack_of(frame)
                    watch.seen_since = since
                del frame  # it holds everything that the handler works with
        return wait_s + _MARGIN_S

    def _after_fork(self) -> None:
        """In the child of a fork: the thread is not there, and somebody may have held the lock."""
        self._lock = allocate_lock()
        self._watchdogs = {}
        self._stop = None


def _stack_of(innermost: FrameType) -> traceback.StackSummary:
    """From what the application gave us to call to where it stands.

    The source is read when it is shown, by who logs it.
    """
    frames = list(traceback.walk_stack(innermost))
    is_own = [_is_of_a_library(frame) for frame, _ in frames]
    # Innermost first. The outermost frame that the library called is where the application begins.
    begin = next((i for i in reversed(range(len(frames) - 1)) if not is_own[i] and is_own[i + 1]), None)
    shown = frames if begin is None else frames[: begin + 1]
    return traceback.StackSummary.extract(iter(shown[:_MAX_FRAMES][::-1]), lookup_lines=False)


def _is_of_a_library(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _LIBRARIES
