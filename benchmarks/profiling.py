"""Where the time of the W1 server goes: `python -m benchmarks profile`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import ENVIRONMENT, Contender
from benchmarks.processes import Unavailable, cores, program

TOP = 40
RATE_HZ = 500


def py_spy() -> str:
    """The sampler's path. Raises `Unavailable`."""
    beside = Path(sys.executable).parent / "py-spy"
    for path in (str(beside), str(ENVIRONMENT / "bin" / "py-spy")):
        if Path(path).exists():
            return path
    found = shutil.which("py-spy")
    if found is None:
        raise Unavailable("py-spy is not installed (pip install -r benchmarks/requirements.txt)")
    return found


def profile(
    contender: Contender,
    clients: int,
    *,
    seconds: float,
    svg: Path | None,
    native: bool,
    server_options: Sequence[str] = (),
) -> str:
    """Samples a server under so many clients; the functions by their own time, and with what they call.

    Args:
        contender: whose server; one in Python.
        clients: how many play.
        seconds: of samples.
        svg: where a flame graph is written, from as many seconds more.
        native: C functions too.
        server_options: further arguments of the server.
    """
    sampler = py_spy()
    server_core, load_core = cores()
    with (
        tempfile.TemporaryDirectory() as folder,
        program([*contender.server(), *server_options], server_core) as server,
    ):
        port = server.answer(30.0)["port"]
        window_s = seconds * (2 if svg else 1) + 10
        options = ["--port", str(port), "--clients", str(clients), "--measure", str(window_s)]
        with program([*contender.load(), *options], load_core) as load:
            load.answer()
            load.answer()
            server_cpu = server.cpu_s()
            stacks = Path(folder) / "stacks"
            _record(sampler, server.pid, seconds, "raw", stacks, native)
            server_cpu = server.cpu_s() - server_cpu
            if svg is not None:
                _record(sampler, server.pid, seconds, "flamegraph", svg, native)
            load.vanish()
        head = f"{contender.title}, {clients} clients, {server_cpu / seconds:.0%} of a core or so"
        return head + "\n" + summary(stacks.read_text().splitlines())


def _record(sampler: str, pid: int, seconds: float, form: str, output: Path, native: bool) -> None:
    command = [sampler, "record", "--pid", str(pid), "--duration", str(max(1, round(seconds)))]
    command += ["--rate", str(RATE_HZ), "--format", form, "--output", str(output)]
    done = subprocess.run([*command, *(["--native"] if native else [])], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"py-spy could not sample: {done.stderr.strip() or done.stdout.strip()}")


def summary(stacks: Sequence[str], top: int = TOP) -> str:
    """Collapsed stacks as a table of functions."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        if not frames or "Referee.serve" in frames:  # the thread that waits for the benchmark's questions
            continue
        names = [_function(frame) for frame in frames.split(";")]
        own[names[-1]] += int(count)
        for name in set(names):
            whole[name] += int(count)
    total = own.total() or 1
    lines = [f"{'self':>7} {'total':>7}  function"]
    lines += [
        f"{count / total:7.1%} {whole[name] / total:7.1%}  {name}" for name, count in own.most_common(top)
    ]
    return "\n".join(lines)


def _function(frame: str) -> str:
    """A frame without its line number, so that a function is one row; with its file's name alone."""
    found = re.fullmatch(r"(.+) \((?:.*/)?([^/]+?)(?::\d+)?\)", frame)
    return f"{found[1]} ({found[2]})" if found else frame
