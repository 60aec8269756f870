"""Which lines the bytes of a connection come from, and which keep some of it when it is gone:
`python -m benchmarks memory`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.contenders import CONTENDERS
from benchmarks.workloads import CALM_HZ, FEW, SHORT_LIVES, Lengths, crowd, server_of

PATIENCE = {"timeout_s": 5.0, "resume_after_s": 4.0}
"""A snapshot of the memory holds the server for longer than a client's second of W6."""
Row = tuple[str, int, int]
"""A line, the bytes that came there, and in how many blocks."""


def run(*, clients: int, shown: int, only_left: bool, group: str) -> str:
    """Tables of the lines with most bytes per connection: while all play, and after all vanished.

    Args:
        clients: how many play.
        shown: lines of each table.
        only_left: leave the first table out.
        group: `line` or `file`.
    """
    contender = CONTENDERS["ours"]
    contender.prepare()
    lengths = replace(Lengths(), connections=clients)
    options = ("--trace-memory", "--config", json.dumps({**SHORT_LIVES, **PATIENCE}), "--hz", CALM_HZ)
    with server_of(contender, *options) as (server, port):
        crowd(contender, server, port, FEW, lengths)
        server.ask("mark memory")
        full: list[Row] = []

        def look() -> None:
            full.extend(map(_row, server.ask(f"memory by {group}")))

        crowd(contender, server, port, clients, lengths, look)
        left = [_row(row) for row in server.ask(f"memory by {group}")]
    tables = [] if only_left else [_table("of a connection", full, clients, shown)]
    return "\n\n".join([*tables, _table("left of it", left, clients, shown)])


def _row(row: Sequence[object]) -> Row:
    place, size, count = row
    return str(place), int(str(size)), int(str(count))


def _table(title: str, rows: Sequence[Row], clients: int, shown: int) -> str:
    total = sum(row[1] for row in rows)
    lines = [f"{total / clients:8.0f} bytes {title}, in {sum(row[2] for row in rows) / clients:.1f} blocks:"]
    for place, size, count in sorted(rows, key=lambda row: -abs(row[1]))[:shown]:
        lines.append(f"{size / clients:8.1f} {count / clients:7.2f}  {place}")
    return "\n".join(lines)
