"""Locks that are native whatever was monkey-patched.

Under `gevent.monkey.patch_all()` a `threading.Lock` shared by native threads hangs, since it then
belongs to one thread's hub. These are the interpreter's own. Inside one nothing yields and nothing
logs; nobody holds one while it works or waits.
"""

from __future__ import annotations

from _thread import LockType, RLock
from collections.abc import Callable
from typing import cast

from gevent import monkey

allocate_lock: Callable[[], LockType] = cast(
    "Callable[[], LockType]", monkey.get_original("_thread", "allocate_lock")
)
allocate_rlock: Callable[[], RLock] = cast("Callable[[], RLock]", monkey.get_original("_thread", "RLock"))
"""For what a Python signal handler may enter too: it runs in the main thread between any two
instructions, also between those inside a lock that this very thread holds."""

get_ident: Callable[[], int] = cast("Callable[[], int]", monkey.get_original("_thread", "get_ident"))
