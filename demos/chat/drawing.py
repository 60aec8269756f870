"""How lines look: colours, wrapping, and the part of a conversation that fits on the screen."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout.controls import UIContent, UIControl
from prompt_toolkit.utils import get_cwidth

from demos.chat.conversations import Conversation, Conversations, calls, place_of
from demos.chat.shared import PRIVATE, Line

COLOURS = (
    "ansired",
    "ansigreen",
    "ansiyellow",
    "ansiblue",
    "ansimagenta",
    "ansicyan",
    "ansibrightred",
    "ansibrightgreen",
    "ansibrightyellow",
    "ansibrightblue",
    "ansibrightmagenta",
    "ansibrightcyan",
)
INDENT = len("12:34 ")


class MessagePane(UIControl):
    """The rows of the conversation in front that fit, counted from its end.

    Args:
        front: that conversation.
        name: this user's name.
    """

    def __init__(self, front: Callable[[], Conversation], name: Callable[[], str]) -> None:
        self._front, self._name = front, name
        self._width, self._height = 80, 24

    def create_content(self, width: int, height: int) -> UIContent:
        self._width, self._height = width, height
        conversation = self._front()
        wanted = height + conversation.rows_up
        rows: list[StyleAndTextTuples] = []
        for line in reversed(conversation.lines):
            rows[:0] = rows_of(line, width, self._name())
            if len(rows) >= wanted:
                break
        conversation.rows_up = min(conversation.rows_up, max(0, len(rows) - height))
        end = len(rows) - conversation.rows_up
        shown = rows[max(0, end - height) : end]
        shown[:0] = [[] for _ in range(height - len(shown))]
        return UIContent(get_line=shown.__getitem__, line_count=len(shown), show_cursor=False)

    def scroll(self, pages: int) -> None:
        """Up, or down with a negative number."""
        front = self._front()
        front.rows_up = max(0, front.rows_up + pages * max(1, self._height - 2))

    def keep_in_place(self, line: Line, conversations: Conversations) -> None:
        """A line will be added below; what is looked at further up stays where it is."""
        place = place_of(line, self._name()) or conversations.place
        if place == conversations.place and conversations.front.rows_up:
            conversations.front.rows_up += len(rows_of(line, self._width, self._name()))


def rows_of(line: Line, width: int, name: str) -> list[StyleAndTextTuples]:
    """A line of the chat as rows of the screen.

    Args:
        line: cleaned.
        width: columns.
        name: this user's, to mark what is for him.
    """
    drawn: StyleAndTextTuples = [("class:time", time.strftime("%H:%M ", time.localtime(line.time)))]
    style = "class:called" if line.author != name and line.room != PRIVATE and calls(line, name) else ""
    if line.kind == "notice":
        drawn.append(("class:notice", f"* {line.text}"))
    elif line.kind == "me":
        drawn += [(colour_of(line.author), f"* {line.author} "), (f"italic {style}", line.text)]
    else:
        drawn += [(colour_of(line.author), f"{line.author}: "), (style, line.text)]
    return _wrapped(drawn, width)


def colour_of(name: str) -> str:
    """The same colour for the same name, on every screen."""
    return f"bold {COLOURS[zlib.crc32(name.casefold().encode()) % len(COLOURS)]}"


def title_of(place: str) -> str:
    return place if place.startswith(PRIVATE) else f"#{place}"


def _wrapped(fragments: StyleAndTextTuples, width: int) -> list[StyleAndTextTuples]:
    """Rows of whole words where that is possible; all but the first are indented."""
    rows: list[StyleAndTextTuples] = [[]]
    column = 0
    indent = INDENT if width > 3 * INDENT else 0
    for style, text, *_ in fragments:
        for word in _words(text):
            if column > indent and column + get_cwidth(word.rstrip()) > width:
                rows.append([("", " " * indent)])
                column = indent
            for piece in _pieces(word, max(2, width - column), max(2, width - indent)):
                if column + get_cwidth(piece.rstrip()) > width:
                    rows.append([("", " " * indent)])
                    column = indent
                rows[-1].append((style, piece))
                column += get_cwidth(piece)
    return rows


def _words(text: str) -> list[str]:
    """Words, each with the spaces after it."""
    words: list[str] = []
    for char in text:
        if words and (char == " " or not words[-1].endswith(" ")):
            words[-1] += char
        else:
            words.append(char)
    return words


def _pieces(word: str, first_width: int, width: int) -> list[str]:
    """A word that is longer than a row, in pieces."""
    pieces, used, room = [""], 0, first_width
    for char in word:
        if char != " " and used + get_cwidth(char) > room:
            pieces.append("")
            used, room = 0, width
        pieces[-1] += char
        used += get_cwidth(char)
    return pieces
