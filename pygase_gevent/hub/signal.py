"""Waiting for what another thread does, from any thread and any greenlet.

gevent's own Event and locks belong to one thread's hub: waiting on one that another thread sets
raises `LoopExit` or hangs. A `Signal` is made for it. Where the waiter's thread has a hub the wait is
cooperative, on an `async_` watcher of that hub, the one thing of a loop that other threads may touch.
Where it has none the wait is native, and makes none.
"""

from __future__ import annotations

import math
from _thread import TIMEOUT_MAX
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

import gevent
from gevent._hub_local import get_hub_if_exists  # no public door answers this without making a hub
from gevent.event import Event
from gevent.hub import Hub

from pygase_gevent.errors import LocalError, WaitTimeoutError
from pygase_gevent.locks import allocate_lock, allocate_rlock

if TYPE_CHECKING:
    from gevent._types import _TimerWatcher

T = TypeVar("T")


def hub_of_this_thread() -> Hub | None:
    """The calling thread's hub, if it has one; never makes one."""
    return get_hub_if_exists()


class Signal:
    """Says that something changed; those who wait look for themselves whether it is what they want.

    Change first, then notify. Example:

        self.is_done = True
        self.signal.notify()                                    # in one thread

        self.signal.wait_for(lambda: self.is_done, timeout=1.0)  # in any other
    """

    __slots__ = ("_lock", "_waiters")

    def __init__(self) -> None:
        self._lock = allocate_rlock()
        self._waiters: dict[_Waiter, None] = {}  # woken in the order in which they came

    def notify(self) -> None:
        """Has every waiter look again. From any thread; never blocks."""
        # Who is not in the set yet evaluates its predicate after entering it, so it sees the change.
        if not self._waiters:
            return
        with self._lock:
            for waiter in tuple(self._waiters):
                if not waiter.wake():
                    self._waiters.pop(waiter, None)

    def wait_for(self, predicate: Callable[[], object], timeout: float | None = None) -> bool:
        """Waits until `predicate()` is true. It is called in the waiting greenlet, at each `notify`.

        Args:
            predicate: what is waited for; what it raises is raised here.
            timeout: seconds; None waits without end.

        Returns:
            Whether the predicate became true in time.

        Raises:
            LocalError: it would have to wait inside a hub's own callback.
        """
        if predicate():
            return True
        if timeout is not None and timeout <= 0:
            return False
        if timeout is not None and math.isinf(timeout):
            timeout = None
        hub = hub_of_this_thread()
        if hub is not None and gevent.getcurrent() is hub:
            raise LocalError("cannot wait inside a callback of the hub; spawn a greenlet that waits")
        waiter = _NativeWaiter() if hub is None else _HubWaiter(hub)
        try:
            waiter.open(timeout)
            with self._lock:
                self._waiters[waiter] = None
            while not predicate():
                if not waiter.wait():
                    return bool(predicate())
            return True
        finally:
            with self._lock:
                self._waiters.pop(waiter, None)
            waiter.close()

    def after_fork(self) -> None:
        """In the child of a fork: forgets the parent's waiters, and a lock one of them may have held."""
        self._lock = allocate_rlock()
        self._waiters = {}


class Outcome(Generic[T]):
    """A value or an error that one thread hands to others, once."""

    __slots__ = ("_error", "_signal", "_value", "is_done")

    def __init__(self) -> None:
        self.is_done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._signal = Signal()

    def set_result(self, value: T) -> None:
        """Hands over `value`; the first outcome stands, later ones are ignored."""
        if not self.is_done:
            self._value = value
            self._finish()

    def set_error(self, error: BaseException) -> None:
        """Has everyone who waits raise `error`; the first outcome stands, later ones are ignored."""
        if not self.is_done:
            self._error = error
            self._finish()

    def wait(self, timeout: float | None = None) -> T:
        """Waits for the outcome and returns it, or raises it.

        Raises:
            WaitTimeoutError: there was none within `timeout` seconds.
        """
        if not self._signal.wait_for(lambda: self.is_done, timeout):
            raise WaitTimeoutError(f"no outcome within {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # it is a T once is_done

    def _finish(self) -> None:
        self.is_done = True
        self._signal.notify()


class _HubWaiter:
    """Lets the other greenlets of its thread run while it waits."""

    __slots__ = ("_async", "_event", "_expired", "_hub", "_timer")

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._event = Event()  # set and awaited within this thread only
        self._async = hub.loop.async_()
        self._timer: _TimerWatcher | None = None
        self._expired = False

    def open(self, timeout: float | None) -> None:
        self._async.start(self._event.set)
        if timeout is not None:
            self._timer = self._hub.loop.timer(timeout)
            self._timer.start(self._expire, update=True)

    def wake(self) -> bool:
        try:
            self._async.send()
        except ValueError:  # its hub was destroyed under it: nobody waits there any more
            return False
        return True

    def wait(self) -> bool:
        """Until woken; False once the time is over."""
        self._event.wait()
        self._event.clear()
        return not self._expired

    def close(self) -> None:
        self._async.stop()
        self._async.close()
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()

    def _expire(self) -> None:
        self._expired = True
        self._event.set()


class _NativeWaiter:
    """Blocks its thread, which has no hub. Ctrl-C interrupts it."""

    __slots__ = ("_deadline", "_lock")

    def __init__(self) -> None:
        self._lock = allocate_lock()  # taken means: not woken yet
        self._lock.acquire()
        self._deadline: float | None = None

    def open(self, timeout: float | None) -> None:
        self._deadline = None if timeout is None else monotonic() + timeout

    def wake(self) -> bool:
        if self._lock.locked():  # the signal's lock makes us the only one who releases
            self._lock.release()
        return True

    def wait(self) -> bool:
        """Until woken; False once the time is over."""
        if self._deadline is None:
            self._lock.acquire()
            return True
        remaining_s = self._deadline - monotonic()
        return remaining_s > 0 and self._lock.acquire(True, min(remaining_s, TIMEOUT_MAX))

    def close(self) -> None:
        pass


_Waiter = _HubWaiter | _NativeWaiter
