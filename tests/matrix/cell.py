"""The acceptance program in one process: `python -m tests.matrix.cell PLACE ROLE PORT`.

It is the server, the client, or both, in the place that it is told; whoever imports it has patched
what he wants patched. Where it is one side only, it starts another process, plain, as the other one.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from .places import LIMIT_S, PLACES, Place
from .sides import ClientSide, ServerSide

ROOT = Path(__file__).parent.parent.parent
ROLES = ("server", "client", "both")


def play(place: Place, role: str, port: int) -> None:
    """The whole program, in the part that `role` says."""
    drivers: list[Callable[[], None]] = []
    if role != "client":
        server = ServerSide(place)

        def drive_server() -> None:
            server.start(port)
            server.drive()

        drivers.append(drive_server)
    if role != "server":
        drivers.append(lambda: ClientSide(place).drive(port))
    place.run(*(dying_loudly(driver) for driver in drivers))
    place.nothing_is_left()


def play_with_peer(place: Place, role: str) -> None:
    """The same, with whatever other process it takes."""
    port = free_port()
    peer = {"server": "client", "client": "server"}.get(role)
    if peer is None:
        play(place, role, port)
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.matrix.cell", "thread", peer, str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        play(place, role, port)
        output, _ = process.communicate(timeout=LIMIT_S)
        assert (process.returncode, output) == (0, f"{peer} done\n"), f"the other process: {output}"
    finally:
        process.kill()


def play_all(place_name: str, roles: tuple[str, ...] = ROLES) -> None:
    """One role after the other, in this process."""
    logging.basicConfig(level=logging.WARNING)
    for role in roles:
        play_with_peer(PLACES[place_name](), role)
        print(f"{role} done", flush=True)


def dying_loudly(driver: Callable[[], None]) -> Callable[[], None]:
    """A driver whose failure ends the process, whatever blocks it."""

    def drive() -> None:
        try:
            driver()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    return drive


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    play(PLACES[sys.argv[1]](), sys.argv[2], int(sys.argv[3]))
    print(f"{sys.argv[2]} done", flush=True)
