"""Who is measured: what it takes to run each, its version, and the commands that start it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from benchmarks.build import load_program
from benchmarks.processes import ROOT, Unavailable
from pygase_gevent.protocol import session

PEERS = ROOT / "benchmarks" / "peers"
ENVIRONMENT = ROOT / "benchmarks" / ".build" / "venv"
COLYSEUS = PEERS / "colyseus"


@dataclass(frozen=True)
class Contender:
    """One side of a comparison.

    Attributes:
        name: as on the command line.
        title: as in the table.
        prepare: finds or builds what it needs; gives the version, raises `Unavailable`.
        server: the server's command; further arguments may follow.
        load: command of the load generator, to be given `--port`, `--clients`, `--settle`, `--measure`, ...
        client: command of the single client of W2 to W5, to be given the workload's name, `--port`, ...
        guess: about how many clients it carries in W1: where the search begins.
        workloads: those that it takes part in.
    """

    name: str
    title: str
    prepare: Callable[[], str]
    server: Callable[[], list[str]]
    load: Callable[[], list[str]]
    client: Callable[[], list[str]] | None
    guess: int
    workloads: Sequence[str]
    notes: Sequence[str] = field(default=())


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.peers.{name}", *arguments]


def _load(protocol: str) -> list[str]:
    return [load_program(), "--protocol", protocol]


def _ours() -> str:
    version = metadata.version("pygase-gevent")
    try:
        asked = ["git", "describe", "--always", "--dirty"]
        commit = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        commit = ""
    how = "not compiled" if str(session.__file__).endswith(".py") else "compiled"
    return f"{version} at {commit}, {how}" if commit else f"{version}, {how}"


def _bare() -> str:
    import cryptography
    import gevent

    return f"gevent {gevent.__version__}, cryptography {cryptography.__version__}"


@functools.cache
def peer_python(module: str) -> tuple[str, str]:
    """An interpreter that has a peer's package, and the package's version.

    Looked for in the environment that `python -m benchmarks setup` makes, then here.
    """
    ask = f"import {module}, importlib.metadata as m; print(m.version({_distribution(module)!r}))"
    for python in (str(ENVIRONMENT / "bin" / "python"), sys.executable):
        if os.path.exists(python):
            done = subprocess.run([python, "-c", ask], capture_output=True, text=True)
            if done.returncode == 0:
                return python, done.stdout.strip()
    raise Unavailable(f"{_distribution(module)} is not installed (python -m benchmarks setup)")


def _distribution(module: str) -> str:
    return {"enet": "pyenet"}.get(module, module)


def _peer(module: str, program: str) -> list[str]:
    return [peer_python(module)[0], "-m", f"benchmarks.peers.{program}"]


def _colyseus() -> str:
    if shutil.which("node") is None:
        raise Unavailable("Colyseus needs node, which is not here")
    package = COLYSEUS / "node_modules" / "@colyseus" / "core" / "package.json"
    if not package.exists():
        raise Unavailable("Colyseus is not installed (python -m benchmarks setup)")
    node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    return f"{json.loads(package.read_text())['version']}, node {node}"


def _node(program: str) -> list[str]:
    return ["node", str(COLYSEUS / program)]


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender(
            "ours",
            "pygase_gevent",
            _ours,
            lambda: _module("ours_server"),
            lambda: _load("ours"),
            lambda: _module("ours_client"),
            450,
            ("W1", "W2", "W3", "W4", "W5", "W6"),
            ("positions have 16 bits of fixed precision (--schema float32: 32-bit floats)",),
        ),
        Contender(
            "bare",
            "bare gevent",
            _bare,
            lambda: _module("bare_server"),
            lambda: _load("bare"),
            lambda: _module("bare_client"),
            1000,
            ("W1", "W2"),
            ("W1 under ChaCha20-Poly1305, no events but inputs, nothing sent again; W2: a raw echo",),
        ),
        Contender(
            "pygase",
            "PyGaSe (mended)",
            lambda: peer_python("pygase")[1],
            lambda: _peer("pygase", "pygase_server"),
            lambda: _peer("pygase", "pygase_load"),
            lambda: _peer("pygase", "pygase_client"),
            40,
            ("W1", "W2", "W3", "W4", "W6"),
            ("as shipped its game loop never sleeps, which leaves room for few clients; here it does",),
        ),
        Contender(
            "enet",
            "ENet (pyenet)",
            lambda: peer_python("enet")[1],
            lambda: _peer("enet", "enet_server"),
            lambda: _load("enet"),
            lambda: _peer("enet", "enet_client"),
            800,
            ("W1", "W2", "W3", "W4"),
            ("no state sync and no cipher: the ten who moved, packed once, a packet per peer",),
        ),
        Contender(
            "colyseus",
            "Colyseus",
            _colyseus,
            lambda: _node("server.mjs"),
            lambda: _node("load.mjs"),
            lambda: _node("client.mjs"),
            600,
            ("W1", "W2", "W3"),
            ("over TCP, no cipher; its floats have 32 bits",),
        ),
    )
}
