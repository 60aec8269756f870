"""What makes every line arrive once and in order, whoever dies: numbers, in both directions. Pure.

The library delivers everything once and in order while a session lives. A server process that is
killed takes the sessions with it; what holds beyond that are the numbers here, and the transcript.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from demos.chat.rules import Refused
from demos.chat.shared import Line

MAX_UNSENT = 100
MAX_EARLY, MAX_ROOMS = 1000, 50


class Outbox:
    """What was typed and is not known to be heard; one line is under way at a time.

    Attributes:
        heard: the last number that the server is known to have heard.
    """

    def __init__(self) -> None:
        self.heard = 0
        self._last = 0
        self._unsent: deque[tuple[int, str, str, str]] = deque()
        self._is_under_way = False

    def __len__(self) -> int:
        return len(self._unsent)

    def add(self, target: str, kind: str, text: str) -> None:
        """Takes a line, to be sent when those before it are heard.

        Raises:
            Refused: too many wait already.
        """
        if len(self._unsent) >= MAX_UNSENT:
            raise Refused(f"not said: {MAX_UNSENT} lines wait for the server already")
        self._last += 1
        self._unsent.append((self._last, target, kind, text))

    def next_to_send(self) -> tuple[int, str, str, str] | None:
        """The next line, which is under way from now on; `None` while one is."""
        if self._is_under_way or not self._unsent:
            return None
        self._is_under_way = True
        return self._unsent[0]

    def send_again(self) -> None:
        """What is under way did not arrive, or was refused for now."""
        self._is_under_way = False

    def was_heard(self, number: int) -> None:
        """The server has heard everything up to this number."""
        self.heard = max(self.heard, min(number, self._last))
        while self._unsent and self._unsent[0][0] <= self.heard:
            self._unsent.popleft()
            self._is_under_way = False


class Inbox:
    """Puts the lines of each room into the order of their numbers, and drops those seen before."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._early: dict[str, dict[int, Line]] = {}

    def rooms(self) -> list[str]:
        """The rooms that are followed."""
        return list(self._last)

    def last(self, room: str) -> int | None:
        """The number of the last line seen of a room; `None`: not followed yet."""
        return self._last.get(room)

    def has_gap(self, room: str) -> bool:
        """Whether lines are here that came after one that is not."""
        return room in self._last and bool(self._early.get(room))

    def take(self, line: Line) -> list[Line]:
        """A line arrived; returns what is to be shown now. Before the room's history it has to wait."""
        if line.number == 0:  # a notice
            return [line] if line.room in self._last else []
        last = self._last.get(line.room)
        if last is not None and line.number <= last:
            return []
        if line.room in self._early or len(self._early) < MAX_ROOMS:
            early = self._early.setdefault(line.room, {})
            if len(early) < MAX_EARLY:
                early[line.number] = line
        return self._take_early(line.room)

    def take_history(self, room: str, lines: Iterable[Line], last: int) -> list[Line]:
        """A page of history; returns what of it was not shown yet.

        Args:
            room: whose.
            lines: the page, in order.
            last: the number that the room has come to with this page. Smaller than one seen before means
                that the server's numbers began anew.
        """
        before = self._last.get(room)
        new = [line for line in lines if before is None or line.number > before]
        self._last[room] = last
        early = self._early.get(room, {})
        self._early[room] = {number: line for number, line in early.items() if number > last}
        return [*new, *self._take_early(room)]

    def forget(self, room: str) -> None:
        """The room is not followed any more."""
        self._last.pop(room, None)
        self._early.pop(room, None)

    def _take_early(self, room: str) -> list[Line]:
        last, early, ready = self._last.get(room), self._early.get(room, {}), []
        while last is not None and last + 1 in early:
            last += 1
            ready.append(early.pop(last))
            self._last[room] = last
        return ready
