"""What monkey-patching means for hubs in native threads.

Under `patch_all()` the locks of the `logging` module and of its handlers are gevent's, and those fail
where several native threads want one at the same time (gevent 26.9): the log call of one of them hangs,
or raises `LoopExit` out of an innocent `logger.info`. A hub thread makes a process one of several
native threads, so before it starts, logging gets the interpreter's own locks back, as
`monkey.patch_thread(logging=False)` leaves them.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, cast

from gevent import events, monkey

from pygase_gevent.hub import process
from pygase_gevent.locks import allocate_rlock

logger = logging.getLogger("pygase_gevent.hub")

_NativeRLock = type(allocate_rlock())


class _LoggingLock(_NativeRLock):  # type: ignore[misc, valid-type]
    """logging's own lock, put in its place while others may be between acquiring and releasing it.

    Whoever acquired the one before releases this one, once.
    """

    def release(self) -> None:
        with suppress(RuntimeError):
            super().release()


def prepare_for_hub_threads() -> None:
    """To be called before a hub thread starts. Idempotent."""
    if monkey.is_module_patched("threading"):
        _make_logging_native()
    elif _patched_meanwhile not in events.subscribers:
        events.subscribers.append(_patched_meanwhile)


def _patched_meanwhile(event: object) -> None:
    if not isinstance(event, events.GeventDidPatchModuleEvent) or event.module_name != "threading":
        return
    _make_logging_native()
    if running := process.running_threads():
        logger.warning(
            "gevent.monkey patched `threading` while %s ran. They go on, but locks and queues that the "
            "program makes from now on are gevent's, and those it made before are native: a greenlet that "
            "waits on one of the latter stops its whole thread. Patch before anything is started, best "
            "in the first lines of the program",
            ", ".join(sorted(running)),
        )


def _make_logging_native() -> None:
    module = cast("Any", logging)
    if not isinstance(module._lock, _NativeRLock):
        module._lock = _LoggingLock()
        module.Handler.createLock = _create_native_lock
    for reference in list(module._handlerList):
        handler = reference()
        lock = getattr(handler, "lock", None)
        # One that somebody holds at this moment is left for the next time.
        if lock is not None and not isinstance(lock, _NativeRLock) and lock.acquire(blocking=False):
            handler.lock = allocate_rlock()
            lock.release()


def _create_native_lock(handler: Any) -> None:
    """What `logging.Handler.createLock` does, with a native lock."""
    handler.lock = allocate_rlock()
    cast("Any", logging)._register_at_fork_reinit_lock(handler)
