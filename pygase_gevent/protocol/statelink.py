"""Between `statesync.py`, which knows states, and packets: parts, transfers, acknowledgements."""

from __future__ import annotations

from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.protocol.fragments import OutgoingTransfer, Reassembly, TransferOwner, TransferScheduler
from pygase_gevent.protocol.frame_writer import (
    encode_state_ack,
    encode_state_fragment_prefix,
)
from pygase_gevent.protocol.frames import StateFragmentFrame, StateFrame, StateStepFrame
from pygase_gevent.protocol.layout import FrameType
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.recovery import Carried
from pygase_gevent.protocol.statesync import (
    EncodedState,
    ReceivedState,
    StateEncoder,
    StateReceiver,
    StateSender,
)
from pygase_gevent.protocol.stats import DropReason, SessionStats
from pygase_gevent.protocol.telling import TableSender

TRANSFER_HEADER_BYTES: Final = 1024
"""What a state transfer may have beyond `config.max_state_bytes`: its header, and marks in deltas."""


class StateOutbox(TransferOwner):
    """The server's side: the newest update's parts, or the one transfer."""

    def __init__(self, config: Config, transfers: TransferScheduler) -> None:
        self.sender = StateSender(config)
        self.names = TableSender(FrameType.STATE_NAMES)
        self._transfers = transfers
        self._transfer: OutgoingTransfer | None = None
        self._next_transfer = 0
        self._update = 0
        self._parts: list[_StatePart] = []
        self._repeatable: _StatePart | None = None  # the newest update, if it went whole over a lossy path

    @property
    def has_parts(self) -> bool:
        """Whether a part wants to leave."""
        return bool(self._parts)

    def queue(self, encoder: StateEncoder, now: float) -> None:
        """Take what is new for this client."""
        if self._parts:
            self.sender.handle_unsent()
        names, sender = self.names, self.sender
        if names.acknowledged < len(encoder.names.entries):
            names.use(encoder.names.entries)
        sender.view = names.acknowledged
        self._queue(sender.next_update(encoder, now))

    def _queue(self, update: EncodedState | None) -> None:
        if update is None:
            return
        self._update += 1
        if self._parts:
            self._parts.clear()
        if update.parts is None:
            self._begin_transfer(update)
            return
        if update.step_frame:
            self._parts.append(_StatePart(self, self._update, update.newest, True, True, update.step_frame))
            return
        is_whole = len(update.frames) == 1
        for frame in update.frames:
            self._parts.append(_StatePart(self, self._update, update.newest, is_whole, False, frame))

    def _begin_transfer(self, update: EncodedState) -> None:
        self.discard()
        prefix = encode_state_fragment_prefix(self._next_transfer)
        self._next_transfer += 1
        self._transfer = OutgoingTransfer(self._transfers, self, prefix, update.transfer_body)
        self._transfers.add(self._transfer)

    def discard(self) -> None:
        """Give the transfer up."""
        if self._transfer is not None:
            self._transfers.remove(self._transfer)
            self._transfer = None

    def fill(self, packet: PacketBuilder) -> None:
        """Put names and parts into a packet."""
        if self.names.is_due:
            self.names.fill(packet)
        parts = self._parts
        while parts and packet.fits(parts[0].frame):
            part = parts.pop(0)
            if part.is_last:
                packet.add_last(part.frame)
                self._repeatable = part if self.sender.is_path_lossy else None
            else:
                packet.add(part.frame)
            packet.items.append(part)

    def take_step(self) -> _StatePart | None:
        """The update that waits, to be sent in a packet of its own; `None` unless it is one short frame and
        no name is due.
        """
        parts = self._parts
        if len(parts) != 1 or not parts[0].is_last or self.names.is_due:
            return None
        part = parts.pop()
        self._repeatable = part if self.sender.is_path_lossy else None
        return part

    def ride_along(self, packet: PacketBuilder) -> None:
        """Repeat the newest update, once, in a packet that leaves anyway between two of them.

        A lost update costs the client the time to the next one; this halves it where something is lost.
        """
        part = self._repeatable
        if part is None or part.update != self._update or self._parts:
            return
        self._repeatable = None
        if not (part.has_arrived or packet.is_full or len(part.frame) > packet.room):
            packet.add_last(part.frame)
            packet.items.append(part)

    def on_transfer_arrived(self, now: float) -> None:
        self._transfer = None
        self.sender.handle_transfer_finished(now)

    def part_lost(self, part: _StatePart, now: float) -> None:
        """A part was lost, and what stands on its update is of no use."""
        self.sender.handle_loss(now)
        self.send_again(part)

    def send_again(self, part: _StatePart) -> None:
        """If nothing newer was queued a part is still wanted."""
        if part.update == self._update and not self.sender.must_resend and part not in self._parts:
            self._parts.append(part)

    def attach(self, now: float) -> None:
        """A connection stands."""
        self._parts.clear()
        self._repeatable = None
        self._update += 1
        self.sender.handle_attach(now)

    def next_timer(self) -> float | None:
        """When `handle_timer` is due."""
        return self.sender.next_timer()

    def handle_timer(self, now: float) -> None:
        """Send again what was not acknowledged for long."""
        self._queue(self.sender.handle_timer(now))


class _StatePart(Carried):
    """A part of an update in a packet."""

    __slots__ = ("_outbox", "frame", "has_arrived", "is_last", "is_whole", "newest", "update")

    def __init__(
        self, outbox: StateOutbox, update: int, newest: int, is_whole: bool, is_last: bool, frame: bytes
    ) -> None:
        self._outbox = outbox
        self.has_arrived = False
        self.update = update
        self.newest = newest
        self.is_whole = is_whole
        self.is_last = is_last
        self.frame = frame

    def on_acked(self, now: float) -> None:
        self.has_arrived = True
        if self.is_whole:
            self._outbox.sender.handle_arrival(self.newest)

    def on_lost(self, now: float) -> None:
        if not self.has_arrived:
            self._outbox.part_lost(self, now)

    def on_probe(self, now: float) -> None:
        if not self.has_arrived:
            self._outbox.send_again(self)


class StateInbox:
    """The client's side: takes parts and fragments, and says which state it has."""

    def __init__(self, config: Config, stats: SessionStats) -> None:
        self.receiver = StateReceiver(config)
        self._stats = stats
        self._max_bytes = config.max_state_bytes + TRANSFER_HEADER_BYTES
        self._transfer = -1
        self._reassembly: Reassembly | None = None
        self._confirmed: int | None = None
        self._is_due = False

    def receive_part(self, frame: StateFrame) -> ReceivedState | None:
        """Take a part; the state if it completes one."""
        self._is_due = True
        received = self.receiver.receive_part(
            frame.newest, frame.distance, frame.part, frame.parts, frame.clock_us, frame.data
        )
        self._count_drops()
        return received

    def receive_step(self, frame: StateStepFrame) -> ReceivedState | None:
        """Take a whole update; the state if it makes a new one."""
        self._is_due = True
        received = self.receiver.receive_step(frame.newest, frame.distance, frame.clock_steps, frame.data)
        self._count_drops()
        return received

    def _count_drops(self) -> None:
        drops = self.receiver.drops
        if drops:
            for reason, count in drops.items():
                self._stats.drops[f"state_{reason.name.lower()}"] += count
            drops.clear()

    def receive_fragment(self, frame: StateFragmentFrame, now: float) -> ReceivedState | None:
        """Take a fragment of a transfer; the state if it completes one. A newer transfer ends it."""
        if frame.total_bytes > self._max_bytes:
            self._stats.drops[DropReason.BAD_STATE] += 1
            return None
        age = self._transfer - frame.transfer & 0xFFFF if self._transfer >= 0 else 0xFFFF
        reassembly = self._reassembly
        if (age == 0 and reassembly is None) or 0 < age < 0x8000:
            self._stats.drops[DropReason.DUPLICATE_MESSAGE] += 1
            self._is_due = True
            return None
        if age or reassembly is None:
            self._transfer = frame.transfer
            reassembly = self._reassembly = Reassembly(frame.parts, frame.total_bytes, now)
        elif reassembly.count != frame.parts or reassembly.total_bytes != frame.total_bytes:
            self._stats.drops[DropReason.BAD_STATE] += 1
            return None
        body = reassembly.add(frame.part, frame.data, now)
        if body is None:
            return None
        self._reassembly = None
        self._is_due = True
        received = self.receiver.receive_transfer(body)
        self._count_drops()
        return received

    def fill(self, packet: PacketBuilder) -> None:
        """Put the acknowledgement in, until a packet with it was acknowledged."""
        newest = self.receiver.newest
        if newest is None or not (self._is_due or newest != self._confirmed):
            return
        frame = encode_state_ack(newest)
        if packet.fits(frame):
            packet.add_quiet(frame)
            packet.items.append(_StateAck(self, newest))
            self._is_due = False

    def confirm(self, newest: int) -> None:
        """The server has heard of this state."""
        if self._confirmed is None or newest > self._confirmed:
            self._confirmed = newest
        self.receiver.handle_confirmed(newest)

    def attach(self) -> None:
        """A connection stands."""
        self._confirmed = None


class _StateAck(Carried):
    """A state acknowledgement in a packet."""

    __slots__ = ("_inbox", "_newest")

    def __init__(self, inbox: StateInbox, newest: int) -> None:
        self._inbox = inbox
        self._newest = newest

    def on_acked(self, now: float) -> None:
        self._inbox.confirm(self._newest)
