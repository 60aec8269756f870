"""What the chat is made of, without a network: rules, numbers, conversations, rows of the screen."""

from __future__ import annotations

import time

import pytest
from prompt_toolkit.utils import get_cwidth

from demos.chat import rules
from demos.chat.conversations import Conversations
from demos.chat.drawing import colour_of, rows_of
from demos.chat.numbering import MAX_UNSENT, Inbox, Outbox
from demos.chat.rules import Allowance, Refused
from demos.chat.shared import Line
from pygase_gevent import TO_DELETE


def user(name: str, *rooms: str) -> dict[str, object]:
    return {"name": name, "rooms": dict.fromkeys(("lobby", *rooms), True), "typing": "", "is_here": True}


USERS = {"1": user("ann"), "2": user("ben", "attic")}


def line(number: int, room: str = "lobby") -> Line:
    return Line(room, number, 0.0, "said", "ben", f"line {number}")


# --- text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("a\x1b[2Jb\x1b]0;title\x07c", "a[2Jb]0;titlec"),
        ("a\x9b31mb\x85c\x00\x7f", "a31mb c"),
        ("one\r\ntwo\u2028three\tfour", "one  two three four"),
        ("\u202egnp.exe\u2066x\u200e", "gnp.exex"),
        ("an\u200bn\u2060\ufeff\u00ad", "ann"),
        ("\ud800\ue000\U000e0041\U0010ffff", ""),
        ("Z" + "\u0300" * 50 + "!", "Z" + "\u0300" * 3 + "!"),
        ("größe 猫 🐈 नमस्ते", "größe 猫 🐈 नमस्ते"),
    ],
)
def test_cleaning_leaves_nothing_that_steers_a_terminal(dirty: str, clean: str) -> None:
    assert rules.clean(dirty) == clean


@pytest.mark.parametrize(
    "text", ["", "   ", "\x1b\x07", "\u200b", "x" * 501, "x" * 10_000_000, 7, None, b"x"]
)
def test_what_may_not_be_said(text: object) -> None:
    with pytest.raises(Refused):
        rules.check_text(text)


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ann", "Ann-Marie_2", "Zoë", "анна", "Ελένη", "山田はな", "지수", "x" * 20])
def test_names(name: str) -> None:
    assert rules.check_name(USERS, "9", name) if name != "ann" else rules.check_name(USERS, "1", name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            "two words",
            "x" * 21,
            "a\x1b[31m",
            "a\n",
            "a\u200bnn",
            "a\u202enn",
            "-",
            "@ann",
            "#ann",
            "a/b",
        ),
        *(
            "\u0430nn",
            "\uff41nn",
            "\u1d00nn",
            "an\u0578",
            "\u3164",
            "\u115f",
            "\u2800",
            "n\u0303o",
            "\u0661\u0662",
        ),
        *(7, None, ["ann"], b"ann"),
    ],
)
def test_what_is_no_name(name: object) -> None:
    with pytest.raises(Refused):
        rules.check_word(name, "name")


@pytest.mark.parametrize("name", ["ann", "ANN", "server", "Y0u"])
def test_a_taken_name_is_refused_and_at_the_door_gets_a_number(name: str) -> None:
    with pytest.raises(Refused, match="taken"):
        rules.check_name(USERS, "9", name)
    assert rules.free_name(USERS, "9", name) == f"{name}2"


@pytest.mark.parametrize(
    ("one", "other"), [("Ian", "lan"), ("bo6", "BO6"), ("modern", "modem"), ("\u0440\u0430\u0445", "pax")]
)
def test_names_that_look_the_same_are_the_same(one: str, other: str) -> None:
    assert rules.looks(one) == rules.looks(other)


@pytest.mark.parametrize(
    ("wanted", "name"), [("john.doe", "johndoe"), ("\x1b[31m", "31m"), ("...", "guest"), (None, "guest")]
)
def test_at_the_door_a_name_is_made_usable(wanted: object, name: str) -> None:
    assert rules.free_name(USERS, "9", wanted) == name


def test_people_are_found_by_their_names_in_any_case() -> None:
    assert rules.find(USERS, "BEN") == "2"
    for nobody in ("be", "benn", "x" * 1000, None):
        with pytest.raises(Refused):
            rules.find(USERS, nobody)


# --- rooms --------------------------------------------------------------------------------------------------


def test_everybody_enters_the_lobby_and_comes_back_to_his_rooms() -> None:
    assert rules.enter({}, "3", "cleo", []) == {"3": user("cleo")}
    back = rules.enter(
        USERS, "3", "cleo", ["lobby", "Attic", "\x1b", 7, *(f"r{number}" for number in range(99))]
    )
    assert list(back["3"]["rooms"])[:3] == ["lobby", "attic", "r0"]
    assert len(back["3"]["rooms"]) <= rules.ROOMS_PER_USER
    rooms = ["lobby", *(f"r{number}" for number in range(rules.ROOMS_PER_USER - 1))]
    assert list(rules.enter(USERS, "3", "cleo", rooms)["3"]["rooms"]) == rooms


def test_joining_and_leaving() -> None:
    assert rules.join(USERS, "1", "ATTIC") == {"1": {"rooms": {"attic": True}}}
    assert rules.leave(USERS, "2", "attic") == {"2": {"rooms": {"attic": TO_DELETE}, "typing": ""}}
    many = {"1": user("ann", *(f"r{number}" for number in range(9)))}
    for refused in (
        lambda: rules.leave(USERS, "1", "lobby"),
        lambda: rules.leave(USERS, "1", "attic"),
        lambda: rules.join(USERS, "1", "1obby"),
        lambda: rules.join(USERS, "1", "at tic"),
        lambda: rules.join(many, "1", "one-more"),
    ):
        with pytest.raises(Refused):
            refused()
    assert rules.names_in(USERS, "lobby") == ["ann", "ben"]
    assert rules.rooms_with_people(USERS) == {"lobby": 2, "attic": 1}


def test_an_allowance() -> None:
    allowance = Allowance(3, 2.0, now=10.0)
    assert [allowance.wait_s(10.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert allowance.wait_s(10.5) == 0.0
    assert [allowance.wait_s(100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


# --- numbers ------------------------------------------------------------------------------------------------


def test_one_line_at_a_time_and_again_until_it_is_heard() -> None:
    outbox = Outbox()
    for text in ("a", "b", "c"):
        outbox.add("lobby", "said", text)
    assert outbox.next_to_send() == (1, "lobby", "said", "a")
    assert outbox.next_to_send() is None
    outbox.send_again()  # a new session
    assert outbox.next_to_send() == (1, "lobby", "said", "a")
    outbox.was_heard(2)
    outbox.was_heard(1)  # late news
    assert outbox.next_to_send() == (3, "lobby", "said", "c")
    outbox.was_heard(2**60)  # who says that?
    assert (len(outbox), outbox.heard) == (0, 3)
    for _ in range(MAX_UNSENT):
        outbox.add("lobby", "said", "x")
    with pytest.raises(Refused):
        outbox.add("lobby", "said", "x")


def test_lines_are_shown_once_and_in_order_whatever_comes_first() -> None:
    inbox = Inbox()
    assert inbox.take(line(7)) == []  # before the history
    assert inbox.take_history("lobby", [line(4), line(5)], 5) == [line(4), line(5)]
    assert inbox.has_gap("lobby") and inbox.last("lobby") == 5
    assert inbox.take(line(5)) == []
    assert inbox.take(line(6)) == [line(6), line(7)]
    assert not inbox.has_gap("lobby")
    assert inbox.take(line(10)) == []
    assert inbox.take_history("lobby", [line(8), line(9), line(10)], 10) == [line(8), line(9), line(10)]
    assert inbox.take(line(10)) == [] and inbox.take(line(11)) == [line(11)]
    assert inbox.take_history("lobby", [], 3) == []  # another server, and its clock goes wrong
    assert inbox.take(line(4)) == [line(4)]
    assert inbox.rooms() == ["lobby"]


def test_notices_of_rooms_that_were_left_are_no_news() -> None:
    inbox = Inbox()
    assert inbox.take(line(0)) == []
    inbox.take_history("lobby", [], 5)
    assert inbox.take(line(0)) == [line(0)]
    inbox.forget("lobby")
    assert inbox.take(line(0)) == []


# --- the screen ---------------------------------------------------------------------------------------------


def test_unread_lines_are_counted_where_nobody_looks() -> None:
    conversations = Conversations()
    assert not conversations.add(line(1), False, "ann")
    conversations.add(line(1, "attic")._replace(text="old"), True, "ann")
    conversations.add(line(2, "attic"), False, "ann")
    conversations.add(line(3, "attic")._replace(author="ann"), False, "ann")
    assert conversations.add(line(1, "@")._replace(to="ann"), False, "ann")
    assert conversations.add(line(4)._replace(text="well, Ann?"), False, "ann")
    assert conversations.places() == ["lobby", "attic", "@ben"]
    assert [conversations[place].unread for place in conversations.places()] == [0, 1, 1]
    assert [conversations[place].is_called for place in conversations.places()] == [False, False, True]
    conversations.go_on(-1)
    assert conversations.place == "@ben" and conversations.front.unread == 0
    conversations.close("@ben")
    assert conversations.place == "lobby"


@pytest.mark.parametrize("width", [1, 2, 5, 20, 33, 80])
@pytest.mark.parametrize(
    "text", ["a few words of a line that is long enough", "x" * 100, "猫" * 50, "a  b " * 20, ""]
)
def test_rows_hold_everything_and_fit(width: int, text: str) -> None:
    rows = [
        "".join(fragment[1] for fragment in row) for row in rows_of(line(1)._replace(text=text), width, "ann")
    ]
    assert all(get_cwidth(row.rstrip()) <= max(width, 2) for row in rows)
    clock = time.strftime("%H:%M", time.localtime(0))
    assert "".join("".join(rows).split()) == "".join(f"{clock}ben:{text}".split())


def test_a_name_has_one_colour() -> None:
    assert colour_of("Ann") == colour_of("ann")
    assert len({colour_of(f"person{number}") for number in range(100)}) > 8
