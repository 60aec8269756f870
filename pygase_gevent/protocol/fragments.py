"""What is larger than a packet: cut into fragments, each repaired by itself, and put together again.

All fragments of a transfer have the same size, but for the last: `total_bytes` and `count` say it, so
that a fragment needs no length. Several transfers share what bulk may use, fragment by fragment.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from pygase_gevent.protocol.frame_writer import encode_fragment
from pygase_gevent.protocol.frames import MAX_CHUNK_BYTES
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.recovery import Carried
from pygase_gevent.protocol.stats import SessionStats

UNSENT: Final = 0
IN_FLIGHT: Final = 1
WAITING: Final = 2
ARRIVED: Final = 3


class TransferOwner(Carried):
    """What a transfer belongs to; some of them travel in packets themselves while they are small."""

    __slots__ = ()

    def on_transfer_arrived(self, now: float) -> None:
        """All fragments were acknowledged."""


class OutgoingTransfer:
    """A body on its way in fragments.

    Args:
        prefix: what each fragment's frame begins with.
        max_chunk_bytes: largest fragment; the body is cut into equal ones of at most this.
    """

    __slots__ = (
        "_body",
        "_chunk",
        "_next",
        "_resends",
        "_scheduler",
        "_states",
        "count",
        "left",
        "owner",
        "prefix",
    )

    def __init__(
        self,
        scheduler: TransferScheduler,
        owner: TransferOwner,
        prefix: bytes,
        body: bytes,
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
    ) -> None:
        self._scheduler = scheduler
        self.owner = owner
        self.prefix = prefix
        self._body = body
        self.count = max(1, -(-len(body) // max_chunk_bytes))
        self._chunk = -(-len(body) // self.count)
        # Equal fragments may come out fewer than counted on: 10 bytes in 4 fragments are 3+3+3+1,
        # but 9 bytes in 4 would leave the last one empty.
        self.count = -(-len(body) // self._chunk)
        self._states = bytearray(self.count)
        self._next = 0
        self._resends: deque[int] = deque()
        self.left = self.count

    @property
    def has_work(self) -> bool:
        """Whether a fragment is to be sent."""
        return bool(self._resends) or self._next < self.count

    @property
    def max_frame_bytes(self) -> int:
        """Size of its largest frame."""
        return len(self.prefix) + 8 + self._chunk

    def next_fragment(self) -> tuple[bytes, Fragment] | None:
        """The next fragment's frame, lost ones first."""
        index = -1
        while self._resends:
            index = self._resends.popleft()
            if self._states[index] == WAITING:
                break
            index = -1
        if index < 0:
            if self._next >= self.count:
                return None
            index = self._next
            self._next += 1
        self._states[index] = IN_FLIGHT
        start = index * self._chunk
        data = self._body[start : start + self._chunk]
        return encode_fragment(self.prefix, index, self.count, len(self._body), data), Fragment(self, index)

    def fragment_arrived(self, index: int, now: float) -> None:
        """A fragment was acknowledged."""
        if self._states[index] == ARRIVED:
            return
        self._states[index] = ARRIVED
        self.left -= 1
        if self.left == 0:
            self._scheduler.remove(self)
            self.owner.on_transfer_arrived(now)

    def send_again(self, index: int) -> None:
        """A fragment was lost, or is to be sent as a probe."""
        if self._states[index] == IN_FLIGHT:
            self._states[index] = WAITING
            self._resends.append(index)
            self._scheduler.stats.fragments_resent += 1
            self._scheduler.wake(self)


class Fragment(Carried):
    """A fragment in a packet."""

    __slots__ = ("_index", "_transfer")

    def __init__(self, transfer: OutgoingTransfer, index: int) -> None:
        self._transfer = transfer
        self._index = index

    def on_acked(self, now: float) -> None:
        self._transfer.fragment_arrived(self._index, now)

    def on_lost(self, now: float) -> None:
        self._transfer.send_again(self._index)

    def on_probe(self, now: float) -> None:
        self._transfer.send_again(self._index)


class TransferScheduler:
    """Whose turn it is: transfers with work take turns, one fragment each."""

    __slots__ = ("_turns", "_under_way", "stats")

    def __init__(self, stats: SessionStats) -> None:
        self.stats = stats
        # A few at most, so that lists serve; none before the first.
        self._turns: list[OutgoingTransfer] | None = None
        self._under_way: list[OutgoingTransfer] | None = None

    @property
    def has_work(self) -> bool:
        """Whether any fragment is to be sent."""
        return bool(self._turns)

    def add(self, transfer: OutgoingTransfer) -> None:
        """Begin a transfer."""
        if self._under_way is None:
            self._under_way = []
        if self._turns is None:
            self._turns = []
        self._under_way.append(transfer)
        self._turns.append(transfer)

    def remove(self, transfer: OutgoingTransfer) -> None:
        """It arrived, or is given up."""
        under_way, turns = self._under_way, self._turns
        if under_way is not None and transfer in under_way:
            under_way.remove(transfer)
            if not under_way:
                self._under_way = None
        if turns is not None and transfer in turns:
            turns.remove(transfer)
            if not turns:
                self._turns = None

    def wake(self, transfer: OutgoingTransfer) -> None:
        """A transfer that had nothing to send has."""
        under_way, turns = self._under_way, self._turns
        if under_way is None or transfer not in under_way:
            return
        if turns is None:
            turns = self._turns = []
        if transfer not in turns:
            turns.append(transfer)

    def next_fragment(self, packet: PacketBuilder) -> tuple[bytes, Fragment] | None:
        """The next fragment that fits into the packet, `None` if none does."""
        turns = self._turns
        if turns is None:
            return None
        for _ in range(len(turns)):
            transfer = turns[0]
            if transfer.max_frame_bytes > packet.room or packet.is_full:
                packet.has_misfit = True
                return None
            fragment = transfer.next_fragment()
            del turns[0]
            if transfer.has_work:
                turns.append(transfer)
            if fragment is not None:
                return fragment
        return None


class Reassembly:
    """A body that arrives in fragments."""

    __slots__ = ("_missing", "_parts", "count", "size_bytes", "total_bytes", "updated_at")

    def __init__(self, count: int, total_bytes: int, now: float) -> None:
        self.count = count
        self.total_bytes = total_bytes
        self.size_bytes = 0
        self.updated_at = now
        self._parts: dict[int, bytes] = {}  # grows with what comes, not with what was announced
        self._missing = count

    @property
    def missing(self) -> int:
        """Fragments that have not come."""
        return self._missing

    def has(self, index: int) -> bool:
        """Whether this fragment came already."""
        return index in self._parts

    def add(self, index: int, data: bytes, now: float) -> bytes | None:
        """Take a fragment; the whole body when it was the last."""
        if index in self._parts:
            return None
        self._parts[index] = data
        self.size_bytes += len(data)
        self.updated_at = now
        self._missing -= 1
        if self._missing:
            return None
        return b"".join(self._parts[part] for part in range(self.count))
