"""What server and clients of the chat must agree on."""

from __future__ import annotations

from typing import Any, NamedTuple

from demos.chat.rules import clean
from pygase_gevent import Delivery

GAME = "pygase_gevent demo: chat"
DEFAULT_PORT = 47_800
STEP_S = 1 / 50

PRIVATE = "@"
"""The room of one's own private messages, as the wire calls it."""
PAGE = 100
"""Lines that one call for history brings at the most."""

DELIVERIES = {
    # client to server
    "SAY": Delivery.RELIABLE_ORDERED,  # number, room or "@name", kind, text
    "TYPING": Delivery.SEQUENCED,  # room, or "" for no more
    # server to client
    "LINE": Delivery.RELIABLE_ORDERED,  # the fields of a Line; one stream, so the order is the server's
    "HEARD": Delivery.RELIABLE_ORDERED,  # number that is not said (again), why, seconds to wait or 0
}
# Calls, from client to server: ENTER, JOIN, LEAVE, NICK, WHO, ROOMS, HISTORY. What they return is a dict;
# one with "refused" says why not.


class Line(NamedTuple):
    """A line of a room, or of somebody's private messages.

    Attributes:
        room: where; `PRIVATE` for one's own private messages.
        number: one more than that of the line before it in this room; 0 for a notice, which nobody keeps.
        time: when the server heard it, seconds since 1970.
        kind: "said", "me" or "notice".
        author: the name of who said it.
        text: what.
        to: whom it was said to, in private messages.
        said: to the author, the author's own number of it: the server has heard it, and all before.
    """

    room: str
    number: int
    time: float
    kind: str
    author: str
    text: str
    to: str = ""
    said: int = 0


def cleaned(fields: Any) -> Line:
    """A line as it came over the wire, fit for a terminal. The server cleans too; whose server?"""
    line = Line(*fields)
    room, author, text, to = (clean(str(field)) for field in (line.room, line.author, line.text, line.to))
    return line._replace(room=room, author=author, text=text, to=to)
