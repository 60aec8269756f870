"""Waiting, processes, and counting: what the integration tests share."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from pygase_gevent import Client, Server

LIMIT_S = 30.0
"""How long anything may take before a test calls it not happening. Generous: nothing is timed here."""
LATE = {"duplicate_message", "stale_message", "too_old", "state_stale", "state_unknown_base", "state_crowded"}
REPOSITORY = Path(__file__).resolve().parents[2]
PATCHING = pytest.mark.parametrize("is_patched", [False, True], ids=["plain", "patched"])
PATCHED = "from gevent import monkey; monkey.patch_all(); "
RUN_MODULE = "import runpy; runpy.run_module({!r}, run_name='__main__', alter_sys=True)"


def eventually(
    condition: Callable[[], object], what: str | Callable[[], object] = "", *, limit_s: float = LIMIT_S
) -> None:
    """Waits until a condition holds.

    Args:
        condition: is asked again and again.
        what: says what was waited for, or shows how it stands, if it does not come.
        limit_s: when to give up.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {limit_s} s: {what() if callable(what) else what}")
        time.sleep(0.002)


def free_udp_port() -> int:
    """A port that nobody is using."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def server_drops(server: Server) -> Counter[str]:
    """What a server dropped, by reason, whoever sent it; but for what came late or twice."""
    drops = Counter(server.stats.drops)
    for connection in server.connections.values():
        drops.update(connection.stats.drops)
    return without_late(drops)


def client_drops(client: Client) -> Counter[str]:
    """What a client dropped, likewise."""
    return without_late(client.connection.stats.drops)


def without_late(drops: Mapping[str, int]) -> Counter[str]:
    """On a busy machine honest peers send again what had arrived, and see states too late: no abuse."""
    return Counter({reason: count for reason, count in drops.items() if reason not in LATE})


class Program:
    """One of `programs/` in a process of its own, killed at the end if it has not ended by then.

    Args:
        name: the module.
        *arguments: its command line.
        is_patched: run it under `gevent.monkey.patch_all()`, otherwise unchanged.

    Attributes:
        lines: what it printed until now.
    """

    def __init__(self, name: str, *arguments: object, is_patched: bool = False) -> None:
        module = f"tests.integration.programs.{name}"
        start = (PATCHED if is_patched else "") + RUN_MODULE.format(module)
        self.lines: list[str] = []
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-c", start, *map(str, arguments)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,  # a Ctrl-C of whoever runs the tests is not meant for it
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def errors(self) -> str:
        """What it wrote to its standard error until now."""
        self._errors.seek(0)
        return self._errors.read()

    def wait_line(self, start: str) -> str:
        """Waits for a line that begins so, and returns the rest of it."""

        def found() -> str | None:
            return next((line for line in list(self.lines) if line.startswith(start)), None)

        eventually(
            lambda: found() or not self.is_running, lambda: f"{start!r} in {self.lines}, {self.errors}"
        )
        self._join_if_ended()
        line = found()
        assert line is not None, f"ended without {start!r}: {self.lines}, {self.errors}"
        return line.removeprefix(start).strip()

    def wait_end(self, limit_s: float = LIMIT_S) -> int:
        """Waits for it to end by itself; its exit status."""
        status = self._process.wait(limit_s)
        self._join_if_ended()
        return status

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def has_left_processes(self) -> bool:
        """Whether anything that it started is still there after its end."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self._errors.close()

    def _join_if_ended(self) -> None:
        if not self.is_running:
            self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))


def is_exactly(numbers: Sequence[int], count: int) -> bool:
    """Whether these are the numbers from 0 on, each once and in order."""
    return list(numbers) == list(range(count))
