"""What is run, in which order, and what came of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks import machine, w1, workloads
from benchmarks.contenders import Contender
from benchmarks.processes import Failed, Unavailable
from benchmarks.workloads import Figures, Lengths

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How thorough a run is.

    Attributes:
        repeats: of everything, interleaved: all contenders once, then all again.
        measure_s: of a run of W1.
        settle_s: before it.
        connect_rate: clients a second that are started.
        resolution: of its search, share of the number found.
        questions: numbers of clients tried at the most.
        losses: of W4.
        lengths: of the others.
    """

    repeats: int = 3
    measure_s: float = 4.0
    settle_s: float = 1.0
    connect_rate: float = 400.0
    resolution: float = 0.03
    questions: int = 12
    losses: Sequence[float] = (0.2, 0.05)
    lengths: Lengths = field(default_factory=Lengths)


FULL = Plan()
QUICK = Plan(
    repeats=1,
    measure_s=1.0,
    settle_s=0.5,
    connect_rate=800.0,
    resolution=0.2,
    questions=2,
    losses=(0.2,),
    lengths=Lengths(
        round_trips=100,
        flood_s=1.0,
        events=100,
        repeats=2,
        connections=30,
        gone_limit_s=3.0,
        settle_s=0.3,
    ),
)


def run(
    plan: Plan, only: Sequence[str], contenders: Sequence[Contender], repeats: int, say: Say
) -> dict[str, Any]:
    """Measures; the results as they go into the table."""
    versions, present = _prepared(contenders, say)
    rows: dict[str, dict[str, list[Any]]] = {}
    failures: list[str] = []
    guesses = {contender.name: contender.guess for contender in present}
    for repeat in range(repeats):
        for workload in only:
            for contender in present:
                if workload not in contender.workloads:
                    continue
                say(f"[{repeat + 1}/{repeats}] {workload} {contender.title}")
                try:
                    figures = _measured(workload, contender, plan, guesses, say)
                except (Failed, Unavailable) as error:
                    say(f"  failed: {error}")
                    failures.append(f"{workload}, {contender.title}: {error}")
                    continue
                for row, figure in figures.items():
                    rows.setdefault(row, {}).setdefault(contender.name, []).append(figure)
    return {
        "machine": machine.description(),
        "repeats": repeats,
        "versions": versions,
        "titles": {contender.name: contender.title for contender in contenders},
        "notes": [f"{c.title}: {note}" for c in contenders for note in c.notes],
        "rows": {
            row: {name: _summary(values) for name, values in cells.items()} for row, cells in rows.items()
        },
        "failures": failures,
    }


def _prepared(contenders: Sequence[Contender], say: Say) -> tuple[dict[str, str], list[Contender]]:
    versions: dict[str, str] = {}
    present = []
    for contender in contenders:
        try:
            versions[contender.name] = contender.prepare()
            present.append(contender)
        except Unavailable as error:
            versions[contender.name] = f"missing: {error}"
            say(f"{contender.title} is missing: {error}")
    return versions, present


def _measured(workload: str, contender: Contender, plan: Plan, guesses: dict[str, int], say: Say) -> Figures:
    if workload == "W1":
        return _w1(contender, plan, guesses, say)
    if workload == "W4":
        figures: Figures = {}
        for loss in plan.losses:
            figures |= workloads.w4(contender, plan.lengths, loss)
        return figures
    functions: dict[str, Callable[[Contender, Lengths], Figures]] = {
        "W2": workloads.w2,
        "W3": workloads.w3,
        "W5": workloads.w5,
        "W6": workloads.w6,
    }
    return functions[workload](contender, plan.lengths)


def _w1(contender: Contender, plan: Plan, guesses: dict[str, int], say: Say) -> Figures:
    found = w1.measure(
        contender,
        guesses[contender.name],
        measure_s=plan.measure_s,
        settle_s=plan.settle_s,
        connect_rate=plan.connect_rate,
        resolution=plan.resolution,
        questions=plan.questions,
        say=lambda text: say("  " + text),
    )
    if found["clients"] == 0:
        raise Failed(f"not even one client was served: {found['failure']}")
    guesses[contender.name] = found["clients"]
    return {
        "W1 clients per core": found["clients"],
        "W1 bytes per client and second": found["bytes"],
        "W1 packets down / up": f"{found['packets_down']:.0f} / {found['packets_up']:.0f}",
        "W1 staleness p50, ms": found["staleness_p50_ms"],
        "W1 staleness p99, ms": found["staleness_p99_ms"],
        "W1 bottleneck": found["bottleneck"],
    }


def _summary(values: list[Any]) -> dict[str, Any]:
    """Median, smallest and largest; of texts the last."""
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        return {"text": values[-1], "values": values}
    return {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers), "values": values}
