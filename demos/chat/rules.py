"""The rules of the chat, without a network: a line typed goes in, lines to show come out.

The users are part of the synchronized state, `{id: {name, room}}`, so that every client can tell
who is where; what is said travels as events.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from pygase_gevent import TO_DELETE

LOBBY = "lobby"
TEXT_LENGTH = 500
NAME_LENGTH = 20
HELP = "/nick NAME, /join ROOM, /who, /help, /quit"

Users = dict[int, dict[str, Any]]


@dataclass(frozen=True)
class Show:
    """A line for some users' screens."""

    to: tuple[int, ...]
    kind: str
    name: str
    text: str


@dataclass(frozen=True)
class Outcome:
    """What a typed line leads to: changes of the users, and lines to show in this order."""

    changes: dict[int, Any]
    shows: tuple[Show, ...]


def handle_line(users: Users, user_id: int, line: str) -> Outcome:
    """Does what a user typed: says it, or obeys it if it starts with a slash.

    The first line of a new user must be `/nick NAME`; it brings the user in.
    """
    line = clean(line)
    command, _, argument = line.partition(" ")
    argument = argument.strip()
    if user_id not in users:
        return _enter(users, user_id, argument if command == "/nick" else "")
    if command == "/nick":
        return _rename(users, user_id, argument)
    if command == "/join":
        return _move(users, user_id, argument)
    if command == "/who":
        return _tell(user_id, _who(users, users[user_id]["room"]))
    if command == "/quit":
        outcome = leave(users, user_id)
        return Outcome(outcome.changes, (*outcome.shows, Show((user_id,), "bye", "", "goodbye")))
    if command == "/help":
        return _tell(user_id, HELP)
    if command.startswith("/"):
        return _tell(user_id, f"no such command: {command}; there are {HELP}")
    if not line:
        return Outcome({}, ())
    user = users[user_id]
    return Outcome({}, (Show(_in_room(users, user["room"]), "said", user["name"], line),))


def leave(users: Users, user_id: int, how: str = "left") -> Outcome:
    """Takes a user out and tells the room."""
    if user_id not in users:
        return Outcome({}, ())
    user = users[user_id]
    others = tuple(other for other in _in_room(users, user["room"]) if other != user_id)
    return Outcome({user_id: TO_DELETE}, (_notice(others, f"{user['name']} {how}"),))


def notify_room(users: Users, user_id: int, what: str) -> Outcome:
    """Tells the user's room something about the user."""
    if user_id not in users:
        return Outcome({}, ())
    user = users[user_id]
    return Outcome({}, (_notice(_in_room(users, user["room"]), f"{user['name']} {what}"),))


def clean(text: str) -> str:
    """A line without anything that could move a cursor, colour or reorder a terminal's text."""
    text = text.replace("\t", " ")
    return "".join(char for char in text if char.isprintable())[:TEXT_LENGTH].strip()


def _enter(users: Users, user_id: int, wanted: str) -> Outcome:
    base = wanted if _is_name(wanted) else "guest"
    name, number = base, 2
    while _is_taken(users, name):
        name, number = f"{base[: NAME_LENGTH - 4]}{number}", number + 1
    newcomer = {"name": name, "room": LOBBY}
    everybody = (*_in_room(users, LOBBY), user_id)
    shows = [
        _notice(everybody, f"{name} joined {LOBBY}"),
        _notice((user_id,), _who({**users, user_id: newcomer}, LOBBY)),
    ]
    if name != wanted:
        shows.insert(0, _notice((user_id,), f"the name {wanted or '(none)'} is not free: you are {name}"))
    return Outcome({user_id: newcomer}, tuple(shows))


def _rename(users: Users, user_id: int, name: str) -> Outcome:
    if not _is_name(name):
        return _tell(user_id, f"a name is 1 to {NAME_LENGTH} letters, digits, - or _")
    others = {other: user for other, user in users.items() if other != user_id}
    if _is_taken(others, name):
        return _tell(user_id, f"the name {name} is taken")
    user = users[user_id]
    told = _notice(_in_room(users, user["room"]), f"{user['name']} is now {name}")
    return Outcome({user_id: {"name": name}}, (told,))


def _move(users: Users, user_id: int, room: str) -> Outcome:
    if not _is_name(room):
        return _tell(user_id, f"a room is 1 to {NAME_LENGTH} letters, digits, - or _")
    user = users[user_id]
    if room == user["room"]:
        return _tell(user_id, f"you are in {room}")
    moved = {**users, user_id: {**user, "room": room}}
    return Outcome(
        {user_id: {"room": room}},
        (
            _notice(tuple(o for o in _in_room(users, user["room"]) if o != user_id), f"{user['name']} left"),
            _notice(_in_room(moved, room), f"{user['name']} joined {room}"),
            _notice((user_id,), _who(moved, room)),
        ),
    )


def _who(users: Users, room: str) -> str:
    names = sorted((users[user]["name"] for user in _in_room(users, room)), key=str.casefold)
    return f"in {room}: {', '.join(names)}"


def _in_room(users: Users, room: str) -> tuple[int, ...]:
    return tuple(user_id for user_id, user in users.items() if user["room"] == room)


def _tell(user_id: int, text: str) -> Outcome:
    return Outcome({}, (_notice((user_id,), text),))


def _notice(to: tuple[int, ...], text: str) -> Show:
    return Show(to, "notice", "", text)


def _is_name(name: str) -> bool:
    return bool(re.fullmatch(r"[\w-]+", name)) and len(name) <= NAME_LENGTH


def _is_taken(users: Users, name: str) -> bool:
    return any(_folded(user["name"]) == _folded(name) for user in users.values())


def _folded(name: str) -> str:
    # Names that look alike in another case or width are the same name.
    return unicodedata.normalize("NFKC", name).casefold()
