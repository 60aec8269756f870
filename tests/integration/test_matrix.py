"""The acceptance program in a part of the matrix; `python -m tests.matrix`, in .ci/run, plays all of it."""

from __future__ import annotations

from tests.matrix.__main__ import play_all

DIAGONAL = [("none", "main"), ("before", "greenlet"), ("after", "thread"), ("no-threads", "main")]


def test_every_patching_and_every_place_once() -> None:
    assert play_all(DIAGONAL) == 0
