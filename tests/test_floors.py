"""The floors of the house: a file imports only from floors below, or from those above it on its own.

The listing is the house as ARCHITECTURE.md draws it. A new file has to be given its place here first.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "pygase_gevent"
ROOT = Path(__file__).parent.parent / PACKAGE

FLOORS = {
    "F0": "errors config shortforms codec locks",
    "F1": """
        gamestatus changes event precision schema gamestate
        protocol protocol.reasons protocol.numbers protocol.stats protocol.address
        protocol.netcode.crypto protocol.netcode.replay protocol.netcode.packet
        protocol.netcode._sealing protocol.netcode.sealing protocol.netcode.token
        protocol.netcode.half_open protocol.netcode.limits protocol.netcode.used_tokens
        protocol.netcode.peer protocol.netcode.client protocol.netcode.server protocol.netcode
        protocol.identity protocol.token_source
        protocol.layout protocol.frames protocol.frame_writer protocol.acks protocol.clock
        protocol.congestion protocol.recovery protocol.packet protocol.connection protocol.telling
        protocol.eventnames protocol.fragments
        protocol.messages protocol.redundancy protocol.delivery protocol.control protocol.inbox
        protocol.records protocol.statenames protocol.stateencoder protocol.statesync protocol.statelink
        protocol.session_events protocol.roles protocol.session
        protocol.client_events protocol.server_peer protocol.closing
        protocol.client_core protocol.server_core
        """,
    "F2": """
        hub hub.process hub.patching hub.signal hub.thread hub.bridge
        hub.plain_batches hub._batches hub.batches hub.udp
        hub.tracer hub.monitor hub.watchdog hub.worker hub.environment
        """,
    "F3": """
        utils tokens connection wire_queue
        interrupts running mirror calls outbox runners handling loop_events exchange arguments statemachine
        network_loop clients deadlines pusher server_loop client_loop
        """,
    "F4": "server client",
    "F5": "backend",
    "F6": """
        testing __init__
        legacy.utils legacy.values legacy.gamestate legacy.coroutines legacy.event legacy.package
        legacy.bare_connection legacy.state_context legacy.connection legacy.client
        legacy.store legacy.machine legacy.server legacy.backend legacy monkey __main__
        """,
}
PLACES = {
    name: (floor, place)
    for floor, (_, names) in enumerate(FLOORS.items())
    for place, name in enumerate(names.split())
}


def place_of(name: str) -> tuple[int, int] | None:
    """Floor and place; the tools in testing/ are one place, whatever files they need among themselves."""
    return PLACES.get("testing" if name.startswith("testing.") else name)


# fmt: off
IO_MODULES = {
    "_thread", "asyncio", "datetime", "multiprocessing", "os", "random", "secrets", "select", "selectors",
    "signal", "socket", "ssl", "subprocess", "threading", "time", "uuid",
}
# fmt: on
"""What protocol/ gets handed in, or has no use for."""

ONLY_IN = {"msgpack": "codec", "cryptography": "protocol.netcode.crypto", "nacl": "protocol.netcode.crypto"}

CHOOSERS = {"protocol.netcode.sealing", "hub.batches"}
"""The one fallback import of a floor stands here: an extension where it was built, else plain Python."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "__init__" if parts == ("__init__",) else ".".join(part for part in parts if part != "__init__")


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


class Imports(ast.NodeVisitor):
    """Every import of a file, with what stands around it."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.Import | ast.ImportFrom, tuple[ast.AST, ...]]] = []
        self.dynamic: list[ast.Call] = []
        self._around: list[ast.AST] = []

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self.found.append((node, tuple(self._around)))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {
            "__import__",
            "import_module",
        }:
            self.dynamic.append(node)
        self._around.append(node)
        super().generic_visit(node)
        self._around.pop()


def faults(name: str, source: str) -> Iterator[str]:
    """What is wrong with the imports of module `name`, as sentences with line numbers."""
    imports = Imports()
    imports.visit(ast.parse(source))
    for call in imports.dynamic:
        yield f"line {call.lineno}: imports by a call"
    for node, around in imports.found:
        for fault in _faults_of_one(name, node, around):
            yield f"line {node.lineno}: {fault}"


def _faults_of_one(
    name: str, node: ast.Import | ast.ImportFrom, around: tuple[ast.AST, ...]
) -> Iterator[str]:
    if any(
        isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda))
        for outer in around
    ):
        yield "imports inside a function or class"
    if any(isinstance(outer, ast.Try) for outer in around) and name not in CHOOSERS:
        yield "a fallback import"
    is_for_types = any(isinstance(o, ast.If) and ast.unparse(o.test) == "TYPE_CHECKING" for o in around)
    if isinstance(node, ast.ImportFrom) and node.level:
        yield "a relative import"
        return
    for target, item in _targets(node):
        top = target.partition(".")[0]
        if top == PACKAGE:
            if item.startswith("_"):
                yield f"reaches into {target} for its private {item}"
            yield from _faults_of_own(name, target, item, is_for_types)
        else:
            yield from _faults_of_foreign(name, target, item, top)


def _targets(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    for alias in node.names:
        yield (alias.name, "") if isinstance(node, ast.Import) else (node.module or "", alias.name)


def _faults_of_own(name: str, target: str, item: str, is_for_types: bool) -> Iterator[str]:
    inner = target.removeprefix(PACKAGE).removeprefix(".")
    for candidate in (f"{inner}.{item}".strip("."), inner or "__init__"):
        own, other = place_of(name), place_of(candidate)
        if own and other:
            if other[0] > own[0]:
                yield f"imports {candidate}, from a floor above"
            elif other > own and not is_for_types:
                yield f"imports {candidate}, which stands below it on its own floor"
            return
    yield f"imports {target}, which has no place in the listing"


def _faults_of_foreign(name: str, target: str, item: str, top: str) -> Iterator[str]:
    if (
        top in ("gevent", "greenlet")
        and (place_of(name) or (0, 0))[0] < 2
        and (name, target, item) != ("locks", "gevent", "monkey")
    ):
        yield f"imports {top} below the hub"
    if name.startswith("protocol") and top in IO_MODULES:
        yield f"imports {top} into the protocol, which knows no I/O, no clock and no chance"
    if ONLY_IN.get(top, name) != name:
        yield f"imports {top}, which only {ONLY_IN[top]} does"


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_imports_only_what_it_may(name: str) -> None:
    assert place_of(name), f"{name} has no place: give it one in FLOORS, and in ARCHITECTURE.md"
    assert not list(faults(name, SOURCES[name].read_text()))


@pytest.mark.parametrize(
    ("name", "source", "fault"),
    [
        ("event", "from pygase_gevent.server import Server", "from a floor above"),
        ("event", "import pygase_gevent.hub.udp", "from a floor above"),
        ("event", "from pygase_gevent import server", "from a floor above"),
        ("event", "if TYPE_CHECKING:\n    from pygase_gevent.server import Server", "from a floor above"),
        ("config", "from pygase_gevent.codec import encode", "below it on its own floor"),
        ("protocol.frames", "from pygase_gevent.protocol import session", "below it on its own floor"),
        ("server", "from pygase_gevent import Client", "from a floor above"),
        ("server", "from pygase_gevent.nowhere import x", "no place"),
        ("server", "from pygase_gevent.event import _secret", "private"),
        ("server", "from .event import Event", "relative"),
        ("gamestate", "import gevent", "below the hub"),
        ("locks", "from gevent import sleep", "below the hub"),
        ("protocol.session", "from time import monotonic", "no clock"),
        ("protocol.netcode.server", "import os.path", "knows no I/O"),
        ("gamestate", "import msgpack", "only codec does"),
        ("protocol.netcode.token", "from nacl.bindings import x", "only protocol.netcode.crypto does"),
        ("server", "def f():\n    import json", "inside a function"),
        ("server", "try:\n    import json\nexcept ImportError:\n    json = None", "fallback"),
        ("server", "importlib.import_module('json')", "by a call"),
    ],
)
def test_what_may_not_be_imported_is_found(name: str, source: str, fault: str) -> None:
    found = list(faults(name, source))
    assert len(found) == 1
    assert fault in found[0]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("server", "from pygase_gevent.hub import process"),
        ("locks", "from gevent import monkey"),
        ("codec", "import msgpack"),
        ("hub.udp", "import socket, time, gevent"),
        (
            "hub.batches",
            "try:\n    from pygase_gevent.hub._batches import x\n"
            "except ImportError:\n    from pygase_gevent.hub.plain_batches import x",
        ),
        ("protocol.redundancy", "if TYPE_CHECKING:\n    from pygase_gevent.protocol.delivery import X"),
    ],
)
def test_what_may_be_imported_is_not_found(name: str, source: str) -> None:
    assert not list(faults(name, source))
