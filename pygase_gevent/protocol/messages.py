"""One message on its way out, the line it stands in, and how many may wait."""

from __future__ import annotations

from collections import deque
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, QueueFullError
from pygase_gevent.protocol.fragments import OutgoingTransfer, TransferOwner
from pygase_gevent.protocol.frames import NO_NUMBER
from pygase_gevent.protocol.layout import EVENT, ORDERED, RELIABLE, UNRELIABLE

_UNRELIABLE: Final = 0
"""Lines that are no streams: this one has no numbers."""
_RETRIED: Final = 1
_LARGE_UNRELIABLE: Final = 2
_RELIABLE: Final = 3
_CALLS: Final = 4
_LARGE_RELIABLE: Final = 5
_LARGE_CALLS: Final = 6


class Channel:
    """Messages that share numbers, in order.

    Attributes:
        is_numbered: messages have numbers; those without are not heard of again.
        waiting: not sent yet. A sequenced channel holds at most one: the newest.
        window: sent and numbered, from the oldest that is not done; `None` before the first.
    """

    __slots__ = (
        "delivery",
        "is_active",
        "is_blocked",
        "is_numbered",
        "next_number",
        "stream",
        "waiting",
        "window",
    )

    def __init__(self, delivery: int, *, stream: int = 0, is_numbered: bool = True) -> None:
        self.delivery = delivery
        self.stream = stream
        self.is_numbered = is_numbered
        self.next_number = 0
        self.waiting: deque[QueuedMessage] = deque()
        self.window: deque[QueuedMessage] | None = None
        self.is_active = False
        self.is_blocked = False

    def add_to_window(self, message: QueuedMessage) -> None:
        """A message got its number and leaves."""
        window = self.window
        if window is None:
            window = self.window = deque()
        window.append(message)


class ChannelTable:
    """All lines of a session. Each comes into being with its first message: most games use few of them."""

    __slots__ = ("_max_streams", "_ordered", "_plain", "_sequenced", "_streams", "expiring")

    def __init__(self, config: Config) -> None:
        self._max_streams = config.max_streams
        self._plain: dict[int, Channel] | None = None
        self._streams: dict[tuple[int, str], Channel] | None = None
        self._sequenced = 0
        self._ordered = 0
        self.expiring: tuple[Channel, ...] = ()
        """Lines whose messages do not wait for ever."""

    def find(self, delivery: int, stream: str, kind: int, retries: int, is_large: bool) -> Channel:
        """The line for a message.

        Raises:
            ArgumentError: there are too many ordered or sequenced event types.
        """
        if delivery == RELIABLE:
            if kind == EVENT:
                return self._find_plain(_LARGE_RELIABLE if is_large else _RELIABLE)
            return self._find_plain(_LARGE_CALLS if is_large else _CALLS)
        if delivery == UNRELIABLE:
            if is_large:
                return self._find_plain(_LARGE_UNRELIABLE)
            return self._find_plain(_RETRIED if retries else _UNRELIABLE)
        streams = self._streams
        if streams is None:
            streams = self._streams = {}
        channel = streams.get((delivery, stream))
        if channel is None:
            number = self._ordered if delivery == ORDERED else self._sequenced
            if number >= self._max_streams:
                raise ArgumentError(
                    f"more than {number} event types are ordered or sequenced (Config.max_streams)"
                )
            if delivery == ORDERED:
                self._ordered = number + 1
            else:
                self._sequenced = number + 1
            channel = streams[delivery, stream] = Channel(delivery, stream=number)
        return channel

    def _find_plain(self, line: int) -> Channel:
        plain = self._plain
        if plain is None:
            plain = self._plain = {}
        channel = plain.get(line)
        if channel is None:
            delivery = UNRELIABLE if line <= _LARGE_UNRELIABLE else RELIABLE
            channel = plain[line] = Channel(delivery, is_numbered=line != _UNRELIABLE)
            if delivery == UNRELIABLE:
                self.expiring = tuple(plain[line] for line in sorted(plain) if line <= _LARGE_UNRELIABLE)
        return channel

    def all(self) -> list[Channel]:
        """Every line that was used, streams last."""
        plain, streams = self._plain, self._streams
        channels = [] if plain is None else [plain[line] for line in sorted(plain)]
        if streams is not None:
            channels += streams.values()
        return channels


class MessageOwner:
    """What a message reports to."""

    __slots__ = ()

    def arrived(self, message: QueuedMessage) -> None:
        """A packet with it, or all of its fragments, arrived."""

    def send_again(self, message: QueuedMessage) -> None:
        """It was lost, or timed out."""

    def suspect(self, message: QueuedMessage) -> None:
        """It may be lost."""


class QueuedMessage(TransferOwner):
    """A message from `send` until it is acknowledged or given up."""

    __slots__ = (
        "_sender",
        "body",
        "channel",
        "copies",
        "first_sent_at",
        "frame",
        "is_counted",
        "is_done",
        "is_resending",
        "kind",
        "number",
        "queued_at",
        "retries_left",
        "sent_at",
        "sent_count",
        "size_bytes",
        "token",
        "transfer",
    )

    def __init__(
        self,
        sender: MessageOwner,
        channel: Channel,
        body: bytes,
        kind: int,
        retries: int,
        token: object,
        now: float,
    ) -> None:
        self._sender = sender
        self.channel = channel
        self.body = body
        self.size_bytes = len(body)
        self.kind = kind
        self.retries_left = retries
        self.token = token
        self.queued_at = now
        self.sent_at = now
        self.first_sent_at = now
        self.sent_count = 0
        self.copies = 0
        self.number = NO_NUMBER
        self.frame = b""
        self.is_done = False
        self.is_resending = False
        self.is_counted = False
        self.transfer: OutgoingTransfer | None = None

    @property
    def is_reliable(self) -> bool:
        """Whether it must arrive while the session lives."""
        return self.channel.delivery >= RELIABLE

    def is_overtaken(self, newest_sent_at: float) -> bool:
        """Whether a newer one of its line had left when the packet of `newest_sent_at` did."""
        for other in self.channel.window or ():
            if other.number > self.number:
                return other.first_sent_at <= newest_sent_at
        return False

    def on_acked(self, now: float) -> None:
        if not self.is_done:
            self._sender.arrived(self)

    def on_lost(self, now: float) -> None:
        self.copies -= 1
        if not self.is_done and self.copies <= 0:
            self._sender.send_again(self)

    def on_suspected(self, now: float) -> None:
        if not self.is_done and self.channel.delivery >= RELIABLE:
            self._sender.suspect(self)

    def on_probe(self, now: float) -> None:
        if not self.is_done and (self.is_reliable or self.retries_left > 0):
            self._sender.send_again(self)

    def on_transfer_arrived(self, now: float) -> None:
        if not self.is_done:
            self._sender.arrived(self)


class QueueBounds:
    """How much waits to be sent or acknowledged. Calls and results are counted apart from events, so that
    an answer finds room when events do not.

    Attributes:
        events, event_bytes: events that wait.
    """

    __slots__ = ("_call_bytes", "_calls", "_config", "event_bytes", "events")

    def __init__(self, config: Config) -> None:
        self._config = config
        self.events = 0
        self.event_bytes = 0
        self._calls = 0
        self._call_bytes = 0

    def count_in(self, message: QueuedMessage) -> None:
        """A message is queued.

        Raises:
            QueueFullError: there is no room.
        """
        config = self._config
        if message.kind == EVENT:
            if self.events >= config.max_queued_events:
                raise QueueFullError(f"{self.events} events wait for the peer (Config.max_queued_events)")
            if self.event_bytes + message.size_bytes > config.max_queued_bytes:
                raise QueueFullError(f"{self.event_bytes} bytes wait for the peer (Config.max_queued_bytes)")
            self.events += 1
            self.event_bytes += message.size_bytes
        else:
            # Calls and results of both directions, and as many again that wait for their acknowledgement.
            if self._calls >= 4 * config.max_calls:
                raise QueueFullError(f"{self._calls} calls and results wait (Config.max_calls)")
            if self._call_bytes + message.size_bytes > config.max_queued_bytes:
                raise QueueFullError(f"{self._call_bytes} bytes of calls wait (Config.max_queued_bytes)")
            self._calls += 1
            self._call_bytes += message.size_bytes
        message.is_counted = True

    def replace(self, older: QueuedMessage, newer: QueuedMessage) -> None:
        """A newer message takes the place of an older one.

        Raises:
            QueueFullError: there is no room; the older one stays.
        """
        self.count_out(older)
        try:
            self.count_in(newer)
        except QueueFullError:
            self.count_in(older)
            raise

    def count_out(self, message: QueuedMessage) -> None:
        """A message is done, or will not be heard of again."""
        if not message.is_counted:
            return
        message.is_counted = False
        if message.kind == EVENT:
            self.events -= 1
            self.event_bytes -= message.size_bytes
        else:
            self._calls -= 1
            self._call_bytes -= message.size_bytes


class RetryTimeouts:
    """When messages with retries time out: never later than 1 s after they left."""

    __slots__ = ("_after_s", "_deadlines")

    def __init__(self, config: Config) -> None:
        self._after_s = config.max_probe_timeout_s
        self._deadlines: deque[tuple[float, QueuedMessage, int]] | None = None

    def message_sent(self, message: QueuedMessage, now: float) -> None:
        """A message left: its earlier timeouts count no more."""
        deadlines = self._deadlines
        if deadlines is None:
            deadlines = self._deadlines = deque()
        deadlines.append((now + self._after_s, message, message.sent_count))

    def next_timer(self) -> float | None:
        """When the next one times out."""
        return self._deadlines[0][0] if self._deadlines else None

    def next_due(self, now: float) -> QueuedMessage | None:
        """The next message that has timed out."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            _, message, sent_count = deadlines.popleft()
            if not message.is_done and message.sent_count == sent_count:
                return message
        return None

    def forget_done(self) -> None:
        """Messages at the head that are done need no timer."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][1].is_done:
            deadlines.popleft()

    def clear(self) -> None:
        """The connection is gone."""
        self._deadlines = None
