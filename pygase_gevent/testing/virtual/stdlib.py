"""What the standard library waits with, tells the time with and draws by chance, in virtual time.

Game code that was never patched calls `time.sleep`, reads `time.monotonic`, waits on a
`threading.Event`, draws from `random`. In the real world those stop a native thread, which in the
virtual one would be everybody. So within a virtual world these functions look who calls: greenlets of
the virtual hub get gevent's, or virtual ones; all other threads get what was there before.

They are replaced where they stand, so `time.sleep(1)` is found and `from time import sleep` before is
not; patched programs (`gevent.monkey`) have gevent's anyway.
"""

from __future__ import annotations

import os
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import gevent
from gevent.lock import RLock
from gevent.thread import LockType  # type: ignore[import-not-found]  # has no stub

from pygase_gevent.hub.signal import hub_of_this_thread
from pygase_gevent.testing.virtual.environment import VirtualEnvironment, VirtualThread

_THREAD_SLOT = "_pygase_virtual_thread"


@contextmanager
def virtual_stdlib(environment: VirtualEnvironment, *, seed: str) -> Iterator[None]:
    """Within the block the standard library lives in the world of `environment`.

    Args:
        environment: which.
        seed: of `random` and of every generator made without a seed of its own.
    """
    loop = environment.loop

    def is_virtual() -> bool:
        hub = hub_of_this_thread()
        return hub is not None and hub is loop.error_handler

    with ExitStack() as stack:

        def replace(owner: Any, name: str, virtual: Callable[..., Any]) -> None:
            if not hasattr(owner, name):
                return
            original = getattr(owner, name)

            @wraps(original, updated=())
            def choose(*args: Any, **kwargs: Any) -> Any:
                return (virtual if is_virtual() else original)(*args, **kwargs)

            put(owner, name, choose)

        def put(owner: Any, name: str, value: object) -> None:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)

        def seconds(read: Callable[[], float], *names: str) -> None:
            for name in names:
                replace(time, name, read)
                replace(time, f"{name}_ns", lambda: round(read() * 1e9))

        replace(time, "sleep", gevent.sleep)
        seconds(environment.now, "monotonic", "perf_counter")
        seconds(environment.precise_unix_time, "time")
        for module, clock in ((threading, "_time"), (queue, "time")):  # what their timeouts go by
            replace(module, clock, environment.now)

        for name, lock in (("Lock", LockType), ("_allocate_lock", LockType), ("RLock", RLock)):
            replace(threading, name, lock)
        # Python's own in Python: a deque and a semaphore, which is made of the locks above.
        put(queue, "SimpleQueue", queue._PySimpleQueue)  # type: ignore[attr-defined]
        for name, method in _thread_methods(environment).items():
            replace(threading.Thread, name, method)
        replace(threading, "current_thread", _current_thread(environment))

        replace(os, "urandom", environment.entropy)
        _seed_random(replace, environment)
        stack.callback(random.setstate, random.getstate())
        random.seed(seed)
        yield


def _seed_random(
    replace: Callable[[Any, str, Callable[..., Any]], None], environment: VirtualEnvironment
) -> None:
    seed_generator = random.Random.seed

    def seed(generator: random.Random, a: Any = None, version: int = 2) -> None:
        seed_generator(generator, environment.entropy(32) if a is None else a, version)

    replace(random.Random, "seed", seed)


def _thread_methods(environment: VirtualEnvironment) -> dict[str, Callable[..., Any]]:
    """What a plain `threading.Thread` does in the virtual world: it has a `VirtualThread` run it."""
    original = {name: getattr(threading.Thread, name) for name in ("start", "join", "is_alive")}

    def start(thread: threading.Thread) -> None:
        if thread._started.is_set():  # type: ignore[attr-defined]
            raise RuntimeError("threads can only be started once")
        virtual = VirtualThread(environment, thread.run, name=thread.name, daemon=thread.daemon)
        virtual.plain_thread = thread
        setattr(thread, _THREAD_SLOT, virtual)
        thread._started.set()  # type: ignore[attr-defined]
        virtual.start()

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        virtual = getattr(thread, _THREAD_SLOT, None)
        if virtual is None:
            original["join"](thread, timeout)
        else:
            virtual.join(timeout)

    def is_alive(thread: threading.Thread) -> bool:
        virtual = getattr(thread, _THREAD_SLOT, None)
        return bool(original["is_alive"](thread) if virtual is None else virtual.is_alive())

    return {"start": start, "join": join, "is_alive": is_alive}


def _current_thread(environment: VirtualEnvironment) -> Callable[[], threading.Thread]:
    original = threading.current_thread

    def current_thread() -> threading.Thread:
        virtual = environment.current_thread
        if virtual is None:
            return original()
        return virtual.plain_thread or virtual

    return current_thread
