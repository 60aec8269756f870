"""Metadata stands in pyproject.toml. This compiles the protocol where it is asked to.

`PYGASE_GEVENT_COMPILE=1 pip install .` turns the typed modules that every packet passes into C with mypyc,
which needs a C compiler and takes a minute. The sources are the same, and run as they are without it.
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, setup

BUILD_REQUIRES = [
    "mypy[mypyc]==2.4.1",
    "msgpack>=1.1",
    "cryptography>=43",
    "PyNaCl>=1.5",
    "mypy_extensions>=1.0",
]
"""The compiler, and what it reads the types of."""
FOLDERS = ("pygase_gevent/protocol", "pygase_gevent/protocol/netcode")
MODULES = ("pygase_gevent/changes.py", "pygase_gevent/codec.py")


def compiled_modules() -> list[str]:
    """Paths of the modules to compile: no gevent in them, and nothing that is patched or subclassed."""
    found = [str(path) for folder in FOLDERS for path in sorted(Path(folder).glob("*.py"))]
    return [*MODULES, *(path for path in found if not path.endswith("__init__.py"))]


def extensions() -> list[Extension]:
    """Empty while pip only asks what the build needs."""
    try:
        from mypyc.build import mypycify
    except ImportError:
        return []
    # The type check of the whole is not the build's business.
    return list(mypycify(["--follow-imports=silent", *compiled_modules()], opt_level="3"))


if os.environ.get("PYGASE_GEVENT_COMPILE") == "1":
    setup(ext_modules=extensions(), setup_requires=BUILD_REQUIRES)
else:
    setup()
