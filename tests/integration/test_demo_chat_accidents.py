"""Chat over a line that loses, and with a server that is killed: real processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demos.chat import rules
from demos.processes import parse_address
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.relay import Relay
from tests.chat_users import SECONDS, Start, User, free_port, is_free, running_server, users

from .support import eventually


@pytest.fixture
def start() -> Iterator[Start]:
    with users() as start_user:
        yield start_user


def test_over_a_bad_line_nothing_is_lost_or_said_twice_and_the_order_stays(start: Start) -> None:
    line = LinkOptions(loss=0.2, delay_s=0.02, jitter_s=0.01, duplicate=0.1, corrupt=0.02)
    with (
        running_server("--port", "0") as (_, address),
        Relay(parse_address(address), up=line, seed=1) as relay,
    ):
        people = [start("ann", "--join", address), start("ben", "--join", f"localhost:{relay.port}")]
        check_that_all_read_the_same(people, ["ann", "ben"])
        assert relay.up_counts["lost"] > 0
        people[1].leaves()


def test_a_server_that_is_killed_is_replaced_and_nothing_is_lost(start: Start, tmp_path: Path) -> None:
    port = free_port()
    options = ("--port", str(port), "--transcript", str(tmp_path / "transcript"))
    names = ["ann", "ben", "cleo"]
    with running_server(*options) as (process, _):
        people = [start(name, *options, "--idle", "0.5") for name in names]
        check_that_all_read_the_same(people, names, half_way=process.kill)
    for user in people:
        user.leaves()
    eventually(lambda: is_free(port), limit_s=SECONDS)


@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
def test_the_screen_shows_what_becomes_of_the_connection(tmp_path: Path) -> None:
    from tests.pseudo_terminal import OnTerminal

    options = ("--port", str(free_port()), "--transcript", str(tmp_path / "transcript"))
    with running_server(*options) as (process, address):
        ann = OnTerminal("-m", "demos.chat", "--join", address, "--name", "ann")
        ann.wait_for("● connected")
        ann.type("one\r")
        ann.wait_for("ann: one")
        process.kill()
        ann.type("two\r")
        ann.wait_for("connection lost, trying to get it back")
        ann.wait_for("● resuming  1 unsent  you are ann")
    with running_server(*options):
        ann.wait_for("ann: two")
        ann.wait_for("● connected  round trip")
        assert [line.partition(": ")[2].split()[0] for line in ann.screen.lines() if " ann: " in line] == [
            "one",
            "two",
        ]
        ann.type("\x03")
        assert ann.end() == 0
    assert ann.screen.strange == []


def nothing() -> None:
    """Happens half way."""


def check_that_all_read_the_same(
    people: list[User], names: list[str], half_way: Callable[[], object] = nothing
) -> None:
    """All say as much as one may at once, and read everything, once, in one order."""
    for user in people:
        seen = ""
        while not all(name in seen for name in names):
            seen += user.reads()
    for number in range(rules.LINES_AT_ONCE):
        if number == rules.LINES_AT_ONCE // 2:
            half_way()
        for user in people:
            user.says(str(number))
    count = len(people) * rules.LINES_AT_ONCE
    transcripts = [user.reads_said(count) for user in people]
    for transcript in transcripts:
        assert transcript == transcripts[0]
    for name in names:
        assert [line for line in transcripts[0] if line.startswith(f"<{name}>")] == [
            f"<{name}> {number}" for number in range(rules.LINES_AT_ONCE)
        ]
