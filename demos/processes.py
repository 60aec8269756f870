"""Starting a demo's own server and bots as processes, and ending everything cleanly."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from pygase_gevent import Backend, PygaseError

ENDS_WITH_PARENT = "--with-parent"
GRACE_S = 0.7
"""How long the processes started here may take to say goodbye before they are killed."""
_LISTENING = "listening on "


class NotStartedError(Exception):
    """The server process ended before it listened; the message is the last line it printed."""


class Children:
    """The processes that belong to this one: they end when the block does, or when this process dies.

    A child's standard input is a pipe that nobody writes to. However this process ends, it closes.
    """

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Starts `python -m module` with the arguments."""
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, ENDS_WITH_PARENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if has_terminal() else None,  # the screen belongs to the game
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its children in order
        )
        self._processes.append(process)
        return process

    def start_server(self, module: str, host: str, port: int, *arguments: str) -> tuple[str, int]:
        """Starts a server and waits until it listens.

        Args:
            arguments: further ones of the module.

        Returns:
            Host and port that it listens on.

        Raises:
            NotStartedError: it ended instead.
        """
        process = self.start(module, "--server", "--host", host, "--port", str(port), *arguments)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(_LISTENING):
            lines = (line + process.stdout.read()).strip().splitlines()
            raise NotStartedError(lines[-1] if lines else "the server process ended")
        return parse_address(line.removeprefix(_LISTENING).strip())

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        ends_at = time.monotonic() + GRACE_S
        for process in self._processes:
            try:
                process.wait(max(0.0, ends_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def run_server(
    backend: Backend,
    host: str,
    port: int,
    *,
    interval: float,
    announce: Callable[[str, int], object] = lambda host, port: None,
) -> None:
    """Runs a server until it is interrupted; its first line says where it listens.

    Args:
        announce: called with that, and may say more.
    """
    thread, server = backend.run_in_thread(host, port, interval=interval), backend.server
    try:
        address = server.hostname or host, server.port or port
        print(_LISTENING + format_address(*address), flush=True)
        announce(*address)
        thread.join()
    finally:
        backend.shutdown()


def run_program(name: str, body: Callable[[], None], *, ends_with_parent: bool) -> int:
    """Runs a demo's program and returns its exit status: failures are one line, Ctrl-C is no failure.

    SIGTERM, and the end of the parent where asked for, do what Ctrl-C does.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if ends_with_parent:  # who may have ended already
            threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
        body()
    except KeyboardInterrupt:
        pass
    except (PygaseError, OSError, NotStartedError) as error:
        if ends_with_parent:
            print(error)  # for the parent, which says whose error it is
        else:
            print(f"{name}: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return 0


def has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def parse_address(text: str) -> tuple[str, int]:
    """`"localhost:8080"` and `"[::1]:8080"` as host and port."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or len(port) > 5 or not 0 < int(port) <= 65_535:
        # The one error whose message argparse shows.
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is not an address such as localhost:47801")
    return host.strip("[]"), int(port)


def parse_port(text: str) -> int:
    """A port to listen on; 0 is any free one."""
    if not text.isdecimal() or len(text) > 5 or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is not a port: 0 to 65535")
    return int(text)


def format_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str) -> str:
    """Where this machine itself reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _interrupt_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)
