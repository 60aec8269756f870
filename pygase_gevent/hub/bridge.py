"""Calls into another thread's hub, and waiting for the answer."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import gevent

from pygase_gevent.config import Config
from pygase_gevent.errors import NotRunningError, QueueFullError, WaitTimeoutError
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.locks import allocate_rlock, get_ident

T = TypeVar("T")

logger = logging.getLogger("pygase_gevent.hub")


class Bridge:
    """The way into one hub from all other threads: a bounded queue and one `async_` watcher.

    Made, and closed, in the thread whose hub it leads to. Functions posted run in that thread in the
    order in which each of their posters posted them, in one greenlet: one that blocks holds up those
    behind it. Many posts make one wake-up.

    Args:
        config: the limit is `max_bridge_calls`.
    """

    def __init__(self, config: Config) -> None:
        self._limit = config.max_bridge_calls
        self._thread_id = get_ident()
        self._lock = allocate_rlock()
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.async_()
        self._watcher.start(self._wake)
        self._is_woken = False  # from the post that wakes the owner until it found the queue empty
        self._is_closed = False

    def is_owner_thread(self) -> bool:
        """Whether the caller is in the thread whose hub this leads to."""
        return self._thread_id == get_ident()

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Has `function(*args)` called in the owner's thread, soon. What it raises is logged.

        Raises:
            NotRunningError: the bridge is closed.
            QueueFullError: too many calls are waiting.
        """
        with self._lock:
            if self._is_closed:
                raise NotRunningError("it does not run any more")
            if len(self._calls) >= self._limit:
                raise QueueFullError(f"{self._limit} calls are waiting for the network thread")
            self._calls.append((function, args))
            if self._is_woken:
                return
            try:
                self._watcher.send()
            except ValueError:  # someone destroyed the owner's loop without closing us
                self._is_closed = True
                self._calls.clear()
                raise NotRunningError("its hub was destroyed") from None
            self._is_woken = True

    def run_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Calls `function(*args)` at once where that is possible, in the owner's thread; else posts it.

        Raises:
            NotRunningError: the bridge is closed.
            QueueFullError: too many calls are waiting.
        """
        if not self.is_owner_thread():
            self.post(function, *args)
        elif self._is_closed:
            raise NotRunningError("it does not run any more")
        else:
            function(*args)

    def call(self, function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        """Calls `function(*args)` in the owner's thread and returns what it returns, or raises that.

        From the owner's thread it is called at once.

        Args:
            timeout: seconds to wait; a call that has not begun by then never will.

        Raises:
            NotRunningError: the bridge is closed.
            QueueFullError: too many calls are waiting.
            WaitTimeoutError: there was no answer in time.
        """
        if self.is_owner_thread():
            if self._is_closed:
                raise NotRunningError("it does not run any more")
            return function(*args)
        outcome: Outcome[T] = Outcome()
        self.post(_answer, outcome, function, args)
        try:
            return outcome.wait(timeout)
        finally:
            # For one that was interrupted or ran out of time: now it need not begin any more.
            outcome.set_error(WaitTimeoutError("nobody waits any more"))

    def close(self) -> None:
        """Runs what was accepted, then refuses everything; in the owner's thread. Idempotent."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._watcher.stop()
        self._watcher.close()
        while self._calls:
            self._run_next()

    def after_fork(self) -> None:
        """In the child of a fork: refuses everything, and leaves the parent's loop alone."""
        self._lock = allocate_rlock()
        self._is_closed = True
        self._calls = deque()

    def _wake(self) -> None:
        # Not here in the hub: a logging handler's lock, say, may have to wait.
        gevent.spawn_raw(self._drain)

    def _drain(self) -> None:
        try:
            while True:
                # Those that are posted meanwhile have the next turn, after everybody else's.
                for _ in range(len(self._calls)):
                    if self._calls:  # close() may have run within one of them
                        self._run_next()
                with self._lock:
                    if not self._calls:
                        self._is_woken = False
                        return
                gevent.sleep(0)
        except BaseException:  # Ctrl-C, between two calls: the next wake-up goes on where this ended
            if not self._is_closed:
                self._watcher.send()
            raise

    def _run_next(self) -> None:
        function, args = self._calls.popleft()
        try:
            function(*args)
        except (KeyboardInterrupt, SystemExit) as error:
            # Ctrl-C hits whatever runs; it is meant for the main greenlet.
            self._hub.handle_system_error(type(error), error, error.__traceback__)
        except BaseException:
            logger.exception("a call from another thread failed")


def _answer(outcome: Outcome[T], function: Callable[..., T], args: tuple[Any, ...]) -> None:
    if outcome.is_done:
        return
    try:
        outcome.set_result(function(*args))
    except Exception as error:
        outcome.set_error(error)
    except BaseException as error:
        outcome.set_error(error)
        raise
