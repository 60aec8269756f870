"""Runs of a part of the tests in processes of their own, beside the rest."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
MOSTLY_WAIT = (
    "integration",
    "test_docs_threads.py",
    "test_exit.py",
    "test_fork.py",
    "test_hub_patching.py",
    "test_hub_probed.py",
    "test_interrupted.py",
)
"""Integration tests, and others that mostly wait for processes."""
PROGRAMS = (
    "test_benchmarks.py",
    "test_blocked.py",
    "test_docs_testing.py",
    "test_lossy.py",
    "test_main.py",
    "test_readme.py",
    *sorted(path.name for pattern in ("test_demo_*.py", "test_monkey*.py") for path in TESTS.glob(pattern)),
)
"""Demos, legacy programs, the command line: whole programs."""
COMPUTING = ("fuzz", "simulation", "test_gamestate.py", "test_session.py")
"""What takes as long as everything that is left, and waits for nothing."""
APART = {"computing": COMPUTING, "integration": MOSTLY_WAIT, "programs": PROGRAMS}
"""What a run of everything leaves to processes beside it, by their names."""


class Beside:
    """A pytest that runs while the other tests do; its output goes to a file.

    Args:
        *command: what Python is given.
    """

    def __init__(self, *command: str) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, *command, "-p", "no:cacheprovider"],
            cwd=TESTS.parent,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def result(self, limit_s: float) -> tuple[int | None, str]:
        """Waits for the end; the exit code, `None` where it had to be killed, and the output."""
        try:
            returncode: int | None = self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            returncode = None
        self._output.seek(0)
        return returncode, self._output.read().decode(errors="replace")

    def kill(self) -> None:
        """Ends it and what it started, if it still runs."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def start_patched() -> Beside:
    """Every test that crosses threads, in a process where `patch_all()` came first."""
    return Beside(str(TESTS / "run_patched.py"), "-m", "crosses_threads and not slow")


def start_apart(name: str, markexpr: str) -> Beside:
    """One of the groups that are `APART`, of which this expression selects by marker."""
    return Beside("-m", "pytest", "-m", markexpr, *(str(TESTS / path) for path in APART[name]))
