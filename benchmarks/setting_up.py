"""Installs what the benchmarks need beside the library: `python -m benchmarks setup`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.build import load_program
from benchmarks.contenders import COLYSEUS, ENVIRONMENT
from benchmarks.processes import Unavailable

REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"


def set_up(say: Callable[[str], None]) -> None:
    """The load generator, PyGaSe and ENet in an environment of their own, Colyseus beside its programs.

    What cannot be had is said, and is missing from the table.
    """
    for name, step in (
        ("the load generator", load_program),
        ("PyGaSe, ENet, py-spy", _python_peers),
        ("Colyseus", _node_peers),
    ):
        try:
            step()
            say(f"{name}: ready")
        except Unavailable as error:
            say(f"{name}: missing: {error}")


def _python_peers() -> None:
    if not (ENVIRONMENT / "bin" / "python").exists():
        _run([sys.executable, "-m", "venv", str(ENVIRONMENT)])
    _run([str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(REQUIREMENTS)])


def _node_peers() -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not here")
    _run([npm, "install", "--no-audit", "--no-fund", "--no-package-lock"], COLYSEUS)


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable((done.stderr or done.stdout).strip().splitlines()[-1])
