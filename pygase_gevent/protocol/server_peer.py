"""One session as the server knows it, and what can happen to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.identity import session_id_of
from pygase_gevent.protocol.netcode import NetcodePeer
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.protocol.session import Session, SessionEvent


class ServerPeer:
    """One session as the server knows it, from its first connection to its end.

    Attributes:
        name: the address the client first connected from; names the session for life.
        remote_address: where the client is now, or was last.
        session_id: 16 bytes, unique for ever.
        resume_secret: what its tickets resume it by; known to its client only.
        claims: what the client's token said; `encoded_claims` as it came.
        session: the session's traffic.
        disconnect_reason, disconnect_text: why it ended, once it did.
    """

    __slots__ = (
        "attachment",
        "claims",
        "close_at",
        "disconnect_reason",
        "disconnect_text",
        "encoded_claims",
        "events",
        "is_ready",
        "leave_at",
        "name",
        "next_close_at",
        "remote_address",
        "resume_secret",
        "session",
        "session_id",
        "tickets_until",
        "user",
    )

    def __init__(
        self,
        session: Session,
        name: Address,
        resume_secret: bytes,
        claims: dict[str, Any],
        encoded_claims: bytes = b"",
    ) -> None:
        self.session = session
        self.name = name
        self.remote_address = name
        self.session_id = session_id_of(resume_secret)
        self.resume_secret = resume_secret
        self.claims = claims
        self.encoded_claims = encoded_claims
        self.tickets_until = 0.0
        self.disconnect_reason: DisconnectReason | None = None
        self.disconnect_text = ""
        self.attachment: NetcodePeer | None = None
        self.leave_at = 0.0
        self.close_at = 0.0
        self.next_close_at = 0.0
        self.is_ready = False
        self.user: Any = None
        self.events: list[SessionEvent] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether a netcode connection carries the session now."""
        return self.attachment is not None and self.disconnect_reason is None

    def next_event(self) -> SessionEvent | None:
        """The next of the session's events that concern the application (acks, losses)."""
        events = self.events
        if events is None:
            return None
        event = events.pop(0)
        if not events:
            self.events = None
            self.session.is_sink_at_rest = False
        return event

    def add_event(self, event: SessionEvent) -> None:
        """Keep an event for the application."""
        if self.events is None:
            self.events = []
            self.session.is_sink_at_rest = True
        self.events.append(event)


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A new session."""

    peer: ServerPeer


@dataclass(frozen=True, slots=True)
class PeerDropped:
    """Silence for longer than the timeout; the seat is kept for the resume window."""

    peer: ServerPeer


@dataclass(frozen=True, slots=True)
class PeerResumed:
    """A session goes on over a fresh netcode connection."""

    peer: ServerPeer


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """A session ended for good; its reason is in the peer."""

    peer: ServerPeer


@dataclass(frozen=True, slots=True)
class ShutdownRequested:
    """A client said goodbye and asked for the server to be shut down; comes before its `PeerLeft`."""

    peer: ServerPeer


CoreEvent = PeerJoined | PeerDropped | PeerResumed | PeerLeft | ShutdownRequested
