"""Users of the chat and its server as processes, for the tests."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

CHAT = [sys.executable, "-m", "demos.chat"]
SECONDS = 30  # generous: these wait on conditions


class User:
    """Somebody at a pipe."""

    def __init__(self, name: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [*CHAT, "--name", name, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def says(self, *lines: str) -> None:
        assert self.process.stdin is not None
        print(*lines, sep="\n", file=self.process.stdin, flush=True)

    def reads(self) -> str:
        """The next line, which must come."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "no more to read"
        return line.rstrip("\n")

    def reads_until(self, line: str) -> list[str]:
        """The lines up to one, which must come."""
        lines = [self.reads()]
        while lines[-1] != line:
            lines.append(self.reads())
        return lines

    def reads_said(self, count: int) -> list[str]:
        """So many lines that somebody said; notices are left out."""
        lines: list[str] = []
        while len(lines) < count:
            lines += [line for line in [self.reads()] if line.startswith("<")]
        return lines

    def leaves(self) -> list[str]:
        """Ends the input; the lines that were still to be read."""
        rest, _ = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0
        return rest.splitlines()


Start = Callable[..., User]


@contextlib.contextmanager
def users() -> Iterator[Start]:
    """Starts users: `start(name, *options)`; those who are left at the end are killed."""
    started: list[User] = []

    def start(name: str, *options: str) -> User:
        started.append(User(name, *options))
        return started[-1]

    try:
        yield start
    finally:
        for user in started:
            user.process.kill()
            user.process.communicate()


@contextlib.contextmanager
def running_server(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server; its process and address. If nobody kills it, it must end well."""
    process = subprocess.Popen([*CHAT, "--server", *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        with process.stdout as output:
            line = output.readline()
        assert line.startswith("listening on localhost:")
        yield process, line.removeprefix("listening on ").strip()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("localhost", port))
        except OSError:
            return False
    return True
