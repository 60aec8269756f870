"""Every message of a run: who sent it how, and what became of it. Each says itself which one it is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NoReturn

from pygase_gevent.event import Delivery
from pygase_gevent.protocol.frames import MAX_INLINE_BYTES
from pygase_gevent.protocol.session import MessageKind
from pygase_gevent.testing.tap import TappedSession

_HEAD = struct.Struct(">4sIH")
MAGIC = b"\xf3\x9aMq"
"""Begins every message: four bytes that nothing else in a payload is likely to hold."""
SMALLEST_BYTES = _HEAD.size


class Violation(AssertionError):
    """A promise was broken."""


class SentMessage:
    """One message.

    Attributes:
        number: which one of the run.
        session: the session that it was sent over.
        position: its place in its stream.
        on_wire: times that it left, whole, in a packet.
        reached: times that a payload with it, whole, came to the peer's session.
        received: times that the peer's application got it.
        acked, lost: times that the sender was told so.
    """

    __slots__ = (
        "acked",
        "body",
        "delivery",
        "has_token",
        "kind",
        "lost",
        "number",
        "on_wire",
        "position",
        "reached",
        "received",
        "retries",
        "sent_at",
        "session",
        "stream",
    )

    def __init__(
        self,
        number: int,
        session: TappedSession,
        body: bytes,
        delivery: Delivery,
        stream: str,
        position: int,
        retries: int,
        kind: MessageKind,
        has_token: bool,
        sent_at: float,
    ) -> None:
        self.number = number
        self.session = session
        self.body = body
        self.delivery = delivery
        self.stream = stream
        self.position = position
        self.retries = retries
        self.kind = kind
        self.has_token = has_token
        self.sent_at = sent_at
        self.on_wire = self.reached = self.received = self.acked = self.lost = 0

    def __repr__(self) -> str:
        side = "down" if self.session.is_server else "up"
        return (
            f"message {self.number} ({side}, {self.delivery.name} {self.stream or '-'}[{self.position}], "
            f"{self.kind.name}, retries {self.retries}, {len(self.body)} bytes, sent at {self.sent_at:.3f} "
            f"over session {self.session.session_id.hex()[:8] or '-'}; on the wire {self.on_wire}, reached "
            f"{self.reached}, received {self.received}, acked {self.acked}, lost {self.lost})"
        )

    @property
    def is_reliable(self) -> bool:
        """Whether it must arrive while the session lives."""
        return self.delivery in (Delivery.RELIABLE, Delivery.RELIABLE_ORDERED)

    @property
    def is_whole(self) -> bool:
        """Whether it travels in one piece."""
        return len(self.body) <= MAX_INLINE_BYTES


class Ledger:
    """All messages of a run."""

    def __init__(self) -> None:
        self.messages: list[SentMessage] = []
        self._positions: dict[tuple[TappedSession, Delivery, str, MessageKind], int] = {}

    def send(
        self,
        session: TappedSession,
        size: int,
        delivery: Delivery,
        now: float,
        *,
        stream: str = "",
        retries: int = 0,
        kind: MessageKind = MessageKind.EVENT,
        has_token: bool = False,
    ) -> SentMessage:
        """Sends a new message over a session.

        Raises:
            QueueFullError: the session has no room; the message does not count.
        """
        number = len(self.messages)
        head = _HEAD.pack(MAGIC, number, size & 0xFFFF)
        body = head + bytes([number * 37 + 11 & 0xFF]) * max(0, size - len(head))
        key = (session, delivery, stream, kind)
        position = self._positions.get(key, 0)
        message = SentMessage(
            number, session, body, delivery, stream, position, retries, kind, has_token, now
        )
        session.send_message(
            body,
            delivery=delivery,
            stream=stream,
            retries=retries,
            kind=kind,
            token=message if has_token else None,
            now=now,
        )
        self._positions[key] = position + 1
        self.messages.append(message)
        return message

    def of_body(self, body: bytes) -> SentMessage:
        """The message with this body.

        Raises:
            Violation: nobody sent it.
        """
        if len(body) < _HEAD.size or not body.startswith(MAGIC):
            _not_sent(body)
        number: int = _HEAD.unpack_from(body)[1]
        if number >= len(self.messages) or self.messages[number].body != body:
            _not_sent(body)
        return self.messages[number]

    def in_payload(self, payload: bytes) -> Iterator[SentMessage]:
        """The messages that a payload holds whole (and large ones whose first fragment it holds)."""
        at = payload.find(MAGIC)
        while at >= 0:
            if at + _HEAD.size <= len(payload):
                number = _HEAD.unpack_from(payload, at)[1]
                if number < len(self.messages):
                    yield self.messages[number]
            at = payload.find(MAGIC, at + 4)


def _not_sent(body: bytes) -> NoReturn:
    raise Violation(f"a message that nobody sent: {body[:40]!r}, {len(body)} bytes")
