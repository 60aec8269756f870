"""Telling a peer of the entries of a table that only grows, one packet at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pygase_gevent.codec import pack
from pygase_gevent.protocol.frame_writer import encode_names
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.recovery import Carried

MAX_ENTRIES_BYTES: Final = 1000
"""Entries in one frame, so that it fits into a packet beside other things."""


class TableSender:
    """Tells one peer of a table. Lives as long as the session, as what the peer knows does.

    Args:
        frame_type: of the frames.

    Attributes:
        acknowledged: how many entries the peer has.
        is_due: whether it should be told of more.
    """

    __slots__ = ("_entries", "_frame_type", "_told", "acknowledged", "is_due")

    def __init__(self, frame_type: int) -> None:
        self._frame_type = frame_type
        self._entries: Sequence[Any] = ()
        self._told: _Told | None = None
        self.acknowledged = 0
        self.is_due = False

    @property
    def is_telling(self) -> bool:
        """Whether entries are in flight; they are due again if they are lost."""
        return self._told is not None

    def use(self, entries: Sequence[Any]) -> None:
        """Tell of these, which are what they were, and more perhaps."""
        self._entries = entries
        self.is_due = self._told is None and self.acknowledged < len(entries)

    def fill(self, packet: PacketBuilder) -> None:
        """Put entries into a packet, if some are due and there is room."""
        if not self.is_due:
            return
        first = self.acknowledged
        entries = list(self._entries[first:])
        data = pack(entries)
        while len(data) > MAX_ENTRIES_BYTES and len(entries) > 1:
            entries = entries[: len(entries) // 2]
            data = pack(entries)
        frame = encode_names(self._frame_type, first, data)
        if packet.fits(frame):
            packet.add(frame)
            self._told = _Told(self, first + len(entries))
            packet.items.append(self._told)
            self.is_due = False

    def arrived(self, told: _Told) -> None:
        """A packet with these entries arrived."""
        if told.count > self.acknowledged:
            self.acknowledged = told.count
        self.lost(told)

    def lost(self, told: _Told) -> None:
        """A packet with them was lost, or they are known: what is left is due."""
        if told is self._told:
            self._told = None
        self.is_due = self._told is None and self.acknowledged < len(self._entries)


class _Told(Carried):
    """Entries in a packet."""

    __slots__ = ("_sender", "count")

    def __init__(self, sender: TableSender, count: int) -> None:
        self._sender = sender
        self.count = count

    def on_acked(self, now: float) -> None:
        self._sender.arrived(self)

    def on_lost(self, now: float) -> None:
        self._sender.lost(self)

    def on_probe(self, now: float) -> None:
        self._sender.lost(self)
