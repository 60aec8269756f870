"""What has to happen to the whole process: at the interpreter's exit, and in the child of a fork.

These two registries, and the gate of forks, are the library's only module-level mutable state. They are plain
dicts whose single operations the interpreter makes atomic; each is copied before it is walked.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from _thread import RLock
from collections.abc import Callable
from typing import Protocol

from pygase_gevent.locks import allocate_rlock

logger = logging.getLogger("pygase_gevent.hub")


class RunningThread(Protocol):
    """What the exit registry needs to know of a thread."""

    exit_timeout_s: float

    @property
    def name(self) -> str: ...

    @property
    def ident(self) -> int | None: ...

    @property
    def daemon(self) -> bool: ...

    def request_stop(self) -> None: ...

    def forget_after_fork(self) -> None: ...

    def join(self, timeout: float | None = None) -> None: ...


_threads: dict[int, RunningThread] = {}
_fork_callbacks: dict[object, Callable[[], None]] = {}
_fork_gate = allocate_rlock()


def enter_thread(thread: RunningThread) -> None:
    """Remembers a thread until `leave_thread`: exit and fork have to know it."""
    _threads[id(thread)] = thread


def leave_thread(thread: RunningThread) -> None:
    """Forgets a thread that ended."""
    _threads.pop(id(thread), None)


def running_threads() -> list[str]:
    """The names of the threads that were entered and have not left."""
    return [thread.name for thread in list(_threads.values())]


def is_hub_thread(ident: int) -> bool:
    """Whether the thread of this identifier was entered, and has not left: the exit takes care of it."""
    return any(thread.ident == ident for thread in list(_threads.values()))


def on_fork(callback: Callable[[], None]) -> None:
    """Has `callback` called in the child of every fork, until `forget_fork`.

    It closes what the child must not hold (sockets, keys). Only the forking thread exists there, and
    locks may be held for ever by threads that do not, so the callback takes none that a thread of the
    parent may have held.
    """
    _fork_callbacks[callback] = callback


def forget_fork(callback: Callable[[], None]) -> None:
    """Undoes `on_fork`; unknown callbacks are fine."""
    _fork_callbacks.pop(callback, None)


def no_fork() -> RLock:
    """Held while something is opened and registered with `on_fork`: forks of other threads wait for its end.

    For what takes microseconds and waits for nothing.
    """
    return _fork_gate


def _at_exit() -> None:
    """Holds the interpreter for non-daemon threads; asks daemon threads to end, and waits a little."""
    try:
        for thread in list(_threads.values()):
            if not thread.daemon:
                thread.join()
        daemons = [thread for thread in list(_threads.values()) if thread.daemon]
        for thread in daemons:
            thread.request_stop()
        deadline = time.monotonic() + max((thread.exit_timeout_s for thread in daemons), default=0.0)
        for thread in daemons:
            thread.join(max(deadline - time.monotonic(), 0.0))
    except KeyboardInterrupt:
        # Whoever presses Ctrl-C a second time means it, and wants no traceback.
        logger.debug("interrupted while hub threads were ending")


def _after_fork_in_child() -> None:
    _fork_gate.release()
    callbacks = list(_fork_callbacks.values())
    threads = list(_threads.values())
    _fork_callbacks.clear()
    _threads.clear()
    for thread in threads:
        thread.forget_after_fork()
    for callback in callbacks:
        try:
            callback()
        except Exception:
            logger.exception("closing in the child of a fork failed")


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_fork_gate.acquire,
        after_in_parent=_fork_gate.release,
        after_in_child=_after_fork_in_child,
    )
