"""Every test that crosses threads, once more in a process where `gevent.monkey.patch_all()` came first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LIMIT_S = 150


@pytest.mark.skipif("PYGASE_TESTS_PATCHED" in os.environ, reason="this process is it")
def test_under_patch_all() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            TESTS / "run_patched.py",
            "-m",
            "crosses_threads and not slow",
            "-p",
            "no:cacheprovider",
        ],
        cwd=TESTS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"not through within {LIMIT_S} s:\n{output}")
    if process.returncode != 0:
        pytest.fail(f"exit code {process.returncode}:\n{output}", pytrace=False)
    assert " passed" in output
