"""The chat against clients that keep to no rule: written directly on the library, in virtual time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from demos.chat import rules
from demos.chat.client import ChatClient
from demos.chat.lines import formatted
from demos.chat.server import ChatServer
from demos.chat.shared import DELIVERIES, GAME, STEP_S, Line, cleaned
from demos.chat.transcript import MAX_NUMBER
from pygase_gevent import Client, ConnectionStatus, RemoteError
from pygase_gevent.testing import VirtualNetwork

NASTY = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\n\u202etxet\u2066\u200b"


class Hostile:
    """A client that says what it likes, how it likes.

    Attributes:
        received: arguments of what came, by event type.
    """

    def __init__(self, port: int, secret: object = b"secret", name: object = "mallory") -> None:
        self.client = Client(game=GAME, deliveries=DELIVERIES)
        self.received: dict[str, list[tuple[Any, ...]]] = {"LINE": [], "HEARD": []}
        for event_type, received in self.received.items():
            self.client.register_event_handler(event_type, lambda *args, to=received: to.append(args))
        self.client.connect_in_thread(port)
        self.client.wait_connected()
        self.answer = self.client.call("ENTER", secret, name, [], 0) if secret is not None else {}

    def say(self, number: object, text: object, target: object = "lobby", kind: object = "said") -> None:
        self.client.dispatch_event("SAY", number, target, kind, text)

    @property
    def notices(self) -> list[str]:
        return [refused for _, refused, _ in self.received["HEARD"]]


class Victim:
    def __init__(self, port: int) -> None:
        self.seen: list[str] = []
        self.client = ChatClient("ann", lambda line, is_old: self.seen.append(formatted(line)))
        self.client.connect("localhost", port)
        self.seen.clear()

    def saw(self) -> list[str]:
        seen, self.seen[:] = list(self.seen), []
        return seen


@pytest.fixture
def server(virtual_network: VirtualNetwork) -> Iterator[ChatServer]:
    chat_server = ChatServer()
    chat_server.backend.run_in_thread(interval=STEP_S)
    yield chat_server
    chat_server.backend.shutdown()


@pytest.fixture
def port(server: ChatServer) -> int:
    return server.backend.server.port or 0


def test_nothing_that_steers_a_terminal_reaches_anybody(port: int) -> None:
    ann, mallory = Victim(port), Hostile(port)
    mallory.say(1, f"a{NASTY}b")
    mallory.say(2, f"\n* ann left\n<ann> I am {NASTY}", kind="notice")
    mallory.say(3, "psst" + NASTY, "@ann", "me")
    mallory.say(4, NASTY[:3] + "x", "lobby" + NASTY)
    for name in ("an\u200bn", "\u0430nn", "ANN", NASTY, "a" * 21, "", 7):
        assert "refused" in mallory.client.call("NICK", name)
        assert "refused" in mallory.client.call("JOIN", f"at{name}tic {NASTY}")
    time.sleep(1)
    assert ann.saw() == [
        "* mallory joined lobby",
        "<mallory> a[2J]0;owned31m  txetb",
        "<mallory> * ann left <ann> I am [2J]0;owned31m  txet",
        "~ mallory to ann psst[2J]0;owned31m  txet",
    ]
    assert all(text.isprintable() for text in mallory.notices)
    assert rules.clean(str(mallory.client.call("WHO", NASTY))) == str(mallory.client.call("WHO", NASTY))


def test_a_client_trusts_no_server_either() -> None:
    line = cleaned(("lobby" + NASTY, 1, 0.0, "said", "ann" + NASTY, "hello" + NASTY, "ben" + NASTY))
    assert line == Line(*(rules.clean(field) if isinstance(field, str) else field for field in line))
    assert formatted(line).isprintable()


def test_an_invented_name_at_the_door_is_made_harmless(port: int) -> None:
    names = ["ann", "Ann", f"a{NASTY}nn", "\u0430nn", "server", None, 7, ["x"], "x" * 10_000]
    given = [Hostile(port, bytes([number]), name).answer["name"] for number, name in enumerate(names)]
    assert given[:2] == ["ann", "Ann2"]
    assert len({rules.looks(name) for name in given}) == len(names)
    for name in given:
        assert rules.check_word(name, "name") == name


def test_who_is_too_fast_is_told_so_and_nobody_else(port: int) -> None:
    ann, mallory = Victim(port), Hostile(port)
    for number in range(1, 101):
        mallory.say(number, f"spam {number}")
    time.sleep(1)
    said = [line for line in ann.saw() if line.startswith("<")]
    assert rules.LINES_AT_ONCE <= len(said) <= rules.LINES_AT_ONCE + 2 * rules.LINES_PER_S
    assert len(mallory.notices) == 100 - len(said) and "slow down" in mallory.notices[0]
    time.sleep(10)
    assert ann.saw() == []
    mallory.say(101, "calm again")
    time.sleep(1)
    assert ann.saw() == ["<mallory> calm again"]


def test_who_goes_on_regardless_is_shown_the_door(port: int) -> None:
    ann, mallory = Victim(port), Hostile(port)
    for number in range(1, 1001):
        mallory.say(number, "flood")
    time.sleep(5)
    assert mallory.client.connection.status == ConnectionStatus.DISCONNECTED
    assert "too much at once" in str(mallory.client.connection.disconnect_reason)
    assert ann.saw()[-1] == "* mallory left"
    assert ann.client.status()[0] == "connected"


def test_joining_and_leaving_over_and_over_is_limited_too(port: int) -> None:
    ann, mallory = Victim(port), Hostile(port)
    ann.client.join("attic")
    for _ in range(50):
        mallory.client.call("JOIN", "attic")
        mallory.client.call("LEAVE", "attic")
        mallory.client.call("NICK", "mallory")
    time.sleep(1)
    assert len(ann.saw()) < 60


def test_long_lines_are_refused_politely(port: int) -> None:
    ann, mallory = Victim(port), Hostile(port)
    for number, text in enumerate(("x" * 501, "x" * 1_000_000, "\x1b" * 100, 7, None, {"a": [1]}, b"x"), 1):
        mallory.say(number, text)
    mallory.say(8, "x" * 500)
    time.sleep(3)
    assert ann.saw() == ["* mallory joined lobby", f"<mallory> {'x' * 500}"]
    assert mallory.notices[0] == "not said: 501 characters, and 500 is the most"
    assert len(mallory.notices) == 7


def test_nonsense_is_refused_and_the_chat_goes_on(port: int) -> None:
    ann, mallory = Victim(port), Hostile(port)
    for number in (0, -1, 2**60, MAX_NUMBER, 1.5, "1", None, True, [1]):
        mallory.say(number, "what?")
    mallory.say(1, "to whom?", 7)
    mallory.say(2, "to whom?", "@nobody")
    mallory.say(3, "where?", "attic")  # not in it
    for arguments in ((), (1,), ("lobby", "x", 3), ({},)):
        mallory.client.dispatch_event("TYPING", *arguments)
        mallory.client.dispatch_event("SAY", *arguments)
    for name in ("JOIN", "LEAVE", "NICK", "WHO", "HISTORY", "ROOMS", "ENTER", "nothing"):
        for arguments in ((), (None, None), ("\x1b",), (b"x", 1, 2, 3)):
            try:
                answer = mallory.client.call(name, *arguments)
            except RemoteError:
                continue
            assert "refused" in answer or name == "ROOMS", (name, arguments, answer)
    time.sleep(3)
    assert [line for line in ann.saw() if line.startswith("<")] == ["<mallory> what?"]  # number True is 1
    ann.client.say("lobby", "still here")
    time.sleep(1)
    assert ann.saw() == ["<ann> still here"]


def test_nobody_reads_or_speaks_for_another(port: int) -> None:
    ann, mallory = Victim(port), Hostile(port)
    ann.client.join("attic")
    ann.client.say("attic", "secret")
    ann.client.say("@mallory", "for you only")
    time.sleep(1)
    (ann_id,) = (user_id for user_id, user in ann.client.users().items() if user["name"] == "ann")
    for room in ("attic", f"@{ann_id}", "@ann", ann_id):
        assert "refused" in mallory.client.call("HISTORY", room, 0)
    assert [line[5] for line in mallory.client.call("HISTORY", "@", 0)["lines"]] == ["for you only"]
    eve = Hostile(port, secret=None)
    assert eve.client.call("HISTORY", "lobby", None) == {"refused": "enter first"}
    eve.say(1, "I am nobody")
    assert eve.client.call("ENTER", ann_id.encode(), "ann", [], 0)["name"] == "ann2"
    assert "refused" in eve.client.call("ENTER", b"another", "eve", [], 0)
    time.sleep(1)
    assert "<mallory> I am nobody" not in ann.saw()


def test_saying_it_again_says_it_once(port: int) -> None:
    ann, mallory = Victim(port), Hostile(port)
    for number in (1, 1, 2, 1, 2, 3, 2):
        mallory.say(number, f"line {number}")
    time.sleep(1)
    mallory.client.disconnect()
    time.sleep(1)
    again = Hostile(port)
    assert again.answer["heard"] == 3
    again.say(3, "line 3")
    time.sleep(1)
    assert [line for line in ann.saw() if line.startswith("<")] == [
        "<mallory> line 1",
        "<mallory> line 2",
        "<mallory> line 3",
    ]


# --- the door ---------------------------------------------------------------------------------------------


def test_who_is_inside_keeps_nobody_out(port: int) -> None:
    mallory = Hostile(port)
    times = rules.PATIENCE
    assert times > rules.ENTRIES_AT_ONCE
    answers = [mallory.client.call("ENTER", b"secret", "mallory", [], 0) for _ in range(times)]
    assert answers[0]["name"] == "mallory" and answers[-1]["wait_s"] > 0
    assert Hostile(port, b"honest", "ann").answer["name"] == "ann"


def test_who_goes_in_and_in_and_in_is_shown_the_door(port: int) -> None:
    mallory = Hostile(port)
    for _ in range(600):
        mallory.client.dispatch_event("ENTER", b"secret", "mallory", [], 0)
    time.sleep(5)
    assert mallory.client.connection.status == ConnectionStatus.DISCONNECTED
    assert "too much at once" in str(mallory.client.connection.disconnect_reason)


def test_two_connections_of_one_user_fill_nobodys_screen(port: int) -> None:
    rooms = [f"r{letter}" for letter in "abcdefghi"]
    ann = Victim(port)
    for room in rooms:
        ann.client.join(room)
    pair = [Hostile(port), Hostile(port, secret=None)]
    ann.saw()
    started_at = time.monotonic()
    for number in range(120):
        pair[number % 2].client.call("ENTER", b"secret", "mallory", rooms, 0)
    time.sleep(1)
    notices = [line for line in ann.saw() if "is back" in line]
    elapsed_s = time.monotonic() - started_at
    assert 0 < len(notices) <= rules.LINES_AT_ONCE + elapsed_s * rules.LINES_PER_S
    assert Hostile(port, b"honest", "eve").answer["name"] == "eve"
