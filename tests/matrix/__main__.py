"""Runs the matrix, or a part of it: `python -m tests.matrix [PATCHING ...]`.

{no patch, patch before the import, after it, all but threads, and more} x {main thread, native thread,
greenlet} x {server, client, both}: every cell plays the acceptance program. Cells that differ in the
role only share a process, so that each process also shows that one run leaves room for the next.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from .cell import ROLES, ROOT
from .places import PLACES

PATCHINGS = {
    "none": "",
    "before": "from gevent import monkey; monkey.patch_all()",
    "after": "import pygase_gevent; from gevent import monkey; monkey.patch_all()",
    "no-threads": "from gevent import monkey; monkey.patch_all(thread=False)",
    "sockets-only": "from gevent import monkey; monkey.patch_socket()",
    "threads-only": "from gevent import monkey; monkey.patch_thread()",
}
"""What a program does before anything else."""
AT_ONCE = 3
"""Processes: most of a cell is waiting."""
LIMIT_S = 120.0


def play(patching: str, place: str) -> tuple[str, str, str, float]:
    """The cells of one process: what went wrong, if anything, and the seconds it took."""
    source = f"{PATCHINGS[patching]}\nfrom tests.matrix.cell import play_all\nplay_all({place!r})"
    started = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-c", source],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
        )
        is_right = (done.returncode, done.stdout) == (0, "".join(f"{role} done\n" for role in ROLES))
        fault = "" if is_right else f"exit code {done.returncode}:\n{done.stdout}"
    except subprocess.TimeoutExpired as error:
        fault = f"not through within {LIMIT_S} s:\n{(error.stdout or b'').decode(errors='replace')}"
    return patching, place, fault, time.monotonic() - started


def main(patchings: list[str]) -> int:
    return play_all([(patching, place) for patching in patchings for place in PLACES])


def play_all(cells: list[tuple[str, str]]) -> int:
    """A process for each; how many failed."""
    faults = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for patching, place, fault, seconds in pool.map(lambda cell: play(*cell), cells):
            faults += bool(fault)
            print(f"{patching:12} {place:8} {'+'.join(ROLES)}: {fault or 'ok'} ({seconds:.1f} s)", flush=True)
    print(f"{len(cells) * len(ROLES)} cells in {len(cells)} processes, {faults} of these failed")
    return faults


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:] or list(PATCHINGS))))
