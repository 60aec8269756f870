"""What a session tells its owner, besides messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pygase_gevent.gamestate import GameState


@dataclass(frozen=True, slots=True)
class StateReceived:
    """The client has a newer state. `server_time` is the server's clock when it was taken, seconds."""

    state: GameState
    server_time: float


@dataclass(frozen=True, slots=True)
class WelcomeReceived:
    """The server accepts this connection."""

    blob: bytes


@dataclass(frozen=True, slots=True)
class TicketReceived:
    """A ticket to resume with."""

    blob: bytes


@dataclass(frozen=True, slots=True)
class CloseReceived:
    """The peer closes, and says why."""

    code: int
    text: str
    flags: int


@dataclass(frozen=True, slots=True)
class MessageAcked:
    """The message that was queued with this token arrived."""

    token: Any


@dataclass(frozen=True, slots=True)
class MessageLost:
    """The message that was queued with this token is given up; it may have arrived all the same."""

    token: Any


SessionEvent = StateReceived | WelcomeReceived | TicketReceived | CloseReceived | MessageAcked | MessageLost
