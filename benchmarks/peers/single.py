"""What the single clients of W2 to W5 have in common: their arguments, and the rests between events."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from benchmarks.peers import game

LIMIT_S = 30.0
"""How long an answer is waited for."""
REST_S = 0.002
"""Between two round trips, so that each finds both sides asleep."""
LINE_HZ = 50.0
STALENESS_STEP_S = 0.005
BATCH = 64
LARGE_BYTES = 1024 * 1024 - 64
BLOB_BYTES = 100 * 1024


def arguments() -> argparse.Namespace:
    """The command line of all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=("w2", "w3", "w4", "w5"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=500, help="round trips, events or repeats")
    parser.add_argument("--settle", type=float, default=1.0)
    parser.add_argument("--measure", type=float, default=3.0)
    return parser.parse_args()


class Player(Protocol):
    """A connected client that knows how to play W2 to W4."""

    def round_trip_ms(self, number: int) -> float:
        """One round trip, and a rest."""

    def flood(self, seconds: float) -> None:
        """Reliable events as fast as they go."""

    def line(self, count: int) -> list[float]:
        """So many events at `LINE_HZ`, and how old the state was meanwhile, in milliseconds."""

    def stay(self, seconds: float) -> None:
        """Be there and answer."""


def main(connect: Callable[[int], Player]) -> None:
    """A peer's client: does what the command line says and tells the benchmark.

    Args:
        connect: makes a player, given the port.
    """
    options = arguments()
    player = connect(options.port)
    result: dict[str, Any] = {}
    if options.workload == "w2":
        times = [player.round_trip_ms(number) for number in range(options.count)]
        result = {"round_trip_ms": game.percentiles(times)}
    elif options.workload == "w3":
        player.flood(options.settle)
        cpu = time.process_time()
        game.say({"phase": "measuring"})
        player.flood(options.measure)
        result = {"took_s": options.measure, "cpu": (time.process_time() - cpu) / options.measure}
    else:
        result = {"staleness_ms": game.percentiles(player.line(options.count))}
    game.say({"phase": "done", **result})
    if options.workload == "w4":
        player.stay(LIMIT_S * 4)  # what was lost comes again; the benchmark ends this process
    os._exit(0)  # whatever threads the peer has
