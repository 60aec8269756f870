"""What a client costs as clients, entities and event types grow in number: `python -m benchmarks growth`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import workloads
from benchmarks.contenders import CONTENDERS
from benchmarks.processes import Failed, cores, program
from benchmarks.table import aligned
from benchmarks.w1 import Probe, probe
from benchmarks.workloads import Lengths

FLAT = 0.15
SPENT = 0.9
"""A server that used this share of its core and fell short carries no more."""
BESIDE_ENTITIES = 20
BESIDE_TYPES = 50


@dataclass(frozen=True)
class Sizes:
    """What is tried. `clients` ends with the first number that the server does not carry."""

    clients: Sequence[int] = (10, 50, 100, 200, 400, 800, 1200, 1600)
    entities: Sequence[int] = (50, 100, 1_000, 10_000)
    event_types: Sequence[int] = (1, 10, 50, 200)
    connections: Sequence[int] = (50, 200, 600)
    measure_s: float = 4.0


QUICK = Sizes(
    clients=(10, 50, 100), entities=(100, 1_000), event_types=(1, 200), connections=(50,), measure_s=1.0
)


def run(*, quick: bool, as_json: bool, say: Callable[[str], None]) -> None:
    """Measures and prints."""
    sizes = QUICK if quick else Sizes()
    CONTENDERS["ours"].prepare()
    tables = {
        "clients": by_clients(sizes, say),
        "entities": by_entities(sizes, say),
        "event types": by_event_types(sizes, say),
        "connections": by_connections(sizes, say),
    }
    if as_json:
        print(json.dumps(tables, indent=1))
        return
    for title, rows in tables.items():
        print(f"\n{title}")
        if rows:
            grid = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
            print(aligned(grid))
    print(f"\n{flatness(tables['clients'])}")


def by_clients(sizes: Sizes, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """CPU of the server per client, also without what it costs to run the game for nobody."""
    empty = _empty_cpu(sizes.measure_s)
    rows = []
    for clients in sizes.clients:
        result = _probe(clients, sizes, say)
        rows.append(
            {
                **_row("clients", clients, result),
                "net CPU each, %": (result.server_cpu - empty) / clients * 100,
            }
        )
        if result.failure and result.server_cpu > SPENT:
            break
    return rows


def by_entities(sizes: Sizes, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The same ten move, in a larger state."""
    rows = []
    for entities in sizes.entities:
        result = _probe(BESIDE_ENTITIES, sizes, say, server_options=("--entities", str(entities)))
        rows.append(_row("entities", entities, result))
    return rows


def by_event_types(sizes: Sizes, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Inputs of so many types, in turn."""
    rows = []
    for types in sizes.event_types:
        options = ("--event-types", str(types))
        result = _probe(BESIDE_TYPES, sizes, say, server_options=options, load_options=options)
        rows.append(_row("event types", types, result))
    return rows


def by_connections(sizes: Sizes, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Memory per connection."""
    rows = []
    for connections in sizes.connections:
        try:
            figures = workloads.w6(CONTENDERS["ours"], Lengths(connections=connections))
        except Failed as error:
            say(f"{connections} connections: {error}")
            break
        say(f"{connections} connections: {figures}")
        rows.append(
            {
                "connections": connections,
                **{name.removeprefix("W6 "): value for name, value in figures.items()},
            }
        )
    return rows


def flatness(rows: Sequence[dict[str, Any]]) -> str:
    """Whether a client among many costs what one among few does."""
    costs = {row["clients"]: row["net CPU each, %"] for row in rows if row["held"] == "yes"}
    if len(costs) < 2:
        return "too few numbers of clients held to tell whether the cost is flat"
    least, most = min(costs.values()), max(costs.values())
    verdict = "flat within" if most <= least * (1 + FLAT) else "NOT flat within"
    growth = costs[max(costs)] / costs[min(costs)] - 1
    return (
        f"net CPU per client: {verdict} {FLAT:.0%}: {least:.3f} % to {most:.3f} % of a core; "
        f"{growth:+.0%} from {min(costs)} to {max(costs)} clients"
    )


def _probe(clients: int, sizes: Sizes, say: Callable[[str], None], **options: Any) -> Probe:
    result = probe(CONTENDERS["ours"], clients, measure_s=sizes.measure_s, **options)
    say(f"{clients} clients {options or ''}: {result.failure or 'held'}, server {result.server_cpu:.0%}")
    return result


def _row(name: str, number: int, result: Probe) -> dict[str, Any]:
    return {
        name: number,
        "held": result.failure or "yes",
        "server CPU, %": result.server_cpu * 100,
        "CPU each, %": result.server_cpu / result.clients * 100,
        "bytes each": result.bytes_down + result.bytes_up,
        "packets down": result.packets_down,
        "staleness p99, ms": result.staleness_p99_ms,
    }


def _empty_cpu(seconds: float) -> float:
    with program(CONTENDERS["ours"].server(), cores()[0]) as server:
        server.answer(30.0)
        time.sleep(0.5)
        before, begun = server.cpu_s(), time.monotonic()
        time.sleep(seconds)
        return (server.cpu_s() - before) / (time.monotonic() - begun)


def _text(value: Any) -> str:
    return (
        f"{value:,.3f}"
        if isinstance(value, float) and abs(value) < 10
        else (f"{value:,.1f}" if isinstance(value, float) else str(value))
    )
