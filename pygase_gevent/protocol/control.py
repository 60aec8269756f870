"""What a session says about itself: welcome, tickets, clock and the close, on their way out."""

from __future__ import annotations

from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError
from pygase_gevent.protocol.frame_writer import (
    encode_clock_answer,
    encode_close,
    encode_ticket,
    encode_welcome,
)
from pygase_gevent.protocol.frames import MAX_BLOB_BYTES, MAX_TICKET_BYTES
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.recovery import Carried

CLOSES_PER_LINGER: Final = 4
"""How often the close is repeated within `config.close_linger_s` when nothing else makes a packet leave."""


class ControlSender:
    """Control frames to be sent. They pass whatever the congestion window says."""

    __slots__ = (
        "_clock_answers",
        "_close_at",
        "_close_frame",
        "_config",
        "_next_ticket",
        "_tickets",
        "_welcome",
        "has_work",
    )

    def __init__(self, config: Config) -> None:
        self._config = config
        self._welcome: _ControlItem | None = None
        self._tickets: list[_ControlItem] | None = None
        self._next_ticket = 0
        self._close_frame = b""
        self._close_at = 0.0
        self._clock_answers: list[tuple[int, int, float]] | None = None
        self.has_work = False
        """Whether something must leave that has not (the close apart)."""

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing for the next packet: no welcome either, repeated until it arrived."""
        return not self.has_work and self._welcome is None and not self._close_frame

    @property
    def close_at(self) -> float | None:
        """When the close is due again."""
        return self._close_at if self._close_frame else None

    def queue_welcome(self, blob: bytes) -> None:
        """Put this first in payloads until one of them was acknowledged."""
        if len(blob) > MAX_BLOB_BYTES:
            raise ArgumentError(f"a welcome of {len(blob)} bytes is over the limit of {MAX_BLOB_BYTES}")
        self._welcome = _ControlItem(self, encode_welcome(blob))
        self.has_work = True

    def queue_ticket(self, blob: bytes) -> None:
        """Send this until it was acknowledged."""
        if len(blob) > MAX_TICKET_BYTES:
            raise ArgumentError(f"a ticket of {len(blob)} bytes is over the limit of {MAX_TICKET_BYTES}")
        tickets = self._tickets
        if tickets is None:
            tickets = self._tickets = []
        elif len(tickets) >= 2 * self._config.resume_tickets:
            del tickets[0]  # as many as two connections bring; newer ones take the place of the oldest
        tickets.append(_ControlItem(self, encode_ticket(self._next_ticket, blob)))
        self._next_ticket += 1
        self.has_work = True

    def queue_close(self, code: int, text: str, flags: int, now: float) -> None:
        """Put this into every payload from now on."""
        self._close_frame = encode_close(code, text, flags)
        self._close_at = now

    def queue_clock_answer(self, number: int, clock_us: int, now: float) -> None:
        """Answer a clock request with the next packet."""
        answers = self._clock_answers
        if answers is None:
            answers = self._clock_answers = []
        elif len(answers) >= self._config.max_clock_answers:
            del answers[0]
        answers.append((number, clock_us, now))
        self.has_work = True

    def fill(self, packet: PacketBuilder, now: float, with_welcome: bool) -> None:
        """Put into a packet what belongs there: the welcome first, then the close."""
        welcome = self._welcome
        if welcome is not None and with_welcome:
            packet.add(welcome.frame)
            packet.items.append(welcome)
            welcome.is_due = False
        if self._close_frame and packet.fits(self._close_frame):
            packet.add_quiet(self._close_frame)
            self._close_at = now + self._config.close_linger_s / CLOSES_PER_LINGER
        if self.has_work:
            self._fill_due(packet, now)

    def _fill_due(self, packet: PacketBuilder, now: float) -> None:
        answers = self._clock_answers
        while answers:
            number, clock_us, asked_at = answers[0]
            frame = encode_clock_answer(number, clock_us, int((now - asked_at) * 1e6))
            if not packet.fits(frame):
                return
            del answers[0]
            packet.add(frame)
        self._clock_answers = None
        for ticket in self._tickets or ():
            if ticket.is_due:
                if not packet.fits(ticket.frame):
                    return
                packet.add(ticket.frame)
                packet.items.append(ticket)
                ticket.is_due = False
        self.has_work = self._welcome is not None and self._welcome.is_due

    def detach(self) -> None:
        """The connection is gone: the next one has a welcome and a close of its own."""
        self._welcome = None
        self._close_frame = b""
        self._clock_answers = None
        self.has_work = self._tickets is not None

    def arrived(self, item: _ControlItem) -> None:
        """A payload with this was acknowledged."""
        tickets = self._tickets
        if item is self._welcome:
            self._welcome = None
        elif tickets is not None and item in tickets:
            tickets.remove(item)
            if not tickets:
                self._tickets = None

    def is_wanted(self, item: _ControlItem) -> bool:
        """Whether this is still to be delivered."""
        return item is self._welcome or (self._tickets is not None and item in self._tickets)


class _ControlItem(Carried):
    """The welcome of this connection, or a ticket: sent until it was acknowledged."""

    __slots__ = ("_sender", "frame", "is_due")

    def __init__(self, sender: ControlSender, frame: bytes) -> None:
        self._sender = sender
        self.frame = frame
        self.is_due = True

    def on_acked(self, now: float) -> None:
        self._sender.arrived(self)

    def on_lost(self, now: float) -> None:
        if self._sender.is_wanted(self):
            self.is_due = self._sender.has_work = True

    def on_probe(self, now: float) -> None:
        self.on_lost(now)
