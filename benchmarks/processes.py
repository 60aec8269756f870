"""Servers and load generators as processes of their own, each on its core, and what they cost."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ANSWER_LIMIT_S = 120.0
END_LIMIT_S = 5.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Unavailable(Exception):
    """What was asked for cannot run here; the text says what is missing."""


class Failed(Exception):
    """A process of the benchmark ended or did not answer; the text says what it said last."""


def cores() -> tuple[int, int]:
    """The core for servers and the core for load generators; one and the same where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


class Program:
    """A program that says lines of JSON and may be asked for them.

    Args:
        command: the program and its arguments.
        core: where it runs.
        cwd: where it is started; the repository by default.
    """

    def __init__(self, command: Sequence[str], core: int, cwd: Path = ROOT) -> None:
        self.command = list(command)
        self._process = subprocess.Popen(
            self.command,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_answers, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def answer(self, limit_s: float = ANSWER_LIMIT_S) -> Any:
        """The next line that it says; lines that are not JSON are passed over.

        Raises:
            Failed: it ended, or said nothing for so long.
        """
        while True:
            try:
                line = self._lines.get(timeout=limit_s)
            except queue.Empty:
                raise Failed(f"{self.name} did not answer for {limit_s:g} s{self._last_words()}") from None
            if line is None:
                raise Failed(f"{self.name} ended{self._last_words()}")
            with contextlib.suppress(ValueError):
                return json.loads(line)

    def ask(self, question: str, limit_s: float = ANSWER_LIMIT_S) -> Any:
        """Writes a line to it; the line that it says to that."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        except OSError:
            raise Failed(f"{self.name} ended{self._last_words()}") from None
        return self.answer(limit_s)

    def cpu_s(self) -> float:
        """Seconds of processor time of it and of the processes it has waited for."""
        try:
            with open(f"/proc/{self.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            raise Failed(f"{self.name} ended{self._last_words()}") from None
        return sum(int(field) for field in fields[11:13]) / _TICKS_PER_S

    def resident_bytes(self) -> int:
        """Memory of it that stands in RAM."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def vanish(self) -> None:
        """Ends it without a goodbye."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Ends it: its standard input is closed, and what does not heed that is stopped."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_LIMIT_S if number is None else 1.0)
                break
        for reader in self._readers:
            reader.join(1.0)

    @property
    def name(self) -> str:
        return " ".join(Path(part).name for part in self.command[:3])

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line.rstrip())
            del self._errors[:-20]

    def _last_words(self) -> str:
        self._readers[1].join(0.2)
        return ": " + " | ".join(self._errors[-3:]) if self._errors else ""


@contextlib.contextmanager
def program(command: Sequence[str], core: int, cwd: Path = ROOT) -> Iterator[Program]:
    """A program that is ended with the block."""
    started = Program(command, core, cwd)
    try:
        yield started
    finally:
        started.end()
