"""The chat's full screen, on pseudo-terminals, with a server of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from demos.chat.client import ChatClient
from demos.chat.shared import Line
from demos.processes import parse_address
from tests.chat_users import running_server
from tests.conftest import eventually

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

from tests.pseudo_terminal import OnTerminal

CHAT = ["-m", "demos.chat"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server("--port", "0") as (_, address):
        yield address


@pytest.fixture
def ann(server: str) -> Iterator[OnTerminal]:
    """Her screen. Rooms other than the lobby are each test's own."""
    terminal = OnTerminal(*CHAT, "--join", server, "--name", "ann")
    terminal.wait_for(r"in lobby:.*\bann\b")
    terminal.wait_for("● connected  round trip \\d+ ms  loss \\d+%  you are ann")
    yield terminal
    try:
        if terminal.is_alive:
            terminal.type("\x03")
            assert terminal.end() == 0
    finally:
        terminal.kill()
    assert terminal.screen.strange == []


@pytest.fixture
def ben(server: str) -> Iterator[tuple[ChatClient, list[Line]]]:
    """Somebody else, and what he sees."""
    seen: list[Line] = []
    client = ChatClient("ben", lambda line, is_old: seen.append(line))
    client.connect(*parse_address(server))
    yield client, seen
    client.quit(5)


Other = tuple[ChatClient, list[Line]]


def test_a_conversation(ann: OnTerminal, ben: Other) -> None:
    client, seen = ben
    ann.wait_for("#lobby  2 people")
    ann.wait_for(r"│  ben$")
    ann.type("half a li")
    client.say("lobby", "interrupting, ann!")
    ann.wait_for(r"\d\d:\d\d ben: interrupting, ann!")
    ann.wait_for("^#lobby> half a li$")  # still there, and in its place
    ann.type("ne\r")
    ann.wait_for(r"\d\d:\d\d ann: half a line")
    ann.wait_for("^#lobby>$")
    ann.type(f"{'long ' * 50}\r")
    ann.wait_for("^      long long")
    ann.type("short")
    ann.wait_for("^#lobby> short$")
    ann.type("\x15")
    client.say("lobby", "waves", "me")
    ann.wait_for(r"\* ben waves")
    assert [line.text for line in seen if line.author == "ann"][:1] == ["half a line"]
    ann.type("\x1b[A\x1b[A")  # the history of what was typed
    ann.wait_for("^#lobby> half a line$")
    client.quit(5)
    ann.wait_for(r"\* ben left")
    ann.wait_for("#lobby  1 person")
    ann.type("\x15\x04")  # Ctrl-D on an empty line
    assert ann.end() == 0


def test_rooms_private_messages_and_what_is_unread(ann: OnTerminal, ben: Other) -> None:
    client, seen = ben
    client.join("attic")
    ann.type("/join Attic\r")
    ann.wait_for("^ #attic  2 people")
    ann.wait_for("ann joined attic")
    ann.wait_for("in attic: ann, ben")
    ann.type("dark here\r")
    ann.wait_for("ann: dark here")
    client.say("lobby", "one")
    client.say("lobby", "two")
    ann.wait_for("│  #lobby 2$")
    client.say("lobby", "hello, Ann")
    ann.wait_for("│  #lobby 3!$")
    client.say("@ANN", "psst")
    ann.wait_for("│  @ben 1!$")
    ann.type("\x0e")  # Ctrl-N: from the attic on to ben
    ann.wait_for("^ @ben")
    ann.wait_for("ben: psst")
    ann.wait_for("@ben 1", is_there=False)
    ann.type("yes?\r")
    ann.wait_for("ann: yes\\?")
    eventually(lambda: ("@", "yes?", "ben") in [(line.room, line.text, line.to) for line in seen])
    ann.type("\x1b1")  # Alt-1: the lobby
    ann.wait_for("^ #lobby")
    ann.wait_for("ben: hello, Ann")
    ann.wait_for("#lobby 3", is_there=False)
    ann.type("/leave attic\r")
    ann.wait_for("you left attic")
    ann.wait_for("│  #attic", is_there=False)
    assert client.who("attic") == ["ben"]


def test_who_types_is_seen_and_scrolling_back(ann: OnTerminal, ben: Other) -> None:
    client, _ = ben
    client.join("den")
    for number in range(15):
        client.say("den", f"line {number}")
    ann.type("/join den\r")
    ann.wait_for("ben: line 14")  # said before she came
    client.type("den")
    ann.wait_for("^ ben is typing…")
    client.type("")
    ann.wait_for("is typing", is_there=False)
    ann.type("/help\r")
    ann.wait_for("/quit: say goodbye")
    ann.wait_for("ben: line 0", is_there=False)
    ann.type("\x1b[5~")  # PageUp
    ann.wait_for("ben: line 0")
    ann.wait_for(r"^ \d+ rows below: PageDown")
    client.say("den", "news")  # what she reads stays where it is
    client.wait_until_heard(5)
    ann.wait_for("ben: line 0")
    ann.type("\x1b[6~")
    ann.wait_for("ben: news")


def test_tab_completes_commands_rooms_and_names(ann: OnTerminal, ben: Other) -> None:
    client, _ = ben
    client.join("workshop")
    ann.wait_for("│  ben$")
    ann.type("/jo")
    ann.wait_for("enter a room")  # the menu
    ann.type("\t")
    ann.wait_for("^#lobby> /join")
    ann.type("wor")
    ann.wait_for("1 in it")
    ann.type("\t\r")
    ann.wait_for("^ #workshop")
    ann.type("be\t")
    ann.wait_for("^#workshop> ben:$")
    ann.type("hi\r")
    ann.wait_for("ann: ben: hi")


@pytest.mark.parametrize("how", ["the end\r/quit\r\x03\x03", signal.SIGTERM, signal.SIGHUP])
def test_ways_to_end_it(how: str | int, ann: OnTerminal, ben: Other) -> None:
    """Ctrl-C is how all the others here end. A closed window is a goodbye, too."""
    ann.wait_for("│  ben$")
    if isinstance(how, str):
        ann.type(how)
    else:
        ann.signal(how)
    assert ann.end() == 0
    assert not any("Traceback" in line for line in ann.screen.lines())
    eventually(lambda: "ann left" in [line.text for line in ben[1]])
    if "the end" in str(how):  # said before the goodbye, if only just
        assert "the end" in [line.text for line in ben[1]]
