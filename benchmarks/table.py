"""The results for people."""

from __future__ import annotations

from typing import Any

from benchmarks.goals import judged

Results = dict[str, Any]
NOTHING = "-"


def as_text(results: Results) -> str:
    """Aligned columns."""
    parts = [aligned(_grid(results))]
    goals = judged(results)
    if goals:
        parts.append(aligned([["ours", "figure", "must hold", "aim"], *map(list, goals)]))
    parts.append("\n".join(_remarks(results)))
    return "\n\n".join(parts)


def as_markdown(results: Results, command: str) -> str:
    """What is kept as RESULTS.md."""
    goals = judged(results)
    parts = [
        "# Results",
        f"Written by `{command}`; see README.md beside this file. Medians of {results['repeats']} "
        "interleaved repeats, the least and the most in brackets.",
        _pipes(_grid(results)),
    ]
    if goals:
        parts += ["## What must hold", _pipes([["ours", "figure", "must hold", "aim"], *map(list, goals)])]
    parts += ["## Measured on", "\n".join(f"- {remark}" for remark in _remarks(results))]
    return "\n\n".join(parts) + "\n"


def _grid(results: Results) -> list[list[str]]:
    names = list(results["titles"])
    grid = [["workload", *results["titles"].values()]]
    for row, cells in results["rows"].items():
        grid.append([row, *(_cell(results, name, cells.get(name)) for name in names)])
    return grid


def _cell(results: Results, name: str, summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "missing" if results["versions"][name].startswith("missing") else NOTHING
    if "text" in summary:
        return str(summary["text"])
    median = _number(summary["median"])
    if len(summary["values"]) == 1 or summary["min"] == summary["max"]:
        return median
    return f"{median} ({_number(summary['min'])} to {_number(summary['max'])})"


def _number(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _remarks(results: Results) -> list[str]:
    machine = [f"{name}: {text}" for name, text in results["machine"].items()]
    versions = [f"{results['titles'][name]}: {version}" for name, version in results["versions"].items()]
    return [*machine, *versions, *results["notes"], *(f"failed: {text}" for text in results["failures"])]


def aligned(grid: list[list[str]]) -> str:
    """Columns, all but the first to the right."""
    widths = [max(len(row[column]) for row in grid) for column in range(len(grid[0]))]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in grid
    )


def _pipes(grid: list[list[str]]) -> str:
    head, *rows = ["| " + " | ".join(row) + " |" for row in grid]
    return "\n".join([head, "|" + "---|" * len(grid[0]), *rows])
