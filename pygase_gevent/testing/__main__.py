"""The command line: `python -m pygase_gevent.testing soak` and `... replay`."""

from __future__ import annotations

import argparse
import sys

from pygase_gevent.testing.soak import SOAK_S, report, run_seed, soak


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 1 if a promise was broken."""
    options = _parser().parse_args(arguments)
    if options.command == "soak":
        total = soak(options.hours, jobs=options.jobs, seed=options.seed, duration_s=options.duration)
        return 1 if total.violations else 0
    result, cpu_s = run_seed(options.seed, options.duration, is_twice=options.twice)
    if options.verbose:
        print(result.options)
        print("\n".join(result.last_lines))
    if result.violation is not None:
        print(report(result))
        return 1
    print(
        f"seed {options.seed}: no violation in {result.virtual_s:.1f} virtual seconds "
        f"({result.session_s:.0f} session-seconds, {result.datagrams} datagrams, {cpu_s:.1f} s of CPU); "
        f"trace {result.digest}"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pygase_gevent.testing",
        description="Simulates servers, clients and bad networks in virtual time, and holds the library's "
        "promises against what happens.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    soaking = commands.add_parser("soak", help="run seed after seed")
    soaking.add_argument(
        "--hours",
        type=float,
        required=True,
        help="hours of sessions: a server with 8 clients makes 8 an hour",
    )
    soaking.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    soaking.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    replaying = commands.add_parser("replay", help="run one seed again")
    replaying.add_argument("--seed", type=int, required=True)
    replaying.add_argument("--twice", action="store_true", help="and compare the traces of two runs")
    replaying.add_argument(
        "--verbose",
        action="store_true",
        help="print the options, and after a violation the last of the trace",
    )
    for command in (soaking, replaying):
        command.add_argument(
            "--duration", type=float, default=SOAK_S, metavar="SECONDS",
            help=f"virtual seconds with faults of each run (default: {SOAK_S:g})",
        )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
