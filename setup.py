"""Metadata stands in pyproject.toml. This compiles the hot path where it is asked to.

`PYGASE_GEVENT_COMPILE=1 pip install .` turns the typed modules that every packet passes into C with mypyc,
which needs a C compiler and takes a minute. The sources are the same, and run as they are without it.

With them come two extensions, each of which plain Python stands in for where it was not built:
- `hub/_batches.c`, 64 datagrams per system call; on Linux;
- `protocol/netcode/_sealing.c`, whole packets sealed by the libsodium inside PyNaCl.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

BUILD_REQUIRES = [
    "mypy[mypyc]==2.4.1",
    "msgpack>=1.1",
    "cryptography>=43",
    "PyNaCl>=1.5",
    "types-gevent>=24.11",
    "types-greenlet>=3.1",
    "mypy_extensions>=1.0",
]
"""The compiler, and what it reads the types of."""
FOLDERS = ("pygase_gevent/protocol", "pygase_gevent/protocol/netcode")
MODULES = (
    "pygase_gevent/arguments.py",
    "pygase_gevent/changes.py",
    "pygase_gevent/client_loop.py",
    "pygase_gevent/clients.py",
    "pygase_gevent/codec.py",
    "pygase_gevent/config.py",
    "pygase_gevent/deadlines.py",
    "pygase_gevent/event.py",
    "pygase_gevent/exchange.py",
    "pygase_gevent/handling.py",
    "pygase_gevent/hub/environment.py",
    "pygase_gevent/hub/tracer.py",
    "pygase_gevent/hub/udp.py",
    "pygase_gevent/hub/watchdog.py",
    "pygase_gevent/hub/worker.py",
    "pygase_gevent/loop_events.py",
    "pygase_gevent/network_loop.py",
    "pygase_gevent/outbox.py",
    "pygase_gevent/precision.py",
    "pygase_gevent/pusher.py",
    "pygase_gevent/runners.py",
    "pygase_gevent/server_loop.py",
    "pygase_gevent/shortforms.py",
    "pygase_gevent/wire_queue.py",
)
"""What each packet and each event passes through beside the protocol."""
CHOOSER = "pygase_gevent/protocol/netcode/sealing.py"
"""Stays as it is: it only imports one thing or another."""
WITHIN = ["-fno-semantic-interposition", "-fvisibility=hidden", "-fno-plt"] if sys.platform == "linux" else []
"""Nobody calls the compiled functions from elsewhere, or puts others in their place: they may be inlined."""
WARNINGS = [] if sys.platform == "win32" else ["-Wall", "-Wextra"]


def compiled_modules() -> list[str]:
    """Paths of the modules to compile: nothing in them that an application subclasses or patches."""
    found = [str(path) for folder in FOLDERS for path in sorted(Path(folder).glob("*.py"))]
    return [*MODULES, *(path for path in found if not path.endswith("__init__.py") and path != CHOOSER)]


def extensions() -> list[Extension]:
    """What is written in C; a build goes on without one that does not compile."""
    sealing = Extension(
        "pygase_gevent.protocol.netcode._sealing",
        ["pygase_gevent/protocol/netcode/_sealing.c"],
        extra_compile_args=WARNINGS,
        optional=True,
    )
    batches = Extension(
        "pygase_gevent.hub._batches",
        ["pygase_gevent/hub/_batches.c"],
        extra_compile_args=WARNINGS,
        optional=True,
    )
    return [sealing, batches] if sys.platform == "linux" else [sealing]


def compiled() -> list[Extension]:
    """Empty while pip only asks what the build needs."""
    try:
        from mypyc.build import mypycify
    except ImportError:
        return []
    # The type check of the whole is not the build's business.
    options = {"opt_level": "3", "debug_level": "0", "multi_file": True}  # one file takes twice as long
    modules = mypycify(["--follow-imports=silent", *compiled_modules()], **options)
    for module in modules:
        module.extra_compile_args = [*module.extra_compile_args, *WITHIN]  # the list is the same for all
    return [*modules, *extensions()]


if os.environ.get("PYGASE_GEVENT_COMPILE") == "1":
    setup(ext_modules=compiled(), setup_requires=BUILD_REQUIRES)
else:
    setup()
