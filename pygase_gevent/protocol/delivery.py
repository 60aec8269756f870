"""Messages on their way out: the four delivery modes, retries, and what became of each message.

A *channel* is a line of messages that share numbers: one for all unreliable ones, one each for retried
and reliable ones, one for calls, one per ordered or sequenced event type, and one each for the large
ones among them. Channels take turns; one whose window is full waits without holding up the others.

A message lives from `send` until it is acknowledged or given up, across connections. Numbers are 64 bits
inside and never start anew while the session lives.
"""

from __future__ import annotations

from collections import deque

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, MessageTooLargeError
from pygase_gevent.event import Delivery
from pygase_gevent.protocol.eventnames import EventNamesSender
from pygase_gevent.protocol.fragments import OutgoingTransfer, TransferScheduler
from pygase_gevent.protocol.frame_writer import encode_fragment_prefix, encode_message
from pygase_gevent.protocol.frames import MAX_INLINE_BYTES, NO_NUMBER
from pygase_gevent.protocol.layout import (
    DELIVERY_CODES,
    EVENT,
    NAMED_EVENT,
    ORDERED,
    RELIABLE,
    SEQUENCED,
)
from pygase_gevent.protocol.messages import (
    Channel,
    ChannelTable,
    MessageOwner,
    QueueBounds,
    QueuedMessage,
    RetryTimeouts,
)
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.redundancy import Redundancy
from pygase_gevent.protocol.stats import SessionStats


class MessageSender(MessageOwner):
    """Queues messages, numbers them, puts them into packets, and sends them again as their mode says.

    What a connection may never need comes into being with its first use: an empty deque has 760 bytes.

    Attributes:
        notices: (token, whether it arrived) of messages that are done, oldest first; or `None`.
    """

    __slots__ = (
        "_active",
        "_blocked",
        "_bounds",
        "_channels",
        "_config",
        "_detached_at",
        "_is_quiet",
        "_large",
        "_ordered_bytes",
        "_resends",
        "_stats",
        "_timeouts",
        "_transfers",
        "_unsettled",
        "_was_attached",
        "names",
        "notices",
        "redundancy",
    )

    def __init__(self, config: Config, transfers: TransferScheduler, stats: SessionStats) -> None:
        self._is_quiet = True  # nothing came since it was seen last that there is nothing to send
        self._unsettled: list[QueuedMessage] | None = None
        self.notices: list[tuple[object, bool]] | None = None
        self._config = config
        self._transfers = transfers
        self._stats = stats
        self.redundancy = Redundancy(config)
        self.names = EventNamesSender(config)
        self._bounds = QueueBounds(config)
        self._channels = ChannelTable(config)
        self._active: list[Channel] = []  # whose turn is next stands first
        self._blocked: list[Channel] | None = None
        self._resends: deque[QueuedMessage] | None = None
        self._timeouts = RetryTimeouts(config)
        self._large: list[QueuedMessage] | None = None
        self._ordered_bytes = 0
        self._detached_at: float | None = None
        self._was_attached = False

    # --- queueing -------------------------------------------------------------------------------

    def send(
        self, body: bytes, delivery: Delivery, stream: str, retries: int, kind: int, token: object, now: float
    ) -> None:
        """Queue a message.

        Raises:
            MessageTooLargeError: it is larger than `config.max_event_bytes`.
            QueueFullError: too many messages or bytes wait already.
            ArgumentError: too many retries, or too many ordered or sequenced event types.
        """
        config = self._config
        size = len(body)
        if size > config.max_event_bytes:
            raise MessageTooLargeError(
                f"a message of {size} bytes is over the limit of {config.max_event_bytes}"
                " (Config.max_event_bytes)"
            )
        if not 0 <= retries <= config.max_retries:
            raise ArgumentError(
                f"retries must be from 0 to {config.max_retries}, not {retries};"
                " for more use Delivery.RELIABLE"
            )
        channel = self._channels.find(
            DELIVERY_CODES[delivery], stream, kind, retries, size > MAX_INLINE_BYTES
        )
        if channel.delivery >= RELIABLE:
            retries = 0
        message = QueuedMessage(self, channel, body, kind, retries, token, now)
        if channel.delivery == SEQUENCED and channel.waiting:
            # The newest wins: it takes the place of the one that has not left yet.
            older = channel.waiting[0]
            self._bounds.replace(older, message)
            channel.waiting.popleft()
            self.finish(older, False)
        else:
            self._bounds.count_in(message)
        channel.waiting.append(message)
        self._is_quiet = False
        if not channel.is_active and not channel.is_blocked:
            channel.is_active = True
            self._active.append(channel)

    @property
    def queued_events(self) -> int:
        """Events waiting to be sent or acknowledged."""
        return self._bounds.events

    @property
    def queued_bytes(self) -> int:
        """Bytes of them."""
        return self._bounds.event_bytes

    # --- sending --------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether a message wants to leave in a packet (fragments are the scheduler's)."""
        return not self._is_quiet and (bool(self._active) or bool(self._resends))

    @property
    def has_any(self) -> bool:
        """Whether anything here may go into the next packet: a message, a name, or what rides along."""
        if self._is_quiet:  # as for most packets of most games
            return False
        table = self.names.table
        if self._active or self._resends or table.is_due or self.redundancy.has_candidates:
            return True
        self._is_quiet = not table.is_telling  # what was told may be lost
        return False

    def fill(self, packet: PacketBuilder, now: float) -> bool:
        """Put as many messages as fit into a packet; whether any was."""
        before = packet.frames
        if self._resends:
            self._fill_resends(packet, now)
        active = self._active
        misfits = 0
        while active and misfits < min(self._config.max_misfits, len(active)):
            channel = active[0]
            if self._fill_from(channel, packet, now):
                del active[0]
                channel.is_active = False
            else:
                active.append(active.pop(0))
                misfits += 1
            if packet.is_full:
                break
        return packet.frames > before

    def _fill_resends(self, packet: PacketBuilder, now: float) -> None:
        resends = self._resends
        while resends:
            message = resends[0]
            if message.is_done:
                message.is_resending = False
                resends.popleft()
                continue
            if not packet.fits(message.frame):
                return
            resends.popleft()
            message.is_resending = False
            self._stats.messages_resent += 1
            self._put(message, packet, now)

    def _fill_from(self, channel: Channel, packet: PacketBuilder, now: float) -> bool:
        """Put messages of one channel in; True if the channel has no more to send for now."""
        waiting = channel.waiting
        while waiting:
            message = waiting[0]
            if message.is_done:
                waiting.popleft()
                continue
            if channel.delivery < RELIABLE and self._is_expired(message, now):
                waiting.popleft()
                self.finish(message, False)
                continue
            if not self._may_number(channel, message):
                channel.is_blocked = True
                if self._blocked is None:
                    self._blocked = []
                self._blocked.append(channel)
                return True
            if message.size_bytes > MAX_INLINE_BYTES:
                waiting.popleft()
                self._begin_transfer(message, now)
                continue
            if not message.frame:
                self._number(message)
            if not packet.fits(message.frame):
                return False
            waiting.popleft()
            if message.number != NO_NUMBER:
                channel.add_to_window(message)
                if channel.delivery == ORDERED:
                    self._ordered_bytes += message.size_bytes
            else:
                self._bounds.count_out(message)
            self._put(message, packet, now)
        return True

    def _may_number(self, channel: Channel, message: QueuedMessage) -> bool:
        """Whether the channel's window lets another message through."""
        if message.frame or not channel.is_numbered:
            return True
        window = channel.window
        if window and channel.next_number - window[0].number >= self._config.reliable_window:
            return False
        # Ordered: what the peer may have to keep for a missing one; the head of the line always passes.
        ordered_bytes = self._ordered_bytes + message.size_bytes
        if channel.delivery == ORDERED and window and ordered_bytes > self._config.max_reorder_bytes:
            return False
        if message.size_bytes > MAX_INLINE_BYTES:
            is_event = message.kind == EVENT
            large = sum(1 for other in self._large or () if (other.kind == EVENT) == is_event)
            return large < self._config.max_transfers
        return True

    def _number(self, message: QueuedMessage) -> None:
        channel = message.channel
        if channel.is_numbered:
            message.number = channel.next_number
            channel.next_number += 1
        kind, body = message.kind, message.body
        if kind == EVENT:
            shortened = self.names.shortened(body)
            if shortened:
                kind, body = NAMED_EVENT, shortened
        message.frame = encode_message(channel.delivery, kind, channel.stream, message.number, body)

    def _begin_transfer(self, message: QueuedMessage, now: float) -> None:
        channel = message.channel
        message.first_sent_at = now
        message.number = channel.next_number
        channel.next_number += 1
        channel.add_to_window(message)
        if channel.delivery == ORDERED:
            self._ordered_bytes += message.size_bytes
        prefix = encode_fragment_prefix(channel.delivery, message.kind, channel.stream, message.number)
        message.transfer = OutgoingTransfer(self._transfers, message, prefix, message.body)
        if self._large is None:
            self._large = []
        self._large.append(message)
        self._stats.messages_sent += 1
        self._transfers.add(message.transfer)

    def _put(self, message: QueuedMessage, packet: PacketBuilder, now: float) -> None:
        packet.add(message.frame)
        message.sent_at = now
        message.copies += 1
        message.sent_count += 1
        if message.sent_count == 1:
            message.first_sent_at = now
            self._stats.messages_sent += 1
        if message.number == NO_NUMBER and message.token is None:
            return
        packet.items.append(message)
        if message.channel.delivery >= RELIABLE:
            self.redundancy.message_sent(message)
        elif message.number != NO_NUMBER:
            self._timeouts.message_sent(message, now)

    def ride_along(self, packet: PacketBuilder, now: float) -> None:
        """Repeat small reliable messages in what is left of a packet that leaves anyway."""
        while (message := self.redundancy.next_message(packet.room, now)) is not None:
            packet.add(message.frame)
            packet.items.append(message)
            message.sent_at = now
            message.copies += 1
            message.sent_count += 1
            self._stats.messages_ridden_along += 1

    # --- what became of it ----------------------------------------------------------------------

    def send_again(self, message: QueuedMessage) -> None:
        """A message was lost, or timed out."""
        if message.is_resending:
            return
        channel = message.channel
        if channel.delivery < RELIABLE:
            is_superseded = channel.delivery == SEQUENCED and message.number < channel.next_number - 1
            if message.retries_left == 0 or is_superseded:
                self.finish(message, False)
                return
            message.retries_left -= 1
        message.is_resending = True
        self._is_quiet = False
        if self._resends is None:
            self._resends = deque()
        self._resends.append(message)

    def suspect(self, message: QueuedMessage) -> None:
        """A message may be lost: it rides along if the share allows."""
        self._is_quiet = False
        self.redundancy.suspect(message)

    def arrived(self, message: QueuedMessage) -> None:
        """A message arrived. Of a sequenced one that does not mean that it was not too late: see `settle`."""
        if message.channel.delivery == SEQUENCED:
            if self._unsettled is None:
                self._unsettled = []
            if message not in self._unsettled:
                self._unsettled.append(message)
        else:
            self.finish(message, True)

    def settle(self, newest_sent_at: float) -> None:
        """Judge sequenced messages that an acknowledgement reported.

        The peer drops one that comes after a newer one. It is known to have been delivered only if nothing
        newer of its stream had left when the newest packet that has arrived did.

        Args:
            newest_sent_at: when that packet left.
        """
        unsettled = self._unsettled
        if unsettled is None:
            return
        self._unsettled = None
        verdicts = [not message.is_overtaken(newest_sent_at) for message in unsettled]
        for message, was_delivered in zip(unsettled, verdicts, strict=True):
            if not message.is_done:
                self.finish(message, was_delivered)

    def finish(self, message: QueuedMessage, has_arrived: bool) -> None:
        """A message arrived, or is given up."""
        message.is_done = True
        self._bounds.count_out(message)
        if message.token is not None:
            if self.notices is None:
                self.notices = []
            self.notices.append((message.token, has_arrived))
        if not has_arrived:
            self._stats.messages_discarded += 1
        if message.transfer is not None:
            self._transfers.remove(message.transfer)
            if self._large is not None:
                self._large.remove(message)
            message.transfer = None
            self._unblock()
        window = message.channel.window
        if window and window[0].is_done:
            is_ordered = message.channel.delivery == ORDERED
            while window and window[0].is_done:
                head = window.popleft()
                if is_ordered:
                    self._ordered_bytes -= head.size_bytes
            self._unblock()
        self._timeouts.forget_done()

    def _unblock(self) -> None:
        blocked = self._blocked
        if blocked is None:
            return
        self._blocked = None
        self._is_quiet = False
        for channel in blocked:
            channel.is_blocked = False
            if not channel.is_active:
                channel.is_active = True
                self._active.append(channel)

    # --- time -----------------------------------------------------------------------------------

    def attach(self, now: float) -> None:
        """A connection stands. What was queued before the first one has waited without limit."""
        if not self._was_attached:
            for channel in self._channels.all():
                for message in channel.waiting:
                    message.queued_at = now
        self._detached_at = None
        self._was_attached = True

    def detach(self, now: float) -> None:
        """The connection is gone; what was in flight has been reported lost already."""
        self._detached_at = now
        self._timeouts.clear()
        self.redundancy.forget()

    def next_timer(self) -> float | None:
        """When a retried message times out (never later than 1 s after it left)."""
        return self._timeouts.next_timer()

    def handle_timer(self, now: float) -> None:
        """Send again what timed out."""
        while (message := self._timeouts.next_due(now)) is not None:
            self.send_again(message)

    @property
    def has_expiring(self) -> bool:
        """Whether unreliable messages wait that will not wait for ever."""
        if not self._was_attached or self.queued_events == 0:
            return False
        for channel in self._channels.expiring:
            if channel.waiting:
                return True
        return self._detached_at is not None

    def expire(self, now: float) -> None:
        """Drop unreliable messages that could not leave within their lifetime."""
        if not self._was_attached:
            return
        for channel in self._channels.expiring:
            while channel.waiting and self._is_expired(channel.waiting[0], now):
                self.finish(channel.waiting.popleft(), False)
        if self._detached_at is None:
            return
        for channel in self._channels.all():
            if (
                channel.delivery == SEQUENCED
                and channel.waiting
                and self._is_expired(channel.waiting[0], now)
            ):
                self.finish(channel.waiting.popleft(), False)
        if now - self._detached_at >= self._config.unreliable_lifetime_s:
            self._give_up_unreliable()

    def _is_expired(self, message: QueuedMessage, now: float) -> bool:
        return self._was_attached and now - message.queued_at > self._config.unreliable_lifetime_s

    def _give_up_unreliable(self) -> None:
        # Transfers that have begun go on later: the peer holds a part of them, and a place for the rest.
        resends = self._resends
        if resends is None:
            return
        for message in [message for message in resends if not message.is_reliable]:
            if not message.is_done:
                self.finish(message, False)
        left = [message for message in resends if not message.is_done]
        self._resends = deque(left) if left else None

    def discard(self) -> int:
        """Give up everything; how many events that were."""
        events = self.queued_events
        for channel in self._channels.all():
            for message in [*(channel.window or ()), *channel.waiting]:
                if not message.is_done:
                    self.finish(message, False)
            channel.waiting.clear()
            channel.is_active = channel.is_blocked = False
        self._active.clear()
        self._blocked = None
        self._resends = None
        self._timeouts.clear()
        self.redundancy.forget()
        return events
