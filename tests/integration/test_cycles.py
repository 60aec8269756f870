"""Two hundred starts and stops leave descriptors, threads and memory where they were."""

from __future__ import annotations

import subprocess
import sys

from tests.cycles import Usage

from .support import PATCHED, REPOSITORY, RUN_MODULE

CYCLES, WARM_UP = 200, 60
MAX_GROWTH = Usage(descriptors=0, native_threads=0, threads=0, objects=100, rss_kib=2048)
"""Half an object and 10 KiB per cycle: one forgotten session would be many times that."""
KINDS = [(kind, prefix) for kind in ("threads", "greenlets") for prefix in ("", PATCHED)]


def test_two_hundred_cycles_leave_nothing_behind() -> None:
    processes = {
        (kind, prefix): subprocess.Popen(
            [
                sys.executable,
                "-c",
                prefix + RUN_MODULE.format("tests.cycles"),
                kind,
                str(CYCLES),
                str(WARM_UP),
            ],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for kind, prefix in KINDS
    }
    try:
        for which, process in processes.items():
            output, errors = process.communicate(timeout=150)
            assert (process.returncode, errors) == (0, ""), which
            grown = Usage(*map(int, output.split()))
            print(which, grown)
            assert all(grew <= limit for grew, limit in zip(grown, MAX_GROWTH, strict=True)), (which, grown)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
