"""One payload while it is put together."""

from __future__ import annotations

from pygase_gevent.protocol.netcode.packet import MAX_PAYLOAD_BYTES
from pygase_gevent.protocol.recovery import Carried


class PacketBuilder:
    """Collects frames up to the size of a payload, and what must hear of its fate.

    Attributes:
        items: told when the packet is acknowledged or lost.
        room: bytes left.
        frames: frames so far.
        is_ack_eliciting: whether the peer is asked to acknowledge it.
        has_misfit: something did not fit.
    """

    __slots__ = (
        "_chunks",
        "_last",
        "_max_frames",
        "frames",
        "has_misfit",
        "is_ack_eliciting",
        "items",
        "room",
    )

    def __init__(self, header: bytes, max_frames: int) -> None:
        self._chunks = [header]
        self._last = b""
        self._max_frames = max_frames
        self.room = MAX_PAYLOAD_BYTES - len(header)
        self.items: list[Carried] = []
        self.frames = 0
        self.is_ack_eliciting = False
        self.has_misfit = False

    @property
    def is_full(self) -> bool:
        """Whether the number of frames is at its limit."""
        return self.frames >= self._max_frames

    def fits(self, frame: bytes) -> bool:
        """Whether a frame can be added."""
        if len(frame) <= self.room and self.frames < self._max_frames:
            return True
        self.has_misfit = True
        return False

    def add(self, frame: bytes) -> None:
        """Add a frame that asks for an acknowledgement."""
        self._chunks.append(frame)
        self.room -= len(frame)
        self.frames += 1
        self.is_ack_eliciting = True

    def add_quiet(self, frame: bytes) -> None:
        """Add a frame that does not (a close, a state acknowledgement)."""
        self._chunks.append(frame)
        self.room -= len(frame)
        self.frames += 1

    def add_last(self, frame: bytes) -> None:
        """Add the frame that runs to the payload's end, behind all that are added before or after."""
        self._last = frame
        self.room -= len(frame)
        self.frames += 1
        self.is_ack_eliciting = True

    def to_bytes(self) -> bytes:
        """The payload."""
        chunks = self._chunks
        return chunks[0] + self._last if len(chunks) == 1 else b"".join(chunks) + self._last
