"""`python -m tests.fuzz --target NAME --seconds N`: one target under atheris, which learns from coverage.

`python -m tests.fuzz bombs` prints what decoder bombs cost.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
NAMES = (
    "codec",
    "connect_token",
    "cores",
    "fragments",
    "frames",
    "identity",
    "messages",
    "names",
    "netcode",
    "session",
    "statesync",
)
UNMEASURED = ("cores", "fragments", "netcode", "session")
"""Targets that look at containers, not at allocations, and are faster where nobody traces those."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("bombs",), help="print what decoder bombs cost")
    parser.add_argument("--target", choices=NAMES, help="run this target under atheris")
    parser.add_argument("--seconds", type=int, default=600, help="for so long (default 600)")
    parser.add_argument("--found", type=Path, help="directory for new inputs (default: a new one)")
    options = parser.parse_args(arguments)
    if options.command == "bombs":
        from tests.fuzz.bombs import report

        return report()
    if options.target is None:
        parser.error("say --target NAME, or bombs")
    if importlib.util.find_spec("atheris") is None:
        print(
            "Fuzzing with coverage needs atheris: pip install 'pygase-gevent[fuzz]'. "
            "The test suite runs the same targets without it.",
            file=sys.stderr,
        )
        return 2
    found = options.found or Path(tempfile.mkdtemp(prefix=f"fuzz-{options.target}-"))
    found.mkdir(parents=True, exist_ok=True)
    return _fuzz(options.target, options.seconds, found)


def _fuzz(name: str, seconds: int, found: Path) -> int:
    """Runs a target until time is up, or an input escapes: libFuzzer says which, and ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["pygase_gevent"]):
        targets = importlib.import_module("tests.fuzz.targets")
    target = targets.TARGETS[name]
    arguments = [
        "tests.fuzz",
        str(found),
        str(CORPUS / name),
        f"-max_total_time={seconds}",
        f"-artifact_prefix={found}/",
        "-max_len=2400",
        "-len_control=0",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    atheris.Setup(arguments, target)
    if name not in UNMEASURED:
        tracemalloc.start()
    print(f"{name}: {seconds} s from {time.strftime('%H:%M:%S')}, new inputs in {found}", flush=True)
    atheris.Fuzz()  # ends the process
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
