"""Native threads without a hub, also where `threading` is patched, for tests that cross threads."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from gevent import monkey

from pygase_gevent.hub.signal import Outcome

_start = monkey.get_original("_thread", "start_new_thread")
native_sleep: Callable[[float], None] = monkey.get_original("time", "sleep")
native_lock: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")


def run_natively(function: Callable[..., Any], *args: Any) -> Outcome[Any]:
    """Runs `function(*args)` in a native thread; the outcome is what it returns or raises."""
    outcome: Outcome[Any] = Outcome()

    def run() -> None:
        try:
            result = function(*args)
        except BaseException as error:
            outcome.set_error(error)
        else:
            outcome.set_result(result)

    _start(run, ())
    return outcome


@contextlib.contextmanager
def switching_often() -> Iterator[None]:
    """The interpreter switches between threads as often as it can."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
