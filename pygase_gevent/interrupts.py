"""What ends a run from outside: Ctrl-C and SIGTERM on the main thread, and the interpreter's exit."""

from __future__ import annotations

import atexit
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from gevent import getcurrent

from pygase_gevent.hub.signal import hub_of_this_thread


@contextmanager
def ended_by_signals(request_stop: Callable[[], None]) -> Iterator[None]:
    """Within the block, Ctrl-C and SIGTERM call `request_stop` instead of interrupting whatever runs.

    Only in the main greenlet of the main thread, where a blocking `run` is the program, and only for
    signals that nobody else has taken. A second Ctrl-C is a `KeyboardInterrupt` as always.
    """
    hub = hub_of_this_thread()
    if hub is None or not hub.main_hub or getcurrent().parent is not None:
        yield
        return
    was_interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal was_interrupted
        if was_interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        was_interrupted = True
        request_stop()

    taken: list[tuple[signal.Signals, object]] = []
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is default:
            taken.append((number, signal.signal(number, interrupt)))
    try:
        yield
    finally:
        for number, handler in taken:
            signal.signal(number, handler)  # type: ignore[arg-type]


@contextmanager
def ended_by_exit(say_goodbye: Callable[[], None]) -> Iterator[None]:
    """Within the block, the interpreter's exit calls `say_goodbye`, in the main thread."""
    atexit.register(say_goodbye)
    try:
        yield
    finally:
        atexit.unregister(say_goodbye)
