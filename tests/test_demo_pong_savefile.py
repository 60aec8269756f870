"""The file of pong's match, and what else may stand in it or in its place."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demos.places import state_file
from demos.pong import rules
from demos.pong.savefile import SaveFile
from demos.pong.server import PongServer
from demos.pong.shared import STEP_S

TOO_LONG_S = 5.0
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")


def saved(**changes: Any) -> str:
    match = {
        "score": {"left": 1, "right": 0},
        "seats": {"left": 1, "right": 0},
        "players": {"1": {"name": "ann", "is_bot": False, "wins": 2}},
        "secrets": {"1": "secret"},
    }
    return json.dumps(match | changes)


def player(**changes: Any) -> dict[str, Any]:
    return {"1": {"name": "ann", "is_bot": False, "wins": 2} | changes}


CONTENTS = {
    "deep": "[" * 16_000,
    "deeper": "[" * 200_000,
    "huge": saved(secrets={"1": "x" * 1_000_000}),
    "infinite wins": saved(players=player(wins=float("inf"))),
    "many wins": saved(players=player(wins=2**70)),
    "negative wins": saved(players=player(wins=-1)),
    "no name": saved(players=player(name=["ann"])),
    "negative score": saved(score={"left": -5, "right": 0}),
    "endless score": saved(score={"left": float("inf"), "right": 0}),
    "won": saved(score={"left": rules.WINNING_SCORE, "right": 0}),
    "a large id": saved(
        seats={"left": 2**70, "right": 0},
        players={str(2**70): player()["1"]},
        secrets={str(2**70): "secret"},
    ),
    "both seats": saved(seats={"left": 1, "right": 1}),
    "no secret": saved(secrets={"1": 7}),
    "a blank name": saved(players=player(name="\x00")),
}
ALRIGHT = {"a blank name"}
"""It has nothing in it that can be shown, and the rest is good."""


@pytest.mark.parametrize("what", CONTENTS)
def test_a_server_starts_whatever_is_in_the_file(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "match.json"
    path.write_text(CONTENTS[what])
    server = PongServer(SaveFile(path))
    game = server.backend.game_state_store.get_game_state()
    if what in ALRIGHT:
        assert rules.name_at(game, "left") == "nobody" and not caplog.records
    else:
        assert game == rules.new_game()
        (record,) = caplog.records
        assert record.levelno == logging.WARNING and "no saved match" in record.message
        assert len(record.message) < 500 and "\n" not in record.message
    assert server._step(game, STEP_S)["tick"] >= 0


def links(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def make_fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def make_directory(path: Path, victim: Path) -> None:
    path.mkdir()


@needs_posix
@pytest.mark.parametrize("make", [links, make_fifo, make_directory])
def test_what_is_no_file_is_neither_read_nor_replaced(
    make: Callable[[Path, Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, victim = tmp_path / "match.json", tmp_path / "victim"
    victim.write_text(saved())
    make(path, victim)
    kind = stat.S_IFMT(path.lstat().st_mode)
    started_at = time.monotonic()
    file = SaveFile(path)
    assert file.load() is None
    file.save(rules.new_game(), {})
    assert time.monotonic() - started_at < TOO_LONG_S
    assert stat.S_IFMT(path.lstat().st_mode) == kind and victim.read_text() == saved()
    assert ["no saved match" in record.message for record in caplog.records] == [True, False]
    assert {each.name for each in tmp_path.iterdir()} == {"match.json", "victim"}


@needs_posix
def test_a_link_where_the_new_file_goes_is_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "match.json", tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f"match.json.{os.getpid()}.new").symlink_to(victim)
    SaveFile(path).save(rules.new_game(), {})
    assert victim.read_text() == "precious"
    assert not path.is_symlink() and json.loads(path.read_text())["score"] == {"left": 0, "right": 0}


def test_the_match_is_kept_where_only_its_owner_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = state_file("pygase_gevent_pong", "47801.json")
    assert path == tmp_path / "state" / "pygase_gevent_pong" / "47801.json"
    SaveFile(path).save(rules.new_game(), {})
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_user_without_a_home_has_no_such_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it does for those
    assert state_file("pygase_gevent_pong", "1.json") is None
