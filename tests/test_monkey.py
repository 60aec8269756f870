"""`import pygase` after `patch_pygase`, and `python -m pygase_gevent.monkey`, run as a user runs them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pygase_gevent.monkey import patch_pygase

PUBLIC_NAMES = {
    "pygase": "Client Backend Server GameStateStore GameStateMachine GameState get_available_ip_addresses",
    "pygase.client": "Client ClientConnection UniversalEventHandler Event",
    "pygase.backend": "GameStateStore Server GameStateMachine Backend ServerConnection",
    "pygase.server": "GameStateStore Server GameStateMachine",
    "pygase.gamestate": "TO_DELETE GameStatus GameState GameStateUpdate",
    "pygase.event": "Event UniversalEventHandler",
    "pygase.connection": """
        PROTOCOL_ID ProtocolIDMismatchError DuplicateSequenceError Header Package ClientPackage ServerPackage
        ConnectionStatus Connection ClientConnection ServerConnection
        """,
    "pygase.utils": """
        Comparable Sendable NamedEnum Sqn LockedRessource get_available_ip_addresses logger
        """,
}


def run(*arguments: str, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pygase_gevent.monkey", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        input=stdin,
        cwd=cwd,
    )


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in PUBLIC_NAMES.items() for name in names.split()]
)
def test_every_public_name_is_there(module: str, name: str) -> None:
    patch_pygase()
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    "source",
    [
        "import pygase; pygase.Client(); pygase.connection.Package; pygase.gamestate.TO_DELETE",
        "import pygase as pg; pg.GameState(x=1)",
        "import pygase.client; pygase.client.Client()",
        "import pygase.utils as utils; utils.Sqn(1)",
        "from pygase import client, backend, server, gamestate, event, connection, utils; client.Client()",
        "from pygase import *",
        "from pygase.gamestate import *; GameStatus.get('Active')",
        "import importlib; importlib.import_module('pygase.event').Event('X')",
        "import importlib.util; assert importlib.util.find_spec('pygase.backend')",
        "patch_pygase(); import pygase; patch_pygase()",
    ],
)
def test_every_way_to_import_works(source: str) -> None:
    prefix = "from pygase_gevent.monkey import patch_pygase; patch_pygase(); "
    done = subprocess.run([sys.executable, "-c", prefix + source], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_real_pygase_that_was_imported_before_is_named(tmp_path: Path) -> None:
    (tmp_path / "pygase.py").write_text("")
    source = "import pygase; from pygase_gevent.monkey import patch_pygase; patch_pygase()"
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "AlreadyImportedError: 'pygase' was imported already, from " in done.stderr
    assert str(tmp_path / "pygase.py") in done.stderr
    assert "before the first import of pygase" in done.stderr


def test_leftovers_of_one_that_does_not_import_are_replaced(tmp_path: Path) -> None:
    package = tmp_path / "pygase"
    package.mkdir()
    (package / "__init__.py").write_text("from pygase.utils import x; from pygase import nowhere")
    (package / "utils.py").write_text("x = 1")
    (package / "more.py").write_text("y = 1")
    source = """
import sys
try:
    import pygase.more
except ImportError:
    assert "pygase.utils" in sys.modules
    sys.modules["pygase.more"] = sys.modules["pygase.utils"]
    from pygase_gevent.monkey import patch_pygase
    patch_pygase()
    assert "pygase.more" not in sys.modules
import pygase, pygase.utils
assert pygase.utils.Sqn(1) + 1 == 2 and "pygase_gevent" in pygase.__file__
sys.modules["pygase.plugin_of_the_game"] = sys
patch_pygase()
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_one_that_is_only_installed_is_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "pygase.py").write_text("raise SystemExit('the real one')")
    (tmp_path / "game.py").write_text("import pygase; print(pygase.Client().connection)")
    done = run("game.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "None\n")


GAME = """\
'''A game.'''
import os, sys
import __main__
import helper
from pygase import Client

name = "a game"

class Player(Client):
    pass

if __name__ == "__main__":
    assert __main__.name == name and __main__.Player is Player
    assert sys.modules["__main__"] is __main__
    assert Player.__module__ == "__main__"
    assert __doc__ == "A game."
    import pickle
    assert pickle.loads(pickle.dumps(Player)) is Player
    print(sys.argv[1:], os.path.basename(sys.argv[0]), os.path.basename(__file__), __package__, helper.value)
    print(os.path.realpath(sys.path[0]))
    sys.exit(3)
"""


def test_a_file_runs_as_python_runs_it(tmp_path: Path) -> None:
    folder = tmp_path / "games"
    folder.mkdir()
    (folder / "game.py").write_text(GAME)
    (folder / "helper.py").write_text("import pygase.utils; value = pygase.utils.Sqn(7)")
    asked = [("games/game.py", "a", "-m", "--help"), (str(folder / "game.py"), "a", "-m", "--help")]
    for arguments in asked:
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        by_python = subprocess.run(
            [sys.executable, "-c", "import sys; print(sys.path[0])"], capture_output=True, text=True
        )
        assert by_python.returncode == 0
        first, second = done.stdout.splitlines()
        assert first == "['a', '-m', '--help'] game.py game.py None 7"
        assert second == os.path.realpath(folder)


def test_a_file_is_compiled_by_its_own_rules(tmp_path: Path) -> None:
    (tmp_path / "game.py").write_text(
        "def f(x: int): pass\n"
        "print(f.__annotations__['x'] is int, __file__ == f.__code__.co_filename, __file__)"
    )
    done = run("game.py", cwd=tmp_path)
    assert done.stdout.split() == ["True", "True", str(tmp_path / "game.py")], done.stderr


def test_a_module_runs_as_python_runs_it(tmp_path: Path) -> None:
    package = tmp_path / "games"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("value = 8")
    (package / "game.py").write_text(GAME.replace("import helper", "from . import helper"))
    (package / "__main__.py").write_text("from games import game; print('all of', game.name, __package__)")
    done = run("-m", "games.game", "a", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == ["['a'] game.py game.py games 8", os.path.realpath(tmp_path)]
    done = run("-m", "games", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "all of a game games\n"), done.stderr


def test_what_cannot_run_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def f(:\n")
    for arguments, message in [
        (["nowhere.py"], "can't open file 'nowhere.py': No such file or directory"),
        (["."], "can't open file '.': Is a directory"),
        (["-m", "nowhere.at_all"], "can't import 'nowhere.at_all'"),
        (["-m", "nowhere"], "no module 'nowhere'"),
        (["-m"], "usage: "),
        (["-x"], "usage: "),
        ([], "usage: "),
    ]:
        done = run(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    done = run("bad.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "SyntaxError" in done.stderr
    done = run("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: ")


def test_an_error_of_the_program_is_the_programs(tmp_path: Path) -> None:
    (tmp_path / "game.py").write_text("import pygase\npygase.Backend()\n")
    done = run("game.py", cwd=tmp_path)
    assert done.returncode == 1
    assert f'File "{tmp_path / "game.py"}", line 2' in done.stderr  # as python says it
    assert "TypeError" in done.stderr
