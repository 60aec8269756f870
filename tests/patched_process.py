"""The process in which the tests that cross threads run under `patch_all()`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent


class PatchedProcess:
    """Runs while the other tests do; its output goes to a file."""

    def __init__(self) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                sys.executable,
                TESTS / "run_patched.py",
                "-m",
                "crosses_threads and not slow",
                "-p",
                "no:cacheprovider",
            ],
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
