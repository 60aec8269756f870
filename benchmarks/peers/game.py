"""The game that all servers play, and how they talk to the benchmark: the same for every library.

Imported by servers of libraries that live in another interpreter's environment, so it needs the standard
library alone.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import resource
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

ENTITIES = 50
MOVING = 10
HZ = 40.0
HP = 100
STAMP_BASE = 1 << 40
"""Added to the clock, so that msgpack has it in eight bytes however shortly the machine is up."""


def stamp_us() -> int:
    """The clock in the state: of the machine, so that other processes can compare it with theirs."""
    return time.monotonic_ns() // 1000 + STAMP_BASE


def position(number: int, tick: int) -> tuple[float, float]:
    """Where an entity is: a float that needs its digits."""
    return (number * 37.1 + tick * 0.173) % 1000.0, (number * 11.7 + tick * 0.291) % 1000.0


def entities(count: int = ENTITIES) -> dict[int, dict[str, Any]]:
    """All of them before the first tick."""
    places = (position(number, 0) for number in range(count))
    return {number: {"x": x, "y": y, "hp": HP} for number, (x, y) in enumerate(places)}


def moved(tick: int, count: int = ENTITIES, moving: int = MOVING) -> dict[int, dict[str, Any]]:
    """Who moves in a tick, in turn: changes of x and y."""
    changes = {}
    for offset in range(min(moving, count)):
        number = (tick * moving + offset) % count
        x, y = position(number, tick)
        changes[number] = {"x": x, "y": y}
    return changes


class Referee:
    """Counts the inputs of each client, and answers the benchmark's questions over standard input.

    The benchmark writes `mark` when its window begins and `report` when it ends; `end`, or closing the pipe,
    ends the process. More questions may be given as functions by name.
    """

    def __init__(self, questions: dict[str, Callable[[], Any]] | None = None) -> None:
        self.inputs: Counter[Any] = Counter()
        self._questions = questions or {}
        self._marked: Counter[Any] = Counter()
        self._marked_at = 0.0
        self._lines: list[tuple[int, float]] = []
        self._questions.setdefault("lines", self._line_report)

    def line(self, number: int, sent_us: int) -> None:
        """An event of W4 arrived at its handler."""
        self._lines.append((number, (stamp_us() - sent_us) / 1000))

    def ready(self, port: int) -> None:
        """Tells the benchmark where the server listens; its garbage collector is set as a large one's."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        say({"port": port, "pid": os.getpid()})

    def serve(self) -> None:
        """Answers until the end. For the main thread, while the server runs in another."""
        for line in sys.stdin:
            command = line.strip()
            if command == "mark":
                self._marked, self._marked_at = Counter(self.inputs), time.monotonic()
                say({})
            elif command == "report":
                say(self._report())
            elif command in self._questions:
                say(self._questions[command]())
            else:
                break
        sys.stdout.flush()
        os._exit(0)

    def _report(self) -> dict[str, Any]:
        took_s = time.monotonic() - self._marked_at
        counts = Counter(self.inputs)
        counts.subtract(self._marked)
        rates = sorted(count / took_s for count in counts.values())
        return {
            "clients": len(rates),
            "inputs_hz_min": rates[0] if rates else 0.0,
            "inputs_hz_p50": rates[len(rates) // 2] if rates else 0.0,
            "events_per_s": sum(rates),
        }

    def _line_report(self) -> dict[str, Any]:
        numbers = [number for number, _ in self._lines]
        return {
            "delivered": len(set(numbers)),
            "duplicates": len(numbers) - len(set(numbers)),
            "out_of_order": sum(late < early for early, late in itertools.pairwise(numbers)),
            "latency_ms": percentiles([latency for _, latency in self._lines]),
        }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """What the tables show of many values."""
    ordered = sorted(values) or [0.0]
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    figures = {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in shares.items()
    }
    return {**figures, "n": float(len(values))}


def memory() -> dict[str, int]:
    """Bytes in RAM, and those that tracemalloc follows if it was started."""
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * resource.getpagesize()
    return {"rss": resident, "traced": tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0}


def say(answer: Any) -> None:
    """One line of JSON to the benchmark."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
