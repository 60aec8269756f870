"""The rules of the chat, as pure functions: names, texts, who is in which room, how fast is too fast.

Who is there is the synchronized state, `users`, by the user's id:

    name:    as others see it
    rooms:   {room: True}, the lobby always among them
    typing:  the room that the user types into, or ""
    is_here: False while the connection is lost
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

from pygase_gevent import TO_DELETE

LOBBY = "lobby"
TEXT_LENGTH = 500
NAME_LENGTH = 20
ROOMS_PER_USER = 10
MARKS_IN_A_ROW = 3
"""Combining marks on one letter; languages need two, and forty paint over the lines around."""
TYPING_S = 5.0
"""How long somebody types after the last sign of it."""
LINES_AT_ONCE, LINES_PER_S = 20, 4.0
REQUESTS_AT_ONCE, REQUESTS_PER_S = 40, 5.0
ENTRIES_AT_ONCE, ENTRIES_PER_S = 100, 10.0
PATIENCE = 200
"""Refusals for speed in a row, after which the server hangs up."""

Users = Mapping[str, Mapping[str, Any]]
Changes = dict[str, Any]

_RESERVED = {"server", "system", "you", "everybody"}
_ALIKE = {  # what else is read as these letters: digits, Cyrillic, Greek, after case folding
    "a": "\u0430\u03b1",
    "c": "\u0441",
    "d": "\u0501",
    "e": "\u0435",
    "h": "\u04bb",
    "j": "\u0458",
    "k": "\u043a\u03ba",
    "l": "1i\u0131\u0456\u03b9\u04cf",
    "o": "0\u043e\u03bf",
    "p": "\u0440\u03c1",
    "q": "\u051b",
    "s": "\u0455",
    "t": "\u0442\u03c4",
    "u": "\u03c5",
    "v": "\u03bd",
    "w": "\u051d\u03c9",
    "x": "\u0445\u03c7",
    "y": "\u0443\u03b3",
}
_TO_PLAIN = str.maketrans({alike: plain for plain, letters in _ALIKE.items() for alike in letters})


class Refused(Exception):
    """What the user asked for is not done; the message tells the user why, and nobody else."""


class Nobody(Refused):
    """There is nobody of that name, at this moment."""


# --- text -------------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """One line of what a terminal can show: nothing that moves a cursor, colours, reorders or piles up.

    Controls (C0, C1, with them every escape sequence), format characters (of direction, of width zero),
    surrogates and unassigned ones go; line ends, tabs and all wide or narrow spaces become a space.
    """
    kept, marks = [], 0
    for char in text:
        if char.isspace():
            char = " "
        elif not char.isprintable():
            continue
        is_mark = unicodedata.category(char).startswith("M")
        marks = marks + 1 if is_mark else 0
        if marks <= MARKS_IN_A_ROW:
            kept.append(char)
    return "".join(kept).strip()


def check_text(text: object) -> str:
    """A text as it may be said.

    Raises:
        Refused: too long, or nothing in it.
    """
    if not isinstance(text, str):
        raise Refused("that is no text")
    if len(text) <= 4 * TEXT_LENGTH:  # cleaning a megabyte would hold up everybody
        text = clean(text)
    if len(text) > TEXT_LENGTH:
        raise Refused(f"not said: {len(text)} characters, and {TEXT_LENGTH} is the most")
    if not text:
        raise Refused("not said: there is nothing to see in it")
    return text


# --- names ------------------------------------------------------------------------------------------------


def check_word(word: object, what: str) -> str:
    """A name or room as it may be used.

    Raises:
        Refused: too long, not only letters, digits, - and _, or made to be mistaken for another.
    """
    if not isinstance(word, str) or not 0 < len(word) <= NAME_LENGTH or not re.fullmatch(r"[\w-]+", word):
        raise Refused(f"a {what} is 1 to {NAME_LENGTH} letters, digits, - or _")
    if unicodedata.normalize("NFKC", word) != word or not any(char.isalnum() for char in word):
        raise Refused(f"a {what} is written in plain letters")
    scripts = {_script(char) for char in word if not char.isascii() or char.isalpha()}
    if "" in scripts or len(scripts) > 1:
        raise Refused(f"a {what} is written in one alphabet")
    return word


def looks(word: str) -> str:
    """What a name looks like: two that are mistaken for each other at a glance look the same."""
    folded = unicodedata.normalize("NFKC", word).casefold().translate(_TO_PLAIN)
    return folded.replace("rn", "m").replace("vv", "w")


def free_name(users: Users, user_id: str, wanted: object) -> str:
    """The wanted name, or the one closest to it that is free."""
    name = wanted if isinstance(wanted, str) else ""
    for candidate in (name, re.sub(r"[^\w-]", "", name[: 4 * NAME_LENGTH], flags=re.ASCII)[:NAME_LENGTH]):
        try:
            name = check_word(candidate, "name")
            break
        except Refused:
            name = "guest"
    taken = {looks(user["name"]) for other, user in users.items() if other != user_id} | _RESERVED
    free, number = name, 2
    while looks(free) in taken:
        free, number = f"{name[: NAME_LENGTH - 5]}{number}", number + 1
    return free


def check_name(users: Users, user_id: str, name: object) -> str:
    """A name that this user may take.

    Raises:
        Refused: it is none, or looks like somebody else's.
    """
    name = check_word(name, "name")
    if free_name(users, user_id, name) != name:
        raise Refused(f"the name {name} is taken, or looks like one that is")
    return name


def find(users: Users, name: object) -> str:
    """The id of who has this name, in any case.

    Raises:
        Refused: nobody has.
    """
    if isinstance(name, str) and len(name) <= NAME_LENGTH:
        for user_id, user in users.items():
            if user["name"].casefold() == name.casefold():
                return user_id
    raise Nobody(f"there is nobody called {clean(str(name)[:NAME_LENGTH])}")


# --- who is where -----------------------------------------------------------------------------------------


def enter(users: Users, user_id: str, wanted: object, rooms: Collection[object]) -> Changes:
    """Lets somebody in, also one who was here and lost the server."""
    joined = {LOBBY: True}
    for room in list(rooms)[:ROOMS_PER_USER]:
        with contextlib.suppress(Refused):
            if len(joined) < ROOMS_PER_USER:
                joined[check_room(users, room)] = True
    name = free_name(users, user_id, wanted)
    return {user_id: {"name": name, "rooms": joined, "typing": "", "is_here": True}}


def join(users: Users, user_id: str, room: object) -> Changes:
    """Takes a user into one more room.

    Raises:
        Refused: no name for a room, or one room too many.
    """
    room = check_room(users, room)
    rooms = users[user_id]["rooms"]
    if room not in rooms and len(rooms) >= ROOMS_PER_USER:
        raise Refused(f"you are in {ROOMS_PER_USER} rooms, which is the most; /leave one")
    return {user_id: {"rooms": {room: True}}}


def leave(users: Users, user_id: str, room: object) -> Changes:
    """Takes a user out of a room.

    Raises:
        Refused: not in it, or it is the lobby.
    """
    room = room_of(users, user_id, room)
    if room == LOBBY:
        raise Refused("the lobby cannot be left; /quit ends the chat")
    user = users[user_id]
    typing = "" if user["typing"] == room else user["typing"]
    return {user_id: {"rooms": {room: TO_DELETE}, "typing": typing}}


def room_of(users: Users, user_id: str, room: object) -> str:
    """A room that the user is in.

    Raises:
        Refused: the user is not.
    """
    if isinstance(room, str) and room.casefold() in users[user_id]["rooms"]:
        return room.casefold()
    raise Refused(f"you are not in {clean(str(room)[:NAME_LENGTH])}")


def check_room(users: Users, room: object) -> str:
    """A room's name as all spell it.

    Raises:
        Refused: it is none, or looks like another that is there.
    """
    room = check_word(room, "room").casefold()
    for other in {LOBBY: True, **rooms_with_people(users)}:
        if other != room and looks(other) == looks(room):
            raise Refused(f"{room} looks like {other}, which is there")
    return room


def members(users: Users, room: str) -> list[str]:
    """The ids of who is in a room."""
    return [user_id for user_id, user in users.items() if room in user["rooms"]]


def names_in(users: Users, room: str) -> list[str]:
    """The names of who is in a room, in order."""
    return sorted((users[user_id]["name"] for user_id in members(users, room)), key=str.casefold)


def rooms_with_people(users: Users) -> dict[str, int]:
    """How many are in each room."""
    counts: dict[str, int] = {}
    for user in users.values():
        for room in user["rooms"]:
            counts[room] = counts.get(room, 0) + 1
    return counts


# --- how fast ---------------------------------------------------------------------------------------------


class Allowance:
    """So many at once, and so many per second in the long run.

    Args:
        at_once: how many may come together.
        per_s: how many come back in a second.
        now: seconds on any clock.
    """

    def __init__(self, at_once: int, per_s: float, now: float) -> None:
        self._at_once, self._per_s = at_once, per_s
        self._left, self._at = float(at_once), now

    def wait_s(self, now: float) -> float:
        """Takes one and returns 0, or takes none and returns the seconds until there is one."""
        self._left = min(self._at_once, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            return (1.0 - self._left) / self._per_s
        self._left -= 1.0
        return 0.0


def _script(char: str) -> str:
    """The alphabet that a letter is of; empty for what has no place in a name."""
    if char.isascii():
        return "LATIN"
    name = unicodedata.name(char, "")
    word = name.partition(" ")[0]
    # Blank letters, and the phonetic ones that look like capitals.
    if not char.isalpha() or "FILLER" in name or (word == "LATIN" and char > "\u024f"):
        return ""
    return "CJK" if word in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL") else word
