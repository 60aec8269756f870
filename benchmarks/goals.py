"""What must hold, and whether it does: ratios within one run, so that the machine's day does not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """One figure of ours against its measure.

    Attributes:
        row: of the table.
        least, aim: a contender in the same row, or a number; and the factor on it.
        less_is_better: whether ours is to lie below.
    """

    row: str
    least: tuple[Any, float]
    aim: tuple[Any, float] | None = None
    less_is_better: bool = True


GOALS = (
    Goal("W1 clients per core", ("colyseus", 1.0), ("bare", 0.85), less_is_better=False),
    Goal("W1 clients per core", ("enet", 1.0), ("pygase", 20.0), less_is_better=False),
    Goal("W1 bytes per client and second", ("enet", 1.0), ("colyseus", 1.0)),
    Goal("W1 bytes per client and second", ("pygase", 1.0)),
    Goal("W2 round trip p50, ms", ("bare", 2.0), ("bare", 1.4)),
    Goal("W2 round trip p99, ms", ("bare", 3.0), ("enet", 1.0)),
    Goal("W3 reliable events/s", (100_000.0, 1.0), ("colyseus", 1.0), less_is_better=False),
    Goal("W4 20% loss: event p50, ms", (100.0, 1.0)),
    Goal("W4 20% loss: event p99, ms", (300.0, 1.0), (200.0, 1.0)),
    Goal("W4 20% loss: duplicates", (0.0, 1.0)),
    Goal("W4 20% loss: out of order", (0.0, 1.0)),
    Goal("W4 20% loss: staleness p99, ms", ("enet", 1.0)),
    Goal("W4 5% loss: event p99, ms", (150.0, 1.0), (120.0, 1.0)),
    Goal("W5 join with 100 KiB of state, ms", (20.0, 1.0), (10.0, 1.0)),
    Goal("W5 event of 1 MiB, up, ms", (150.0, 1.0), (60.0, 1.0)),
    Goal("W5 event of 1 MiB, down, ms", (150.0, 1.0), (60.0, 1.0)),
    Goal("W6 KiB per connection, tracemalloc", (20.0, 1.0), (10.0, 1.0)),
)


def judged(results: Results) -> list[tuple[str, str, str, str]]:
    """Per goal: the row, our figure, what must hold and what is aimed at, each with whether it does."""
    lines = []
    for goal in GOALS:
        ours = _median(results, goal.row, "ours")
        if ours is not None:
            cells = [_verdict(results, goal, ours, measure) for measure in (goal.least, goal.aim)]
            lines.append((goal.row, _short(ours), *cells))
    return lines  # type: ignore[return-value]


def _verdict(results: Results, goal: Goal, ours: float, measure: tuple[Any, float] | None) -> str:
    if measure is None:
        return ""
    of, factor = measure
    value = _median(results, goal.row, of) if isinstance(of, str) else of
    if value is None:
        return f"{of} was not measured"
    compare: Callable[[float, float], bool] = float.__le__ if goal.less_is_better else float.__ge__
    limit = value * factor
    name = "" if not isinstance(of, str) else f" ({'' if factor == 1 else f'{factor:g} x '}{of})"
    return f"{_short(limit)}{name}: {'yes' if compare(float(ours), float(limit)) else 'NO'}"


def _median(results: Results, row: str, contender: str) -> float | None:
    median: float | None = results["rows"].get(row, {}).get(contender, {}).get("median")
    return median


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
