"""Chat: its rules, and real runs of its processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pexpect
import pytest

from demos.chat import rules
from demos.processes import parse_address
from pygase_gevent import TO_DELETE
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.relay import Relay

CHAT = [sys.executable, "-m", "demos.chat"]
SECONDS = 30  # generous: these wait on conditions
PROMPT = "\x1b[?2004h"  # prompt_toolkit takes the terminal: bracketed paste on

ANN_AND_BEN = {1: {"name": "ann", "room": "lobby"}, 2: {"name": "ben", "room": "lobby"}}


def texts_for(user_id: int, outcome: rules.Outcome) -> list[str]:
    return [show.text for show in outcome.shows if user_id in show.to]


# --- rules --------------------------------------------------------------------------------------------


def test_the_first_line_names_a_user_and_tells_the_lobby() -> None:
    outcome = rules.handle_line(ANN_AND_BEN, 3, "/nick cleo")
    assert outcome.changes == {3: {"name": "cleo", "room": "lobby"}}
    assert texts_for(1, outcome) == ["cleo joined lobby"]
    assert texts_for(3, outcome) == ["cleo joined lobby", "in lobby: ann, ben, cleo"]


@pytest.mark.parametrize("wanted", ["ann", "ANN", "\uff41nn"])
def test_a_taken_name_gets_a_number_at_the_door(wanted: str) -> None:
    outcome = rules.handle_line(ANN_AND_BEN, 3, f"/nick {wanted}")
    assert outcome.changes[3]["name"] == f"{wanted}2"
    assert texts_for(3, outcome)[0] == f"the name {wanted} is not free: you are {wanted}2"


@pytest.mark.parametrize(
    "wanted", ["hello", "/nick", "/nick two words", "/nick " + "x" * 21, "/nick \x1b[31m"]
)
def test_without_a_usable_name_one_is_a_guest(wanted: str) -> None:
    outcome = rules.handle_line(ANN_AND_BEN, 3, wanted)
    assert outcome.changes[3]["name"] == "guest"


def test_a_line_goes_to_everybody_in_the_room_and_nobody_else() -> None:
    users = {**ANN_AND_BEN, 3: {"name": "cleo", "room": "attic"}}
    outcome = rules.handle_line(users, 1, "hello")
    assert outcome.shows == (rules.Show((1, 2), "said", "ann", "hello"),)
    assert outcome.changes == {}


def test_nick_tells_the_room_and_refuses_a_taken_name() -> None:
    outcome = rules.handle_line(ANN_AND_BEN, 1, "/nick anna")
    assert outcome.changes == {1: {"name": "anna"}}
    assert texts_for(2, outcome) == ["ann is now anna"]
    refused = rules.handle_line(ANN_AND_BEN, 1, "/nick Ben")
    assert refused.changes == {} and texts_for(1, refused) == ["the name Ben is taken"]
    assert texts_for(2, refused) == []
    assert rules.handle_line(ANN_AND_BEN, 1, "/nick Ann").changes == {1: {"name": "Ann"}}


def test_join_tells_both_rooms() -> None:
    users = {**ANN_AND_BEN, 3: {"name": "cleo", "room": "attic"}}
    outcome = rules.handle_line(users, 1, "/join attic")
    assert outcome.changes == {1: {"room": "attic"}}
    assert texts_for(2, outcome) == ["ann left"]
    assert texts_for(3, outcome) == ["ann joined attic"]
    assert texts_for(1, outcome) == ["ann joined attic", "in attic: ann, cleo"]


def test_who_names_the_room() -> None:
    assert texts_for(2, rules.handle_line(ANN_AND_BEN, 2, "/who")) == ["in lobby: ann, ben"]


def test_quit_takes_the_user_out_and_says_goodbye_last() -> None:
    outcome = rules.handle_line(ANN_AND_BEN, 1, "/quit")
    assert outcome.changes == {1: TO_DELETE}
    assert outcome.shows == (
        rules.Show((2,), "notice", "", "ann left"),
        rules.Show((1,), "bye", "", "goodbye"),
    )


def test_an_unknown_command_is_not_said() -> None:
    outcome = rules.handle_line(ANN_AND_BEN, 1, "/secret word")
    assert texts_for(2, outcome) == [] and "no such command: /secret" in texts_for(1, outcome)[0]


@pytest.mark.parametrize("line", ["", "   ", "\x1b", "\x07\x00"])
def test_an_empty_line_is_not_said(line: str) -> None:
    assert rules.handle_line(ANN_AND_BEN, 1, line) == rules.Outcome({}, ())


def test_cleaning_leaves_nothing_that_steers_a_terminal() -> None:
    dirty = "a\x1b[2Jb\r\nc\x9b31md\u202ee\u2066f\x7fg\ud800h\ti"
    assert rules.clean(dirty) == "a[2Jbc31mdefgh i"
    assert len(rules.clean("x" * 9999)) == rules.TEXT_LENGTH
    assert rules.clean("größe 猫 🐈") == "größe 猫 🐈"


# --- real runs ----------------------------------------------------------------------------------------


@pytest.fixture
def port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server() -> Iterator[str]:
    """A server of its own; its address."""
    process = subprocess.Popen([*CHAT, "--server", "--port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on localhost:")
    yield line.removeprefix("listening on ").strip()
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0
    process.stdout.close()


def start(*options: str) -> tuple[subprocess.Popen[str], IO[str], IO[str]]:
    process = subprocess.Popen(
        [*CHAT, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    return process, process.stdin, process.stdout


def read_until(output: IO[str], line: str) -> list[str]:
    """Reads lines up to one, which must come."""
    lines: list[str] = []
    while not lines or lines[-1] != line:
        read = output.readline()
        assert read, f"ended without {line!r}: {lines}"
        lines.append(read.rstrip("\n"))
    return lines


def test_two_users_of_a_server_that_starts_by_itself(port: int) -> None:
    ann, ann_types, ann_reads = start("--port", str(port), "--name", "ann")
    read_until(ann_reads, "* in lobby: ann")
    ben, ben_types, ben_reads = start("--port", str(port), "--name", "ben")
    read_until(ben_reads, "* in lobby: ann, ben")
    read_until(ann_reads, "* ben joined lobby")
    for number in range(50):
        print(f"line {number}", file=ben_types, flush=True)
    print("/nick bernard\n/who\n\x1b[31mred", file=ben_types)
    ben_types.close()
    expected = [f"<ben> line {number}" for number in range(50)]
    expected += ["* ben is now bernard", "<bernard> [31mred", "* bernard left"]
    assert read_until(ann_reads, "* bernard left") == expected
    assert "* in lobby: ann, bernard" in ben_reads.read()
    assert ben.wait(SECONDS) == 0
    ann_types.close()
    assert ann_reads.read() == "" and ann.wait(SECONDS) == 0
    for output in (ann_reads, ben_reads):
        output.close()


def test_names_are_unique_and_rooms_apart(server: str) -> None:
    first, first_types, first_reads = start("--join", server, "--name", "ann")
    read_until(first_reads, "* in lobby: ann")
    second, second_types, second_reads = start("--join", server, "--name", "ann")
    assert "* the name ann is not free: you are ann2" in read_until(second_reads, "* in lobby: ann, ann2")
    print("/join attic\nalone", file=second_types, flush=True)
    read_until(second_reads, "<ann2> alone")
    second_types.close()
    assert second.wait(SECONDS) == 0
    first_types.close()
    assert first_reads.read().splitlines() == ["* ann2 joined lobby", "* ann2 left"]
    assert first.wait(SECONDS) == 0
    for output in (first_reads, second_reads):
        output.close()


def test_over_a_bad_line_nothing_is_lost_or_said_twice_and_the_order_stays(server: str) -> None:
    line = LinkOptions(loss=0.2, delay_s=0.02, jitter_s=0.01, duplicate=0.1, corrupt=0.02)
    with Relay(parse_address(server), up=line, seed=1) as relay:
        ann, ann_types, ann_reads = start("--join", server, "--name", "ann")
        read_until(ann_reads, "* in lobby: ann")
        ben, ben_types, ben_reads = start("--join", f"localhost:{relay.port}", "--name", "ben")
        read_until(ben_reads, "* in lobby: ann, ben")
        read_until(ann_reads, "* ben joined lobby")
        for number in range(200):
            print(number, file=ben_types if number % 2 else ann_types, flush=True)
        at_ben = [ben_reads.readline().rstrip("\n") for _ in range(200)]
        ben_types.close()
        at_ann = read_until(ann_reads, "* ben left")[:-1]
        assert at_ann == at_ben and ben_reads.read() == ""
        assert sorted(int(line.partition("> ")[2]) for line in at_ann) == list(range(200))
        for name, first in (("ann", 0), ("ben", 1)):
            assert [line for line in at_ann if name in line] == [
                f"<{name}> {number}" for number in range(first, 200, 2)
            ]
        assert relay.up_counts["lost"] > 0
    ann_types.close()
    assert (ann.wait(SECONDS), ben.wait(SECONDS)) == (0, 0)
    for output in (ann_reads, ben_reads):
        output.close()


def test_ctrl_c_ends_a_user_and_the_server_it_started(port: int) -> None:
    process, types, reads = start("--port", str(port), "--name", "ann")
    read_until(reads, "* in lobby: ann")
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0
    assert "Traceback" not in reads.read()
    types.close()
    reads.close()
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("localhost", port))  # nobody is left there


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
class TestOnATerminal:
    def start(self, *options: str) -> pexpect.spawn:
        return pexpect.spawn(
            sys.executable,
            ["-m", "demos.chat", *options],
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            dimensions=(24, 80),
            encoding="utf-8",
            timeout=SECONDS,
        )

    def test_a_half_typed_line_stays_intact_while_messages_arrive(self, server: str) -> None:
        ann = self.start("--join", server, "--name", "ann")
        ann.expect_exact("ann joined lobby")
        ann.expect_exact(PROMPT)
        ann.send("half a li")
        ben, ben_types, ben_reads = start("--join", server, "--name", "ben")
        read_until(ben_reads, "* in lobby: ann, ben")
        print("interrupting", file=ben_types, flush=True)
        ann.expect_exact("<ben> interrupting")
        ann.expect_exact("> half a li")  # drawn again below the message
        ann.send("ne\r")
        ann.expect_exact("<ann> half a line")
        read_until(ben_reads, "<ann> half a line")
        ben_types.close()
        ben_reads.read()
        assert ben.wait(SECONDS) == 0
        ben_reads.close()
        ann.expect_exact("ben left")
        ann.send("/quit\r")
        ann.expect(pexpect.EOF)
        ann.close()
        assert ann.exitstatus == 0

    @pytest.mark.parametrize("how", ["\x03", "\x04", "/quit\r"])
    def test_ctrl_c_ctrl_d_and_quit_end_it_without_a_traceback(self, how: str, server: str) -> None:
        ann = self.start("--join", server, "--name", "ann")
        ann.expect_exact("ann joined lobby")
        ann.expect_exact(PROMPT)
        ann.send(how)
        ann.expect(pexpect.EOF)
        assert not re.search("Traceback|Error", ann.before)
        ann.close()
        assert ann.exitstatus == 0
