"""gevent's loop in virtual time: timers stand on a heap, and the clock jumps to the first of them.

gevent asks little of a loop: a queue of callbacks, timers, `async_` watchers, and a `run` that the hub
greenlet stands in (`gevent._interfaces.ILoop`). This one has all that in Python and nothing else: no
descriptor, no poll, no clock of the machine. Whatever waits through gevent (`sleep`, `Timeout`, `Event`,
`Queue`, `Greenlet.join`) waits on it without knowing. When nothing is left to run the clock jumps to
the next timer, so waiting costs nothing and always takes exactly as long.

The order of everything is fixed: callbacks run first in, first out; timers by their time, then their
priority, then the order in which they were started.
"""

from __future__ import annotations

import heapq
import itertools
import math
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, NoReturn, cast
from weakref import WeakKeyDictionary

import gevent
from gevent.exceptions import HubDestroyed, LoopExit
from gevent.hub import Hub
from greenlet import getcurrent, greenlet

from pygase_gevent.errors import LocalError
from pygase_gevent.testing.virtual.watchers import Appointment, AsyncWatcher, Callback, Timer, Watcher

CALLBACKS_PER_TURN = 1000
"""Callbacks between two looks at the timers. Code that polls with `sleep(0)` would stop time otherwise."""
TURN_S = 1 / 256
"""What so many callbacks cost in virtual time."""
TICKS_PER_S = 1 << 20
"""The clock's resolution. Time that could pass in smaller steps than a float can tell might not pass at
all: who finds that its deadline is 1e-14 s away would be woken too early again and again."""
CLEANING_UP_S = 10.0
"""Real seconds to end everything after the real-time limit was hit."""
_MAX_NAMED = 20
_THREAD_SLOT = "pygase_gevent_virtual_thread"
_GEVENT = str(Path(gevent.__file__).parent)


class VirtualTimeError(LocalError):
    """What cannot be done, or has gone wrong, in virtual time."""


class DeadlockError(VirtualTimeError, LoopExit):
    """Everybody waits, and nothing will ever happen: no timer is set, no datagram is under way."""


class RealTimeLimitError(VirtualTimeError):
    """The virtual world took longer than its limit in real time."""


class VirtualLoop:
    """A loop for `VirtualHub`.

    Args:
        now: what the clock shows at first, seconds.
        real_limit_s: seconds of real time after which the main greenlet gets a `RealTimeLimitError`.

    Attributes:
        environment: what `pygase_gevent` takes its clock, sockets and threads from in this loop's hub.
        greenlets: all that were started here and are still there, in the order of their starts.
        error_handler: the hub, while it runs.
    """

    default = False
    approx_timer_resolution = 0.0
    MINPRI, MAXPRI = -2, 2

    def __init__(self, *, now: float, real_limit_s: float) -> None:
        self.environment: object = None
        self.greenlets: WeakKeyDictionary[greenlet, None] = WeakKeyDictionary()
        self.error_handler: Any = None
        self.is_destroyed = False
        self._now = now
        self._real_limit_s = real_limit_s
        self._real_deadline = monotonic() + real_limit_s
        self._callbacks: deque[Callback] = deque()
        self._heap: list[tuple[float, int, int, Timer | Appointment]] = []
        self._numbers = itertools.count(1)
        self._referenced_timers = 0
        self._thread_of_callback: object = None

    # --- what gevent asks for -------------------------------------------------------------------

    def run(self, nowait: bool = False, once: bool = False) -> None:
        """Runs what is due, and lets time pass, until the hub is destroyed."""
        while not self.is_destroyed:
            try:
                if monotonic() > self._real_deadline:
                    self._throw(self._real_limit_error())
                elif not self._run_callbacks() and not self._run_next_timers():
                    self._throw(self._deadlock_error())
            except KeyboardInterrupt:
                self.handle_error(None, *sys.exc_info())

    def run_callback(self, func: Callable[..., object], *args: Any) -> Callback:
        """Has `func(*args)` called in the hub, after all that was queued before."""
        callback = Callback(func, args, self.thread_for(func))
        self._callbacks.append(callback)
        return callback

    run_callback_threadsafe = run_callback

    def timer(
        self, after: float, repeat: float = 0.0, ref: bool = True, priority: int | None = None
    ) -> Timer:
        """A watcher that calls back `after` seconds after its start."""
        if repeat < 0.0:
            raise ValueError(f"repeat must be positive or zero: {repeat!r}")
        return Timer(self, after, repeat, ref, priority or 0)

    def async_(self, ref: bool = True, priority: int | None = None) -> AsyncWatcher:
        """A watcher that calls back after `send`."""
        return AsyncWatcher(self, ref, priority or 0)

    def idle(self, ref: bool = True, priority: int | None = None) -> Timer:
        """A watcher that calls back when nothing else is left to do at this moment."""
        return Timer(self, 0.0, 0.0, ref, self.MINPRI)

    def fork(self, ref: bool = True, priority: int | None = None) -> Watcher:
        """A watcher that never calls back: a virtual world does not fork."""
        return Watcher(self, ref, priority or 0)

    check = prepare = fork

    def io(self, fd: int, events: int, ref: bool = True, priority: int | None = None) -> NoReturn:
        """Refused."""
        raise VirtualTimeError(
            "real sockets and files cannot be waited for in virtual time: the kernel does not know it. "
            "Servers and clients of pygase_gevent take their sockets from the virtual network by themselves"
        )

    def signal(self, signum: int, ref: bool = True, priority: int | None = None) -> NoReturn:
        """Refused."""
        raise VirtualTimeError("signals and real processes cannot be waited for in virtual time")

    child = stat = signal

    def now(self) -> float:
        """Virtual seconds."""
        return self._now

    def update_now(self) -> None:
        """Nothing to do: time passes only in `run`."""

    def closing_fd(self, fd: int) -> bool:
        """Nobody waits for a descriptor here."""
        return False

    def reinit(self) -> None:
        """Nothing to do: the kernel knows nothing of this loop."""

    def destroy(self) -> bool:
        """Forgets everything; watchers that are left do nothing any more."""
        self.is_destroyed = True
        self._callbacks.clear()
        self._heap.clear()
        return True

    def handle_error(
        self,
        context: object,
        type: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """What a callback raised goes to the hub, which prints it, or raises it in the main greenlet."""
        if type is HubDestroyed:
            assert value is not None
            raise value
        if self.error_handler is not None:
            self.error_handler.handle_error(context, type, value, tb)
        else:
            traceback.print_exception(type, value, tb)

    def _format(self) -> str:
        return f"virtual, at {self._now:.6f} s"

    # --- what watchers ask for ------------------------------------------------------------------

    def thread_for(self, callback: object) -> object:
        """The virtual thread that a callback works for: the caller's, or its greenlet's own."""
        target = getattr(callback, "__self__", None)
        if not isinstance(target, greenlet):
            return self.current_thread
        thread = getattr(target, _THREAD_SLOT, self)
        if thread is self:  # it is being started, in the thread of whoever starts it
            thread = self.current_thread
            self.adopt(target, thread)
        return thread

    def queue(self, callback: Callback) -> None:
        """Has it called after all that was queued before."""
        self._callbacks.append(callback)

    def enter(self, timer: Timer | Appointment, delay_s: float) -> int:
        """Has a timer fire, unless its number is another one by then; its number."""
        number = next(self._numbers)
        at = self._now
        if delay_s > 0:
            at = max(math.ceil((at + delay_s) * TICKS_PER_S), int(at * TICKS_PER_S) + 1) / TICKS_PER_S
        heapq.heappush(self._heap, (at, -timer.priority, number, timer))
        self._referenced_timers += timer.ref
        return number

    def leave(self, timer: Timer | Appointment) -> None:
        """A timer that was entered is not waited for any more."""
        self._referenced_timers -= timer.ref

    # --- what the virtual environment asks for --------------------------------------------------

    @property
    def current_thread(self) -> object:
        """The virtual thread that the running greenlet belongs to; None for the main one."""
        current = getcurrent()
        if current is self.error_handler:
            return self._thread_of_callback
        return getattr(current, _THREAD_SLOT, None)

    def adopt(self, target: greenlet, thread: object) -> None:
        """Has a greenlet, and all that it starts, belong to a virtual thread."""
        setattr(target, _THREAD_SLOT, thread)
        self.greenlets[target] = None

    def call_at(self, at: float, function: Callable[..., object], *args: Any) -> None:
        """Has `function(*args)` called in the hub at a time of this clock."""
        appointment = Appointment(self, function, args)
        appointment.number = self.enter(appointment, at - self._now)

    def allow_cleaning_up(self) -> None:
        """What ends the world has a time limit of its own."""
        self._real_deadline = monotonic() + CLEANING_UP_S

    # --- inside ---------------------------------------------------------------------------------

    def _run_callbacks(self) -> bool:
        """Whether there were any."""
        callbacks = self._callbacks
        if not callbacks:
            return False
        for _ in range(CALLBACKS_PER_TURN):
            if not callbacks:
                return True
            callback = callbacks.popleft()
            function, args = callback.callback, callback.args
            if function is None or args is None:
                continue
            callback.callback = None
            self._thread_of_callback = callback.thread
            try:
                function(*args)
            except BaseException:
                self.handle_error(callback, *sys.exc_info())
            callback.args = None
        if callbacks:
            self._now += TURN_S
            self._run_due_timers()
        return True

    def _run_next_timers(self) -> bool:
        """Lets time pass until the next timers are due; False if it would pass for ever."""
        if self._referenced_timers <= 0:
            return False
        heap = self._heap
        while heap[0][3].number != heap[0][2]:  # stopped since, or started anew
            heapq.heappop(heap)
        self._now = max(self._now, heap[0][0])
        self._run_due_timers()
        return True

    def _run_due_timers(self) -> None:
        heap, now = self._heap, self._now
        due: list[tuple[int, Timer | Appointment]] = []
        while heap and heap[0][0] <= now:
            _, _, number, timer = heapq.heappop(heap)
            due.append((number, timer))
        for number, timer in due:
            if timer.number != number:
                continue
            self._thread_of_callback = timer.thread
            try:
                timer.fire()
            except BaseException:
                self.handle_error(timer, *sys.exc_info())

    def _throw(self, error: VirtualTimeError) -> None:
        """Raises an error in the main greenlet; returns when that waits for something again."""
        self.error_handler.parent.throw(error)

    def _real_limit_error(self) -> RealTimeLimitError:
        self.allow_cleaning_up()
        return RealTimeLimitError(
            f"{self._real_limit_s:g} s of real time are over, at {self._now:.3f} s of virtual time. "
            f"If this much is to be simulated, give it a longer real_limit_s. {self._who_waits()}"
        )

    def _deadlock_error(self) -> DeadlockError:
        return DeadlockError(
            f"everybody waits and nothing will ever happen (at {self._now:.3f} s of virtual time): no timer "
            f"is set, and no datagram is under way. The main greenlet waits where this was raised. "
            f"{self._who_waits()}"
        )

    def _who_waits(self) -> str:
        places = [str(place) for place in map(_place_of, self.greenlets) if place is not None]
        if not places:
            return "No other greenlet is there."
        more = f"\n  and {len(places) - _MAX_NAMED} more" if len(places) > _MAX_NAMED else ""
        return "Other greenlets wait at:" + "".join(f"\n  {place}" for place in places[:_MAX_NAMED]) + more


class VirtualHub(Hub):
    """A hub that runs a `VirtualLoop`; it has no real threads to offer.

    Its parent is the greenlet that makes it: the main greenlet of the virtual world.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop=cast(Any, loop))
        loop.error_handler = self  # Hub.run sets it too, and takes it away at the end

    @property
    def threadpool(self) -> NoReturn:  # type: ignore[override]
        raise VirtualTimeError("gevent's thread pool works in real threads, which know no virtual time")

    @property
    def resolver(self) -> NoReturn:  # type: ignore[override]
        raise VirtualTimeError("there are no name servers in virtual time; use 'localhost' or IP addresses")


def _place_of(waiting: greenlet) -> str | None:
    """Where a greenlet waits, as file, line and function outside of gevent; None if it does not."""
    frame = waiting.gr_frame
    if waiting.dead or frame is None:
        return None
    outside = next((f for f in _outward(frame) if not f.f_code.co_filename.startswith(_GEVENT)), frame)
    code = outside.f_code
    return f"{code.co_filename}:{outside.f_lineno} in {code.co_name}"


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
