"""Chat as its users start it: real processes, line by line. What takes seconds is in integration/."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chat_users import SECONDS, Start, free_port, is_free, running_server, users
from tests.conftest import eventually


@pytest.fixture
def start() -> Iterator[Start]:
    with users() as start_user:
        yield start_user


@pytest.fixture
def server() -> Iterator[str]:
    with running_server("--port", "0") as (_, address):
        yield address


def test_the_first_user_starts_a_server_that_lives_on_while_anybody_is_there(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    port = free_port()
    options = ("--port", str(port), "--idle", "0.5")
    ann = start("ann", *options)
    ann.reads_until("* in lobby: ann")
    ben = start("ben", *options)
    ben.reads_until("* in lobby: ann, ben")
    ben.says(*(f"line {number}" for number in range(10)), "/nick bernard", "/who", "\x1b[31mred")
    said = [*(f"<ben> line {number}" for number in range(10)), "<bernard> [31mred"]
    assert ann.reads_until(said[-1]) == ["* ben joined lobby", *said[:-1], "* ben is now bernard", said[-1]]
    ann.process.send_signal(signal.SIGINT)
    assert ann.leaves() == []
    seen = ben.reads_until("* ann left")  # she carried nobody's server
    assert [line for line in seen if line.startswith("<")] == said
    assert "* in lobby: ann, bernard" in seen
    cleo = start("cleo", *options)
    assert cleo.reads_until("* in lobby: bernard, cleo")[0] == "* cleo joined lobby"
    cleo.says("/history", "hi")
    assert cleo.reads_until("<cleo> hi") == [*said, "<cleo> hi"]
    assert ben.reads_until("<cleo> hi") == ["* cleo joined lobby", "<cleo> hi"]
    assert cleo.leaves() == []
    assert ben.reads_until("* cleo left") == ["* cleo left"]
    assert ben.leaves() == []
    eventually(lambda: is_free(port), SECONDS)  # nobody is there, so the server has ended


def test_names_rooms_and_private_messages(server: str, start: Start) -> None:
    first = start("ann", "--join", server)
    first.reads_until("* in lobby: ann")
    second = start("ben", "--join", server)
    second.reads_until("* in lobby: ann, ben")
    third = start("Ann", "--join", server)
    assert "* the name Ann is taken, or not allowed: you are Ann2" in third.reads_until(
        "* in lobby: ann, Ann2, ben"
    )
    third.says("/join Attic", "alone", "/msg BEN psst", "/me waves", "/rooms", "/leave", "back")
    assert third.reads_until("<Ann2> back") == [
        "* Ann2 joined attic",
        "* in attic: Ann2",
        "<Ann2> alone",
        "<Ann2 to ben> psst",
        "~ Ann2 waves",
        "* rooms: lobby (3), attic (1)",
        "* you left attic",
        "<Ann2> back",
    ]
    third.leaves()
    both = ["* Ann2 joined lobby", "<Ann2> back", "* Ann2 left"]
    assert second.reads_until("* Ann2 left") == [both[0], "<Ann2 to ben> psst", *both[1:]]
    assert first.reads_until("* Ann2 left") == ["* ben joined lobby", *both]
