"""Every public method from eight threads, ten thousand calls each: see tests/stress.py."""

from __future__ import annotations

import subprocess
import sys

from .support import PATCHED, PATCHING, REPOSITORY, RUN_MODULE


@PATCHING
def test_nothing_is_lost_doubled_or_stuck_under_stress(is_patched: bool) -> None:
    source = (PATCHED if is_patched else "") + RUN_MODULE.format("tests.stress")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", source],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing lost, doubled or stuck\n", "")
