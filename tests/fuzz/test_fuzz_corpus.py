"""The kept corpus: what fuzzing found worth keeping, every input that ever escaped, and the bombs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import CORPUS, NAMES
from tests.fuzz.bombs import Bomb, all_bombs
from tests.fuzz.measure import CALLS_PER_DATAGRAM, KIB
from tests.fuzz.targets import TARGETS

CORPUS_LIMIT_BYTES = 200 * KIB


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_kept_escapes(name: str) -> None:
    kept = sorted((CORPUS / name).iterdir())
    assert kept
    for path in kept:
        try:
            TARGETS[name](path.read_bytes())
        except BaseException as error:
            error.add_note(f"kept as {path}") if hasattr(error, "add_note") else None
            raise


def test_the_corpus_stays_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) <= CORPUS_LIMIT_BYTES


@pytest.mark.parametrize("bomb", all_bombs(), ids=lambda bomb: bomb.name)
def test_a_bomb_costs_no_more_than_it_may(bomb: Bomb) -> None:
    cost = bomb.cost()
    assert cost.peak_bytes <= bomb.limit_bytes
    assert cost.calls <= CALLS_PER_DATAGRAM


def test_the_command_knows_all_targets() -> None:
    assert tuple(TARGETS) == NAMES


def test_without_atheris_the_command_says_what_it_needs() -> None:
    blocked = (
        "import sys, importlib.util as util, runpy\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'atheris' else find(name, *rest)\n"
        "sys.argv = ['fuzz', '--target', 'frames']\n"
        "runpy.run_module('tests.fuzz', run_name='__main__')\n"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", blocked], cwd=root, capture_output=True, text=True)
    assert result.returncode == 2
    assert "needs atheris: pip install 'pygase-gevent[fuzz]'" in result.stderr
    assert "Traceback" not in result.stderr
