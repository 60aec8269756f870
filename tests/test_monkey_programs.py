"""Two games written for PyGaSe, as processes through `python -m pygase_gevent.monkey`.

The programs assert on their own sides; here is what they print and how they end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import eventually

PROGRAMS = Path(__file__).parent / "legacy" / "programs"
LIMIT_S = 60.0


class Program:
    """A legacy program that runs; what it prints is collected, what it reads is written here."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "pygase_gevent.monkey", name, *arguments],
            cwd=PROGRAMS,
            env={**os.environ, "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.name = " ".join((name, *arguments))
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=_collect, args=each, daemon=True)
            for each in ((self._process.stdout, self.lines), (self._process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    def write(self, line: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def wait_for(self, text: str) -> None:
        def has_said_it() -> bool:
            return any(text in line for line in self.lines)

        def has_failed() -> bool:
            return self.has_ended or any("Traceback" in line for line in self.errors)

        eventually(lambda: has_failed() or has_said_it(), LIMIT_S)
        assert has_said_it(), f"{self.name} has failed"

    def check_end(self) -> None:
        assert self._process.wait(LIMIT_S) == 0, f"{self.name} has failed"
        for reader in self._readers:
            reader.join(LIMIT_S)
        assert not any("Traceback" in line for line in self.errors), f"{self.name} has failed"

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        """Ends it, and prints what it printed, which pytest shows of a test that failed."""
        if not self.has_ended:
            self._process.send_signal(signal.SIGABRT)  # it prints its stacks
        self._process.wait()
        for reader in self._readers:
            reader.join(LIMIT_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        print(f"=== {self.name}", *self.lines, "--- errors", *self.errors, sep="\n")


def _collect(stream, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip("\n"))


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    started: list[Program] = []
    yield started
    for program in started:
        program.end()


def free_port() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def test_a_game_of_tag(programs: list[Program]) -> None:
    port = free_port()
    # PyGaSe's clients may be there before their server.
    anna = Program("tag_client.py", port)
    server = Program("tag_server.py", port)
    programs += [anna, server]
    anna.write("Anna")
    anna.wait_for("playing as 0")
    ben = Program("tag_client.py", port)
    programs.append(ben)
    ben.write("Ben")
    ben.wait_for("over after")
    ben.check_end()
    anna.wait_for("over after")
    anna.write()
    anna.check_end()
    server.check_end()
    assert server.lines == [
        "Anna joins as 0",
        "Ben joins as 1",
        "Anna catches Ben",
        "Ben catches Anna",
        "over after 2 catches, Anna is it",
    ]


def test_a_drunken_enemy(programs: list[Program]) -> None:
    port = free_port()
    server = Program("drunk_server.py", port)
    anna = Program("drunk_client.py", port, "Anna", "0.5")
    programs += [server, anna]
    server.wait_for("Anna enters")
    ben = Program("drunk_client.py", port, "Ben", "-0.5")
    programs.append(ben)
    for fighter in (anna, ben):
        fighter.wait_for("has won")
    for name in ("Anna", "Ben"):
        server.wait_for(f"{name} leaves")
    ben.write()  # asks for a shutdown too, but is not the host
    ben.check_end()
    assert not server.has_ended
    anna.write()
    anna.check_end()
    server.check_end()
    assert ", host: True" in anna.lines[-1]
    assert ", host: False" in ben.lines[-1]
    hits = [int(line.split(" hits of mine")[0].split()[-1]) for line in (anna.lines[-1], ben.lines[-1])]
    assert sum(hits) >= 6
    winner = anna.lines[-1].split()[0]
    assert server.lines[-1] == f"{winner} has beaten the enemy"
