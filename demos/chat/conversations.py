"""What a user has on the screen: conversations, one of them in front, marks for what is unread."""

from __future__ import annotations

import re
from collections import deque

from demos.chat import rules
from demos.chat.shared import PRIVATE, Line

KEPT_LINES = 2000
MAX_CONVERSATIONS = 50


class Conversation:
    """A room (`lobby`), or what is said to and by one person (`@ben`).

    Attributes:
        lines: the last ones.
        unread: how many arrived while another conversation was in front.
        is_called: whether one of them speaks to this user in person.
        rows_up: how far the view is scrolled up from the end.
    """

    def __init__(self) -> None:
        self.lines: deque[Line] = deque(maxlen=KEPT_LINES)
        self.unread = 0
        self.is_called = False
        self.rows_up = 0


class Conversations:
    """All conversations of a user.

    Attributes:
        place: the one in front.
    """

    def __init__(self) -> None:
        self.place = rules.LOBBY
        self._all: dict[str, Conversation] = {self.place: Conversation()}

    @property
    def front(self) -> Conversation:
        return self._all[self.place]

    def places(self) -> list[str]:
        """Rooms first, then people."""
        return sorted(self._all, key=lambda place: (place.startswith(PRIVATE), place != rules.LOBBY, place))

    def __getitem__(self, place: str) -> Conversation:
        return self._all[place]

    def add(self, line: Line, is_old: bool, name: str) -> bool:
        """Puts a line where it belongs.

        Args:
            line: of any room; those of none belong where the user is looking.
            is_old: whether it is history, which nobody has to read.
            name: this user's.

        Returns:
            Whether it speaks to this user in person.
        """
        place = place_of(line, name) or self.place
        if place not in self._all and len(self._all) >= MAX_CONVERSATIONS:
            return False
        conversation = self._all.setdefault(place, Conversation())
        conversation.lines.append(line)
        if is_old or line.kind == "notice" or line.author == name:
            return False
        is_called = calls(line, name)
        if place != self.place:
            conversation.unread += 1
            conversation.is_called |= is_called
        return is_called

    def go(self, place: str) -> None:
        """Brings a conversation to the front."""
        self.place = place
        conversation = self._all.setdefault(place, Conversation())
        conversation.unread, conversation.is_called = 0, False

    def go_on(self, steps: int) -> None:
        """Brings the one that is so many places further on to the front."""
        places = self.places()
        self.go(places[(places.index(self.place) + steps) % len(places)])

    def close(self, place: str) -> None:
        """The user left."""
        if place != rules.LOBBY:
            self._all.pop(place, None)
        if place == self.place:
            self.go(rules.LOBBY)


def place_of(line: Line, name: str) -> str:
    """The conversation that a line is part of."""
    if line.room != PRIVATE:
        return line.room
    return PRIVATE + (line.to if line.author == name else line.author)


def calls(line: Line, name: str) -> bool:
    """Whether a line is for this user in person."""
    words = re.findall(r"[\w-]+", line.text.casefold())
    return line.room == PRIVATE or name.casefold() in words
