"""The chat's transcript: what a server that was killed leaves to the next one."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from demos.chat import transcript as module
from demos.chat.shared import PAGE, Line
from demos.chat.transcript import KEPT_LINES, Transcript


def said(text: str, room: str = "lobby") -> tuple[str, Line]:
    return room, Line(room, 0, 1.5, "said", "ann", text)


def texts(transcript: Transcript, log: str, after: int | None = None) -> list[str]:
    return [line.text for line in transcript.lines(log, after)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "somewhere" / "transcript.jsonl"


def test_the_next_server_knows_what_was_said(path: Path) -> None:
    first = Transcript(path)
    (line,) = first.add("a", 1, [said("größe 猫")])
    (other,) = first.add("a", 2, [said("two")])
    first.add("b", 7, [said("psst", "@a"), said("psst", "@b")])
    assert other.number == line.number + 1
    # Not closed: it was killed.
    second = Transcript(path)
    assert texts(second, "lobby") == ["größe 猫", "two"]
    assert second.lines("lobby", line.number) == [other]
    assert (texts(second, "@a"), texts(second, "@b")) == (["psst"], ["psst"])
    assert [second.heard(author) for author in "abc"] == [2, 7, 0]
    (third,) = second.add("a", 3, [said("three")])
    assert third.number == other.number + 1
    first.close()
    second.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_nobody_else_may_read_it(path: Path) -> None:
    transcript = Transcript(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    transcript.close()


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_half_a_record_at_the_end_is_nothing(path: Path, cut: int) -> None:
    first = Transcript(path)
    first.add("a", 1, [said("whole")])
    first.add("a", 2, [said("half")])
    first.close()
    os.truncate(path, path.stat().st_size - cut)
    second = Transcript(path)
    assert texts(second, "lobby") == (["whole", "half"] if cut == 1 else ["whole"])
    second.add("a", 2, [said("again")])
    second.close()
    third = Transcript(path)
    assert texts(third, "lobby")[-1] == "again" and texts(third, "lobby")[0] == "whole"
    third.close()


BAD_LINES = (
    [["x"], "lobby", 5, 1.0, "said", "a", "log is a list", "", 0],
    ["lobby", "lobby", "abc", 1.0, "said", "a", "number is a text", "", 0],
    ["lobby", "lobby", 2**70, 1.0, "said", "a", "number is huge", "", 0],
    ["lobby", "lobby", -1, 1.0, "said", "a", "number is none", "", 0],
    ["lobby", "lobby", 5, "now", "said", "a", "time is a text", "", 0],
    ["lobby", "lobby", 5, float("nan"), "said", "a", "time is none", "", 0],
    ["lobby", "lobby", 5, 10**400, "said", "a", "time is huge", "", 0],
    ["lobby", "lobby", 5, 1.0, "said", "a", ["text is a list"], "", 0],
)
BAD_RECORDS = [
    *(b"\xff", b"[]", b'{"lines":[["lobby"]],"heard":{}}', b'{"lines":1}', b"null", b"7", b"[" * 200_000),
    b'{"heard":{"a":Infinity},"lines":[]}',
    b'{"heard":{"a":%d},"lines":[]}' % 2**70,
    b'{"heard":{"a":"many"},"lines":[]}',
    *(json.dumps({"heard": {"b": 1}, "lines": [fields]}).encode() for fields in BAD_LINES),
]


def test_what_is_no_record_is_passed_over(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"\n".join(BAD_RECORDS) + b"\n")
    transcript = Transcript(path)
    (record,) = caplog.records  # one line for all
    assert f"{len(BAD_RECORDS)} records" in record.message and str(path) in record.message
    assert texts(transcript, "lobby") == [] and transcript.heard("a") == transcript.heard("b") == 0
    transcript.add("a", 1, [said("one")])
    transcript.close()
    assert texts(Transcript(path), "lobby") == ["one"]


def test_pages_and_what_is_forgotten() -> None:
    transcript = Transcript()
    for number in range(KEPT_LINES + 10):
        transcript.add("a", number, [said(str(number))])
    assert texts(transcript, "lobby") == [str(number) for number in range(KEPT_LINES - 90, KEPT_LINES + 10)]
    (oldest, *_) = page = transcript.lines("lobby", 0)
    assert (oldest.text, len(page)) == ("10", PAGE)
    assert texts(transcript, "lobby", page[-1].number)[0] == "110"
    assert transcript.lines("lobby", transcript.last("lobby")) == []


def test_the_file_is_written_anew_when_it_is_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS", 50)
    monkeypatch.setattr(module, "KEPT_LINES", 20)
    transcript = Transcript(path)
    for number in range(1, 200):
        transcript.add("a", number, [said(str(number))])
        transcript.add("b", number, [said(str(number), "attic")])
        assert path.read_bytes().count(b"\n") <= 60
    transcript.close()
    again = Transcript(path)
    for log in ("lobby", "attic"):
        assert again.lines(log, None) == transcript.lines(log, None)
        assert texts(again, log)[-20:] == [str(number) for number in range(180, 200)]
    assert (again.heard("a"), again.heard("b")) == (199, 199)
    again.close()


def test_quiet_rooms_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOGS", 3)
    transcript = Transcript()
    first, *_ = transcript.add("a", 1, [said("old", "attic")])
    for number in range(2, 30):
        transcript.add(f"a{number}", number, [said("x", f"room{number % 2}"), said("y", "lobby")])
    assert texts(transcript, "attic") == [] and len(texts(transcript, "lobby")) == 28
    assert transcript.heard("a") == 0 and transcript.heard("a29") == 29
    assert transcript.last("attic") >= first.number - 1  # its numbers never come again


def test_reading_a_room_forgets_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOGS", 3)
    transcript = Transcript()
    transcript.add("a", 1, [said("quiet", "attic")])
    for number in range(20):
        assert transcript.lines(f"room{number}", None) == transcript.lines(f"room{number}", 0) == []
        assert transcript.last(f"room{number}") > 0
    assert texts(transcript, "attic") == ["quiet"]


def test_who_read_a_room_when_nobody_had_spoken_misses_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    transcript = Transcript()
    last = transcript.last("attic")
    monkeypatch.setattr("time.time", lambda: 0.0)  # the clock was put back
    (line,) = transcript.add("a", 1, [said("one", "attic")])
    assert line.number == last + 1
    assert transcript.lines("attic", last) == [line]
