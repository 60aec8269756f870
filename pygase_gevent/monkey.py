"""Run programs that were written for PyGaSe 0.3, unchanged.

    python -m pygase_gevent.monkey old_game.py [args]
    python -m pygase_gevent.monkey -m old_game [args]

or, at the top of a program, before anything imports `pygase`:

    from pygase_gevent.monkey import patch_pygase
    patch_pygase()

`docs/migration.md` lists what differs.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import types
from collections.abc import Sequence
from typing import NoReturn

from pygase_gevent import legacy
from pygase_gevent.errors import LocalError
from pygase_gevent.legacy import backend, client, connection, event, gamestate, server, utils

_USAGE = """\
usage: python -m pygase_gevent.monkey FILE [ARGUMENT ...]
       python -m pygase_gevent.monkey -m MODULE [ARGUMENT ...]

Runs a program that was written for PyGaSe 0.3: `import pygase` gives pygase_gevent's stand-in.
"""

_EXIT_USAGE = 2


class AlreadyImportedError(LocalError, ImportError):
    """The real PyGaSe was imported before."""


def patch_pygase() -> None:
    """From now on `import pygase` and its submodules give this library's stand-in.

    Idempotent. A PyGaSe that is installed besides is not touched, only out of reach.

    Raises:
        AlreadyImportedError: `pygase` was imported before, so parts of the program use it already.
    """
    modules = {
        "pygase": legacy,
        **{f"pygase.{each.__name__.rpartition('.')[2]}": each for each in _SUBMODULES},
    }
    if "pygase" not in sys.modules:
        # An import that failed leaves the submodules that it got to.
        for name in [name for name in sys.modules if name.startswith("pygase.")]:
            del sys.modules[name]
    elif sys.modules["pygase"] is not legacy:
        place = getattr(sys.modules["pygase"], "__file__", None) or "an unknown place"
        raise AlreadyImportedError(
            f"'pygase' was imported already, from {place}: call patch_pygase() before the first "
            "import of pygase, or start the program by `python -m pygase_gevent.monkey`",
            name="pygase",
        )
    sys.modules.update(modules)


_SUBMODULES = (backend, client, connection, event, gamestate, server, utils)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program that the command line names, as `python` would.

    Args:
        arguments: those after `python -m pygase_gevent.monkey`; from `sys.argv` if not given.

    Raises:
        SystemExit: the program's own; 2 if there is none to run.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["-h"], ["--help"]):
        print(_USAGE, end="")
        return
    is_module = given[:1] == ["-m"]
    rest = given[1:] if is_module else given
    if not rest or (not is_module and rest[0].startswith("-")):
        sys.stderr.write(_USAGE)
        raise SystemExit(_EXIT_USAGE)
    patch_pygase()
    module, code = _load_module(rest[0]) if is_module else _load_file(rest[0])
    sys.argv[:] = [str(module.__file__) if is_module else rest[0], *rest[1:]]
    # The real `__main__`, for as long as the process lives: threads of the program outlive its last line.
    sys.modules["__main__"] = module
    exec(code, module.__dict__)


def _load_file(path: str) -> tuple[types.ModuleType, types.CodeType]:
    absolute = os.path.abspath(path)
    try:
        with io.open_code(absolute) as file:
            source = file.read()
    except OSError as error:
        _refuse(f"can't open file {path!r}: {error.strerror}")
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    module = types.ModuleType("__main__")
    module.__file__ = absolute
    return _with_builtins(module), compile(source, absolute, "exec", dont_inherit=True)


def _load_module(name: str) -> tuple[types.ModuleType, types.CodeType]:
    sys.path[0] = os.getcwd()
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ImportError as error:
        _refuse(f"can't import {name!r}: {error}")
    code = None if spec is None else getattr(spec.loader, "get_code", lambda _: None)(spec.name)
    if spec is None or code is None:
        _refuse(f"no module {name!r}, or one that is no program")
    module = types.ModuleType("__main__")
    module.__file__ = spec.origin
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__package__ = spec.parent
    return _with_builtins(module), code


def _with_builtins(module: types.ModuleType) -> types.ModuleType:
    module.__dict__["__builtins__"] = __builtins__
    return module


def _refuse(text: str) -> NoReturn:
    sys.stderr.write(f"python -m pygase_gevent.monkey: {text}\n")
    raise SystemExit(_EXIT_USAGE)


if __name__ == "__main__":
    main()
