"""Fixtures for all tests, and the markers of those that run beside the others (test_beside.py)."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pygase_gevent.protocol import session
from pygase_gevent.protocol.netcode import sealing
from tests.beside import APART, TESTS, Beside, start_apart, start_patched

pytest_plugins = "pygase_gevent.testing.plugin"  # as the entry point does where it is installed

IS_PATCHED = "PYGASE_TESTS_PATCHED" in os.environ
HAS_EXTENSIONS = sealing.read_packet.__module__.endswith("._sealing")
IS_COMPILED = HAS_EXTENSIONS or not str(session.__file__).endswith(".py")
HANG_S = 60 if IS_PATCHED else 200
"""A test that takes longer hangs: its stacks are printed and the run ends."""
REAL_STDERR = pytest.StashKey[int]()
BESIDE = pytest.StashKey[dict[str, Beside]]()
BYTECODE = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start jobs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "crosses_threads: runs a second time in a process under patch_all()")
    config.addinivalue_line("markers", "pure: subclasses, replaces or counts what a compiled build seals")
    config.addinivalue_line("markers", "looks_beside: comes last, when what runs beside has run")
    config.addinivalue_line("markers", "long: takes tens of seconds; runs with `-m long`")
    config.addinivalue_line("markers", "slow: takes minutes, in real time; runs only with `-m slow`")
    config.stash[REAL_STDERR] = os.dup(2)  # while a test runs, 2 is pytest's
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Hundreds of processes are started here, and each would compile all that it imports.
        config.stash[BYTECODE] = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        os.environ["PYTHONPYCACHEPREFIX"] = config.stash[BYTECODE].name


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_looks_beside)
    for marker in ("long", "slow"):
        if marker not in config.option.markexpr:
            items[:] = [item for item in items if item.get_closest_marker(marker) is None]
    if IS_COMPILED:
        items[:] = [item for item in items if item.get_closest_marker("pure") is None]
    if IS_PATCHED:
        items[:] = [item for item in items if not _looks_beside(item)]
    elif sum(map(_looks_beside, items)) > 1:  # a run of everything
        apart = {path for paths in APART.values() for path in paths}
        items[:] = [item for item in items if not apart & set(item.path.relative_to(TESTS).parts)]


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly:
        beside = session.config.stash[BESIDE] = {}
        for item in filter(_looks_beside, session.items):
            name = item.name[:-1].rpartition("[")[2]
            beside[name] = _start_beside(name, session.config.option.markexpr)


def pytest_unconfigure(config: pytest.Config) -> None:
    for process in config.stash.get(BESIDE, {}).values():
        process.kill()
    bytecode = config.stash.get(BYTECODE, None)
    if bytecode is not None:
        bytecode.cleanup()


def _start_beside(name: str, markexpr: str) -> Beside:
    return start_patched() if name == "patched" else start_apart(name, markexpr)


def _looks_beside(item: pytest.Item) -> bool:
    return item.get_closest_marker("looks_beside") is not None


@pytest.fixture
def beside(request: pytest.FixtureRequest) -> dict[str, Beside]:
    """The runs that go on beside this one."""
    return request.config.stash[BESIDE]


@pytest.fixture(autouse=True)
def _no_hang(request: pytest.FixtureRequest) -> Iterator[None]:
    faulthandler.dump_traceback_later(HANG_S, exit=True, file=request.config.stash[REAL_STDERR])
    yield
    faulthandler.cancel_dump_traceback_later()


def eventually(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    """Waits until `condition()` is true; fails after a generous limit."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(0.005)


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fails a test after which more file descriptors or native threads are there than before."""

    def count() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc")
    before = count()
    yield
    eventually(lambda: all(now <= then for now, then in zip(count(), before, strict=True)))


RunScript = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_script() -> RunScript:
    """Runs Python source in a process of its own, patched if this one is: `run_script(source)`."""

    def run(
        source: str, *, timeout: float = 30.0, patched: bool = IS_PATCHED
    ) -> subprocess.CompletedProcess[str]:
        prefix = "from gevent import monkey; monkey.patch_all()\n" if patched else ""
        return subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", prefix + textwrap.dedent(source)],
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
