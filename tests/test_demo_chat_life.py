"""What becomes of people in the chat when their line or the server goes and comes, in virtual time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from demos.chat.client import ChatClient
from demos.chat.lines import formatted
from demos.chat.server import ChatServer
from demos.chat.shared import PAGE, STEP_S
from pygase_gevent.testing import LinkOptions, VirtualNetwork

FINE = LinkOptions(delay_s=0.03)


class Person:
    """Somebody on a line of his own."""

    def __init__(self, network: VirtualNetwork, server: ChatServer, name: str) -> None:
        self.line = network.link(server.backend.server.port or 0, up=FINE)
        self.seen: list[str] = []
        self.old: list[str] = []
        self.client = ChatClient(
            name, lambda line, is_old: (self.old if is_old else self.seen).append(formatted(line))
        )
        self.client.connect("localhost", self.line.port)

    def user(self) -> dict[str, object]:
        """What the state says of him."""
        (user,) = [user for user in self.client.users().values() if user["name"] == self.client.name]
        return dict(user)


def start(transcript: Path | None = None, port: int = 0) -> ChatServer:
    server = ChatServer(transcript)
    server.backend.run_in_thread(port=port, interval=STEP_S)
    return server


def test_who_comes_sees_the_last_hundred_lines(virtual_network: VirtualNetwork) -> None:
    server = start()
    ann = Person(virtual_network, server, "ann")
    for number in range(PAGE + 20):
        ann.client.say("lobby", str(number))
        time.sleep(0.5)
    ben = Person(virtual_network, server, "ben")
    assert ben.old == [f"<ann> {number}" for number in range(20, PAGE + 20)]
    assert ben.seen == ["* ben joined lobby", "* in lobby: ann, ben"]
    server.backend.shutdown()


@pytest.mark.parametrize("away_s", [12, 90])
def test_a_line_that_is_away_for_long_costs_nothing_but_time(
    virtual_network: VirtualNetwork, away_s: float
) -> None:
    """The session lives for 12 seconds of it, but not for 90."""
    server = start()
    ann, ben = (Person(virtual_network, server, name) for name in ("ann", "ben"))
    ann.client.join("attic")
    ben.client.join("attic")
    time.sleep(1)
    ben.seen.clear()
    ann.line.partition()
    count = away_s // 3
    for number in range(count):
        ann.client.say("attic", f"a{number}")
        ben.client.say("attic", f"b{number}")
        time.sleep(3)
        if number == 3:
            assert "* ann lost the connection" in ben.seen
            assert [user["is_here"] for user in ben.client.users().values() if user["name"] == "ann"] == [
                False
            ]
    assert ann.client.unsent == count and ann.client.status()[0] != "connected"
    ann.line.heal()
    time.sleep(20)
    assert [line for line in ann.seen if line.startswith("<")] == [
        line for line in ben.seen if line.startswith("<")
    ]
    for name in "ab":
        assert [line for line in ann.seen if f"n> {name}" in line] == [
            f"<{'ann' if name == 'a' else 'ben'}> {name}{number}" for number in range(count)
        ]
    assert ann.seen.count("* connected again") == 1 and "* ann is back" in ben.seen
    assert ("* ann left" in ben.seen) == (away_s > 60)
    assert set(ann.user()["rooms"]) == {"lobby", "attic"}  # type: ignore[call-overload]
    server.backend.shutdown()


@pytest.mark.parametrize("away_s", [1, 90])
def test_another_server_knows_what_was_said_also_in_private(
    virtual_network: VirtualNetwork, tmp_path: Path, away_s: float
) -> None:
    server = start(tmp_path / "transcript")
    ann, ben = (Person(virtual_network, server, name) for name in ("ann", "ben"))
    ann.client.join("attic")
    ann.client.say("@ben", "before")
    port = server.backend.server.port or 0
    server.backend.shutdown()
    ann.client.say("@ben", "meanwhile")
    ann.client.say("attic", "alone")
    ben.client.say("@ann", "me, too")
    time.sleep(away_s)
    server = start(tmp_path / "transcript", port)
    time.sleep(20)
    ben.client.say("lobby", "that was that")
    time.sleep(1)
    private = sorted(line for line in ann.seen if "<" in line and " to " in line)
    assert private == ["<ann to ben> before", "<ann to ben> meanwhile", "<ben to ann> me, too"]
    assert sorted(line for line in ben.seen if "<" in line and " to " in line) == private
    assert "<ann> alone" in ann.seen and "<ann> alone" not in ben.seen
    assert ann.seen[-1] == ben.seen[-1] == "<ben> that was that"
    assert set(ann.user()["rooms"]) == {"lobby", "attic"}  # type: ignore[call-overload]
    server.backend.shutdown()


def test_who_is_written_to_may_come_back_later_than_who_writes(
    virtual_network: VirtualNetwork, tmp_path: Path
) -> None:
    server = start(tmp_path / "transcript")
    ann, ben = (Person(virtual_network, server, name) for name in ("ann", "ben"))
    port = server.backend.server.port or 0
    ben.line.partition()
    server.backend.shutdown()
    ann.client.say("@ben", "are you there?")
    ann.client.say("lobby", "I am")
    server = start(tmp_path / "transcript", port)
    time.sleep(8)
    ben.line.heal()
    time.sleep(20)
    assert "<ann to ben> are you there?" in ben.seen and "<ann> I am" in ben.seen
    ann.client.say("@nobody", "hello?")
    time.sleep(1)
    assert ann.seen[-1] == "* there is nobody called nobody"
    server.backend.shutdown()


def test_without_a_transcript_another_server_begins_anew(virtual_network: VirtualNetwork) -> None:
    server = start()
    ann, ben = (Person(virtual_network, server, name) for name in ("ann", "ben"))
    ann.client.say("lobby", "one")
    time.sleep(1)
    port = server.backend.server.port or 0
    server.backend.shutdown()
    ann.client.say("lobby", "two")
    server = start(port=port)
    time.sleep(20)
    ben.client.say("lobby", "three")
    time.sleep(1)
    for person in (ann, ben):
        assert [line for line in person.seen if line.startswith("<")] == [
            "<ann> one",
            "<ann> two",
            "<ben> three",
        ]
    server.backend.shutdown()


def test_who_types_is_in_the_state_until_it_is_said_or_left(virtual_network: VirtualNetwork) -> None:
    server = start()
    ann, ben = (Person(virtual_network, server, name) for name in ("ann", "ben"))

    def typing() -> list[str]:
        time.sleep(0.5)
        return [user["typing"] for user in ben.client.users().values() if user["name"] == "ann"]

    ann.client.type("lobby")
    assert typing() == ["lobby"]
    ann.client.say("lobby", "done")
    assert typing() == [""]
    ann.client.type("attic")  # where she is not
    assert typing() == [""]
    ann.client.type("lobby")
    assert typing() == ["lobby"]
    time.sleep(6)  # and wanders off
    assert typing() == [""]
    ann.client.quit(5)
    time.sleep(1)
    assert typing() == [] and ben.seen[-1] == "* ann left"
    server.backend.shutdown()


def test_nobody_has_to_wait_long_for_a_fast_talker(virtual_network: VirtualNetwork) -> None:
    """What is pasted goes out line by line, and all of it."""
    server = start()
    ann, ben = (Person(virtual_network, server, name) for name in ("ann", "ben"))
    for number in range(60):
        ann.client.say("lobby", str(number))
    ben.client.say("lobby", "may I?")
    time.sleep(1)
    assert "<ben> may I?" in ann.seen
    time.sleep(15)
    assert [line for line in ben.seen if "<ann>" in line] == [f"<ann> {number}" for number in range(60)]
    assert sum("slow down" in line for line in ann.seen) >= 1
    assert not any("slow down" in line for line in ben.seen)
    server.backend.shutdown()


def test_a_server_that_nobody_uses_ends(virtual_network: VirtualNetwork) -> None:
    server = ChatServer(idle_s=10.0)
    thread = server.backend.run_in_thread(interval=STEP_S)
    ann = Person(virtual_network, server, "ann")
    time.sleep(60)
    assert thread.is_alive()
    ann.client.quit(5)
    time.sleep(8)
    assert thread.is_alive()
    time.sleep(4)
    assert not thread.is_alive()
