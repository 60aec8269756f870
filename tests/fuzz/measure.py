"""What an input may cost: bytes that are allocated, and calls that are made. Not time, which is not the
input's alone; the command `python -m tests.fuzz bombs` shows it.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

DATAGRAM_BYTES = 1200
KIB = 1024
BOMB_BYTES = 64 * KIB
"""What a datagram that is refused may allocate at its peak."""
DENSE_BYTES = 112 * KIB
"""What one that is accepted may: each byte of 1.2 KB can be an empty dict, and five a message of its own."""
CALLS_PER_DATAGRAM = 20_000
"""Calls of functions, Python's and C's; some 40 to 150 ns each."""


@dataclass(frozen=True)
class Cost:
    peak_bytes: int
    calls: int


def datagrams(size: int) -> int:
    """How many datagrams it takes to bring so many bytes."""
    return max(1, -(-size // DATAGRAM_BYTES))


def cost_of(function: Callable[[], object]) -> Cost:
    """Runs a function twice, once for its memory and once for its calls."""
    return Cost(peak_of(function), calls_of(function))


def peak_of(function: Callable[[], object]) -> int:
    """Bytes that a function had allocated at its peak, beyond what stood before."""
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        gc.collect()
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        function()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not was_tracing:
            tracemalloc.stop()
    return peak - before


def calls_of(function: Callable[[], object]) -> int:
    """How many calls a function makes, itself included."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        if event == "call" or (event == "c_call" and not _is_tracer(argument)):
            calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


def _is_tracer(function: object) -> bool:
    """Whether a function is one that atheris puts into the code that it watches."""
    return str(getattr(function, "__module__", "")).startswith("atheris")


def check_cost(function: Callable[[], object], size: int) -> None:
    """Asserts that reading so many bytes costs no more than it may."""
    count = datagrams(size)
    peak = peak_of(function)
    if peak > DENSE_BYTES * count:
        peak = peak_of(function)  # once more: the interpreter's own tables grow now and then
    assert peak <= DENSE_BYTES * count, f"{size} bytes allocated {peak}"
    calls = calls_of(function)
    assert calls <= CALLS_PER_DATAGRAM * count, f"{size} bytes made {calls} calls"
