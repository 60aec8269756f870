"""Where a client stands, and what can happen to it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.protocol.session import SessionEvent


class ClientPhase(enum.Enum):
    """Where a client stands; client_core.py opens with the picture."""

    IDLE = enum.auto()
    CONNECTING = enum.auto()
    CONNECTED = enum.auto()
    RESUMING = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


@dataclass(frozen=True, slots=True)
class Connected:
    """A new session stands. `discarded` messages of an earlier one went with it."""

    session_id: bytes
    discarded: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection is lost for now; the client tries to resume."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The session goes on."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The end. `by_peer`: the other side said so."""

    reason: DisconnectReason
    text: str
    by_peer: bool


ClientEvent = Connected | Dropped | Resumed | Closed | SessionEvent
