"""A hub in a native thread: its start, its join, its end; the same whether `threading` is patched or not.

Under `patch_all()` a `threading.Thread` is a greenlet of the starting thread's hub, and a native
thread that waits on anything of the `threading` module hangs. So this one overrides everything that
would wait: it starts natively, and whoever joins it waits on a `Signal`.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import gevent
from gevent import monkey

from pygase_gevent.errors import NotRunningError
from pygase_gevent.hub import process
from pygase_gevent.hub.patching import prepare_for_hub_threads
from pygase_gevent.hub.signal import Outcome, Signal, hub_of_this_thread
from pygase_gevent.locks import get_ident

if TYPE_CHECKING:
    from threading import Thread as PatchableThread
else:
    from gevent.threading import Thread as PatchableThread

logger = logging.getLogger("pygase_gevent.hub")

_start_new_thread = cast(
    "Callable[[Callable[[], None], tuple[()]], int]", monkey.get_original("_thread", "start_new_thread")
)

# Two native threads that make their first hubs at once deadlock in the import system (gevent 26.9):
# gevent imports what these name when they are first read. Read here, they are imported once.
_IMPORTED_BY_GEVENT = tuple(
    getattr(gevent.config, name) for name in ("loop", "threadpool", "resolver", "format_context")
)


class HubThread(PatchableThread):
    """A native thread that may use gevent; the hub it made is destroyed when it ends.

    Its base is gevent's subclass of `threading.Thread`, so that it is an instance of `threading.Thread`
    before and after patching.

    Args:
        target: what the thread does.
        name: the thread's name.
        daemon: False holds the interpreter's exit until the thread has ended. A daemon thread is
            asked to stop at exit, and given `exit_timeout_s` for it.
        stop: asks the thread to end; called in any thread, must not block.
        ready: where `target` hands over that it is ready. An error that leaves `target` before goes
            there instead of to `threading.excepthook`, so that who starts the thread can raise it.
        exit_timeout_s: seconds that the interpreter's exit waits for this thread, if it is a daemon.
    """

    def __init__(
        self,
        target: Callable[[], object],
        *,
        name: str,
        daemon: bool,
        stop: Callable[[], object] | None = None,
        ready: Outcome[Any] | None = None,
        exit_timeout_s: float = 2.0,
    ) -> None:
        super().__init__(name=name, daemon=daemon)
        self.exit_timeout_s = exit_timeout_s
        self._body: Callable[[], object] | None = target
        self._stop_callback = stop
        self._ready = ready
        self._thread_id: int | None = None
        self._os_thread_id: int | None = None
        self._has_started = False
        self._has_ended = False
        self._end_signal = Signal()

    @property
    def ident(self) -> int | None:
        """The native thread's identifier; None before the start."""
        return self._thread_id

    @property
    def native_id(self) -> int | None:
        """The kernel's thread id; None until the thread runs."""
        return self._os_thread_id

    @property
    def daemon(self) -> bool:
        """Whether the interpreter's exit ends the thread rather than wait for it."""
        return self._daemonic

    @daemon.setter
    def daemon(self, value: bool) -> None:
        if self._has_started:
            raise RuntimeError("cannot set daemon status of active thread")
        self._daemonic = bool(value)

    def is_alive(self) -> bool:
        """Whether the thread has started and not ended."""
        return self._has_started and not self._has_ended

    def start(self) -> None:
        """Starts the thread. Raises RuntimeError if it was started before."""
        if self._has_started:
            raise RuntimeError("threads can only be started once")
        self._has_started = True
        process.enter_thread(self)
        try:
            self._launch()
        except BaseException:
            process.leave_thread(self)
            self._has_started = False
            raise

    def join(self, timeout: float | None = None) -> None:
        """Waits until the thread has ended, or `timeout` seconds.

        Where the caller's thread has a hub, its other greenlets run meanwhile.

        Raises:
            RuntimeError: the thread has not started, or joins itself.
        """
        if not self._has_started:
            raise RuntimeError("cannot join thread before it is started")
        if self._is_current():
            raise RuntimeError("cannot join current thread")
        self._end_signal.wait_for(lambda: self._has_ended, timeout)

    def run(self) -> None:
        """What the thread does: calls its target."""
        body, self._body = self._body, None
        if body is not None:
            body()

    def request_stop(self) -> None:
        """Asks the thread to end, as the interpreter's exit does. What the callback raises is logged."""
        if self._stop_callback is None:
            return
        try:
            self._stop_callback()
        except Exception:
            logger.debug("stopping thread %s failed", self.name, exc_info=True)

    def forget_after_fork(self) -> None:
        """In the child of a fork: only the thread that forked goes on there."""
        self._end_signal.after_fork()
        if not self._is_current():
            self._has_ended = True

    def __repr__(self) -> str:
        status = "started" if self.is_alive() else "stopped" if self._has_ended else "initial"
        return f"<HubThread({self.name}, {status}{' daemon' if self.daemon else ''} {self._thread_id})>"

    # What a virtual thread, a greenlet of the one virtual hub, does otherwise:

    def _launch(self) -> None:
        prepare_for_hub_threads()
        self._thread_id = _start_new_thread(self._run_natively, ())

    def _is_current(self) -> bool:
        return self._thread_id == get_ident()

    def _run_natively(self) -> None:
        self._thread_id = get_ident()
        try:
            self._os_thread_id = threading.get_native_id()
            _enter_active_threads(self._thread_id, self)
            sys.settrace(threading.gettrace())
            sys.setprofile(threading.getprofile())
            self._run_and_report()
            destroy_hub_of_this_thread()
        finally:
            _leave_active_threads(self._thread_id)
            self._finish()

    def _run_and_report(self) -> None:
        try:
            self.run()
        except BaseException as error:
            if self._ready is not None and not self._ready.is_done:
                self._ready.set_error(error)
            else:
                threading.excepthook(
                    threading.ExceptHookArgs((type(error), error, error.__traceback__, self))
                )

    def _finish(self) -> None:
        process.leave_thread(self)
        self._has_ended = True
        if self._ready is not None:
            self._ready.set_error(NotRunningError(f"thread {self.name} ended before it was ready"))
        self._end_signal.notify()

    def _after_fork(self, new_ident: int | None = None) -> None:
        """Called by `threading` after a fork (3.13); its own version asserts on a handle we do not have."""
        if new_ident is not None:
            self._thread_id = get_ident()


def destroy_hub_of_this_thread() -> None:
    """Frees the calling thread's hub and loop, if it has one; from its main greenlet, as the last thing.

    After it nothing in this thread may use what belonged to that hub.
    """
    hub = hub_of_this_thread()
    if hub is None:
        return
    # What waits for the end of the last greenlet has its turn: gevent's bookkeeping of patched threads
    # is among it, and would keep an entry of each for ever.
    gevent.sleep(0)
    hub.destroy(destroy_loop=True)
    # A hub that ever ran now stands in the middle of its `run`, where it holds itself alive for ever,
    # with all that its frames refer to (gevent 26.9).
    if not hub.dead:
        hub.throw(gevent.GreenletExit)


def _enter_active_threads(key: int, thread: threading.Thread) -> None:
    """Makes `threading.current_thread()` and `enumerate()` know the thread.

    There is no public way; without it each record that a handler logs names a "Dummy-1" thread. Where
    `threading` is patched each greenlet is a thread of its own, and ours has no place among them.
    """
    if not monkey.is_module_patched("threading"):
        cast("dict[int, threading.Thread]", threading._active)[key] = thread  # type: ignore[attr-defined]


def _leave_active_threads(key: int) -> None:
    cast("dict[int, threading.Thread]", threading._active).pop(key, None)  # type: ignore[attr-defined]
