"""The command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import growth, memory, profiling, setting_up, w1
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.plan import FULL, QUICK, Plan, run
from benchmarks.processes import Failed, Unavailable
from benchmarks.table import as_markdown, as_text

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what was asked for."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (Failed, Unavailable) as error:
        sys.exit(f"benchmarks: {error}")
    except KeyboardInterrupt:
        sys.exit("benchmarks: interrupted")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures ours beside its peers."
    )
    parser.set_defaults(run=_run_table)
    parser.add_argument("--only", type=_workloads, default=WORKLOADS, help="such as W1,W3")
    parser.add_argument(
        "--peers", type=_contenders, default=tuple(CONTENDERS.values()), help="such as ours,bare"
    )
    parser.add_argument("--quick", action="store_true", help="one repeat of short runs: under two minutes")
    parser.add_argument("--repeats", type=int, help="interleaved; the table has medians (3, with --quick 1)")
    parser.add_argument("--json", action="store_true", help="the results as JSON")
    parser.add_argument("--write", action="store_true", help=f"also into {RESULTS.name}")
    commands = parser.add_subparsers(title="other commands")

    setup = commands.add_parser(
        "setup", help="install the peers into benchmarks/.build, build the load generator"
    )
    setup.set_defaults(run=lambda options: setting_up.set_up(print))

    w1_command = commands.add_parser("w1", help="one run of W1 with so many clients, or the search")
    w1_command.set_defaults(run=_run_w1)
    _add_server_options(w1_command)
    w1_command.add_argument("--clients", type=int, help="no search: so many")
    w1_command.add_argument("--measure", type=float, default=3.0, help="seconds")

    profile = commands.add_parser("profile", help="where the W1 server's time goes (py-spy)")
    profile.set_defaults(run=_run_profile)
    _add_server_options(profile)
    profile.add_argument("--clients", type=int, default=200)
    profile.add_argument("--seconds", type=float, default=8.0)
    profile.add_argument("--svg", type=Path, help="write a flame graph there")
    profile.add_argument("--native", action="store_true", help="C functions too")

    growing = commands.add_parser(
        "growth", help="cost per client, entity and event type as they grow in number"
    )
    growing.set_defaults(run=lambda options: growth.run(quick=options.quick, as_json=options.json, say=_say))
    growing.add_argument("--quick", action="store_true")
    growing.add_argument("--json", action="store_true")

    remembering = commands.add_parser("memory", help="which lines the bytes of a connection come from")
    remembering.set_defaults(
        run=lambda options: print(
            memory.run(clients=options.clients, shown=options.lines, only_left=options.left, group=options.by)
        )
    )
    remembering.add_argument("--clients", type=int, default=40)
    remembering.add_argument("--lines", type=int, default=40, help="of each table")
    remembering.add_argument("--by", choices=("line", "file"), default="line")
    remembering.add_argument("--left", action="store_true", help="only what is left when all are gone")
    return parser


def _add_server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer", type=_contender, default=CONTENDERS["ours"])
    parser.add_argument(
        "--server", default="", help='more of the server\'s arguments: --server="--inputs server"'
    )


def _workloads(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().upper() for name in text.split(","))
    for name in names:
        if name not in WORKLOADS:
            raise argparse.ArgumentTypeError(f"there is no {name}; there are {', '.join(WORKLOADS)}")
    return names


def _contender(text: str) -> Contender:
    try:
        return CONTENDERS[text.strip()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no {text}; there are {', '.join(CONTENDERS)}") from None


def _contenders(text: str) -> tuple[Contender, ...]:
    return tuple(_contender(name) for name in text.split(","))


def _run_table(options: argparse.Namespace) -> None:
    plan: Plan = QUICK if options.quick else FULL
    results = run(plan, options.only, options.peers, options.repeats or plan.repeats, _say)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        print(as_text(results))
    if options.write:
        command = "python -m benchmarks " + " ".join(sys.argv[1:])
        RESULTS.write_text(as_markdown(results, command))


def _run_w1(options: argparse.Namespace) -> None:
    contender: Contender = options.peer
    contender.prepare()
    server_options = options.server.split()
    if options.clients:
        print(w1.probe(contender, options.clients, measure_s=options.measure, server_options=server_options))
        return
    found = w1.measure(
        contender,
        contender.guess,
        measure_s=options.measure,
        resolution=0.03,
        say=_say,
        server_options=server_options,
    )
    print(json.dumps(found, indent=1))


def _run_profile(options: argparse.Namespace) -> None:
    contender: Contender = options.peer
    contender.prepare()
    print(
        profiling.profile(
            contender,
            options.clients,
            seconds=options.seconds,
            svg=options.svg,
            native=options.native,
            server_options=options.server.split(),
        )
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
