"""What the single clients of W2 to W5 have in common: their arguments, and the rests between events."""

from __future__ import annotations

import argparse

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
