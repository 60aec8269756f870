"""Messages on their way in: each at most once, in order where that was promised, and never more than fit.

Room is checked first. If the events of a payload do not fit none of them is taken, and the payload
goes unacknowledged, so the sender repeats them later. Two things are taken all the same, because others
wait for them: calls and results (a handler may be waiting for a result in the very inbox that is full),
and, where the inbox has room and only that for reordering or reassembly is short or the peer's window is
larger, the message that a line waits for and the fragments that have a place.
"""

from __future__ import annotations

from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.protocol.fragments import Reassembly
from pygase_gevent.protocol.frames import NO_NUMBER, MessageFrame
from pygase_gevent.protocol.layout import CALL, EVENT, ORDERED, RELIABLE, SEQUENCED, UNRELIABLE, MessageKind
from pygase_gevent.protocol.numbers import AHEAD_16, ReceivedNumbers, expand
from pygase_gevent.protocol.stats import DropReason, SessionStats

MESSAGE_OVERHEAD_BYTES: Final = 64
"""What a kept message is counted with besides its bytes, so that empty ones are bounded too."""


class ReceivedMessage:
    """A message for the application.

    Attributes:
        kind: what it is.
        body: its bytes.
        event_type: of an event, where it is known without a look into the body; else empty.
    """

    __slots__ = ("body", "event_type", "kind")

    def __init__(self, kind: MessageKind, body: bytes, event_type: str) -> None:
        self.kind = kind
        self.body = body
        self.event_type = event_type


class EventSink:
    """Takes events where they arrive, so that they need not wait in the inbox."""

    def take_event(self, body: bytes, event_type: str) -> bool:
        """Take an event of a known type, without waiting; False for one that is to wait."""
        raise NotImplementedError


class _OrderedStream:
    """The next sequence of an ordered stream, and what came too early: sequence -> (kind, body)."""

    __slots__ = ("early", "expected")

    def __init__(self) -> None:
        self.expected = 0
        self.early: dict[int, tuple[int, bytes]] = {}


_KINDS: Final = (MessageKind.EVENT, MessageKind.CALL, MessageKind.RESULT)

_RETRIED: Final = 0
"""Whose numbers: those of unreliable messages may skip some."""
_LARGE_UNRELIABLE: Final = 1
_RELIABLE: Final = 2
_CALLS: Final = 3
_LARGE_RELIABLE: Final = 4
_LARGE_CALLS: Final = 5

_Key = tuple[int, bool, int, int]


class Inbox:
    """Takes message frames and hands out messages.

    Attributes:
        has_calls: whether a call or result waits.
        reorder_bytes: bytes of ordered messages that wait for an earlier one.
    """

    __slots__ = (
        "_call_bytes",
        "_calls",
        "_config",
        "_early_events",
        "_event_bytes",
        "_events",
        "_max_calls",
        "_numbers",
        "_ordered",
        "_reassemblies",
        "_results",
        "_sequenced",
        "_stats",
        "has_calls",
        "reorder_bytes",
    )

    def __init__(self, config: Config, stats: SessionStats) -> None:
        self._config = config
        self._stats = stats
        self.has_calls = False
        # Lists, since an empty deque has 760 bytes; what waits is nearly always taken at once.
        self._events: list[ReceivedMessage] = []
        self._calls: list[ReceivedMessage] = []
        self._results: list[ReceivedMessage] = []
        self._max_calls = 2 * config.max_calls
        self._event_bytes = 0
        self._call_bytes = 0
        self._numbers: list[ReceivedNumbers | None] = [None] * 6  # each with its first message
        self._ordered: dict[int, _OrderedStream] = {}
        self._sequenced: dict[int, int] = {}
        self._reassemblies: dict[_Key, Reassembly] = {}
        self.reorder_bytes = 0
        self._early_events = 0

    # --- handing out ----------------------------------------------------------------------------

    @property
    def has_events(self) -> bool:
        """Whether an event waits."""
        return bool(self._events)

    def next_event(self) -> ReceivedMessage | None:
        """The next event, oldest first."""
        events = self._events
        if not events:
            return None
        if len(events) == 1:  # compiled, a third of what `del` costs
            message = events.pop()
        else:
            message = events[0]
            del events[0]
        self._event_bytes -= len(message.body) + MESSAGE_OVERHEAD_BYTES
        return message

    def next_call(self) -> ReceivedMessage | None:
        """The next result, or else the next call."""
        waiting = self._results or self._calls
        if not waiting:
            return None
        message = waiting.pop(0)
        self._call_bytes -= len(message.body)
        self.has_calls = bool(self._calls) or bool(self._results)
        return message

    # --- taking ---------------------------------------------------------------------------------

    def receive(self, frames: list[MessageFrame], now: float) -> bool:
        """Take the messages of a payload; False if not all were, so that it must not be acknowledged."""
        if len(frames) == 1 and self._take_simple(frames[0]):
            return True
        fits = self._has_room(frames)
        if fits:
            for frame in frames:
                if not self._take(frame, now):
                    fits = False
            return fits
        has_event_room = self._has_event_room(len(frames), self._size_of(frames))
        if not has_event_room:
            for reassembly in self._reassemblies.values():
                reassembly.updated_at = now  # what is refused here is not its sender's silence
        for frame in frames:
            if frame.kind != EVENT or (has_event_room and self._makes_room(frame)):
                self._take(frame, now)
        return False

    def _take_simple(self, frame: MessageFrame) -> bool:
        """Take an event that has no number, the most frequent of all; False if it is something else."""
        return frame.delivery == UNRELIABLE and frame.number == NO_NUMBER and self.take_event(frame.body, "")

    def take_event(self, body: bytes, event_type: str) -> bool:
        """Take an event that has no number, if there is room; its type, if that is known."""
        size_bytes = len(body) + MESSAGE_OVERHEAD_BYTES
        has_room = self._has_event_room(1, size_bytes)
        if has_room:
            self._stats.messages_received += 1
            self._events.append(ReceivedMessage(_KINDS[EVENT], body, event_type))
            self._event_bytes += size_bytes
        return has_room

    def _makes_room(self, frame: MessageFrame) -> bool:
        """Whether others wait for this frame: what a line waits for, or a fragment that has a place."""
        if frame.delivery == ORDERED and not self._is_head(frame):
            return False
        if not frame.parts:
            return frame.delivery == ORDERED or (frame.delivery == RELIABLE and self._is_first_missing(frame))
        return self._has_transfer_room(frame, set())

    def _has_event_room(self, events: int, size_bytes: int) -> bool:
        # An empty inbox takes any payload, or a limit below a payload's events would stop everything.
        waiting = len(self._events)
        return waiting == 0 or (
            waiting + events <= self._config.max_received_events
            and self._event_bytes + size_bytes <= self._config.max_received_bytes
        )

    def _size_of(self, frames: list[MessageFrame]) -> int:
        """Bytes that the events of a payload add to those that wait."""
        size_bytes = 0
        for frame in frames:
            if frame.kind == EVENT:
                size_bytes += MESSAGE_OVERHEAD_BYTES
                size_bytes += self._completed_bytes(frame) if frame.parts else len(frame.body)
        return size_bytes

    def _completed_bytes(self, frame: MessageFrame) -> int:
        """What a fragment adds: the whole message if it is the last one missing."""
        key = self._key(frame)
        reassembly = None if key is None else self._reassemblies.get(key)
        return frame.total_bytes if reassembly is not None and reassembly.missing == 1 else 0

    def _has_room(self, frames: list[MessageFrame]) -> bool:
        """Whether all events of a payload fit, and nothing in it breaks a limit."""
        events = 0
        early_bytes = 0
        early_events = 0
        starting: set[_Key] | None = None
        heads: dict[int, int] | None = None
        for frame in frames:
            if frame.kind == EVENT:
                events += 1
            delivery = frame.delivery
            if delivery & 1 and frame.stream >= self._config.max_streams:
                self._stats.drops[DropReason.BAD_STREAM] += 1
                return False
            if delivery >= RELIABLE and self._is_beyond(frame):
                self._stats.drops[DropReason.OUTSIDE_WINDOW] += 1
                return False
            if frame.parts and frame.kind == EVENT:
                if starting is None:
                    starting = set()
                if not self._has_transfer_room(frame, starting):
                    self._stats.drops[DropReason.TRANSFER_LIMIT] += 1
                    return False
            if delivery == ORDERED:
                if heads is None:
                    heads = {}
                if self._is_early(frame, heads):
                    early_events += 1
                    early_bytes += len(frame.body) + MESSAGE_OVERHEAD_BYTES
        if events and not self._has_event_room(events, self._size_of(frames)):
            self._stats.drops[DropReason.INBOX_FULL] += 1
            return False
        if early_events and (
            self.reorder_bytes + early_bytes > self._config.max_reorder_bytes
            or len(self._events) + self._early_events + early_events > self._config.max_received_events
        ):
            self._stats.drops[DropReason.REORDER_LIMIT] += 1
            return False
        return True

    def _is_early(self, frame: MessageFrame, heads: dict[int, int]) -> bool:
        """Whether a frame must be kept, given the heads of lines as the frames before it leave them."""
        stream = self._ordered.get(frame.stream)
        expected = heads.get(frame.stream, stream.expected if stream is not None else 0)
        distance = frame.number - expected & 0xFFFF
        if distance == 0 and not frame.parts:
            heads[frame.stream] = expected + 1
        return 0 < distance < AHEAD_16

    def _is_beyond(self, frame: MessageFrame) -> bool:
        """Whether a frame's number lies beyond the window: the peer's is larger than this side's."""
        if frame.delivery == RELIABLE:
            numbers = self._numbers_of(frame, frame.parts > 0)
            return numbers.is_beyond(numbers.expand(frame.number))
        stream = self._ordered.get(frame.stream)
        distance = frame.number - (stream.expected if stream is not None else 0) & 0xFFFF
        return self._config.reliable_window <= distance < AHEAD_16

    def _is_first_missing(self, frame: MessageFrame) -> bool:
        numbers = self._numbers_at(_RELIABLE)
        return numbers.is_first_missing(numbers.expand(frame.number))

    def _is_head(self, frame: MessageFrame) -> bool:
        stream = self._ordered.get(frame.stream)
        return frame.number == (stream.expected & 0xFFFF if stream is not None else 0)

    def _take(self, frame: MessageFrame, now: float) -> bool:
        """Take one frame; False if it was not taken and must come again."""
        if frame.parts:
            return self._take_fragment(frame, now)
        return self._take_message(
            frame.delivery, frame.kind, frame.stream, frame.number, frame.body, self._numbers_of(frame, False)
        )

    def _numbers_of(self, frame: MessageFrame, is_large: bool) -> ReceivedNumbers:
        if frame.delivery == UNRELIABLE:
            return self._numbers_at(_LARGE_UNRELIABLE if is_large else _RETRIED)
        if frame.kind == EVENT:
            return self._numbers_at(_LARGE_RELIABLE if is_large else _RELIABLE)
        return self._numbers_at(_LARGE_CALLS if is_large else _CALLS)

    def _numbers_at(self, line: int) -> ReceivedNumbers:
        numbers = self._numbers[line]
        if numbers is None:
            numbers = ReceivedNumbers(self._config.reliable_window, may_skip=line <= _LARGE_UNRELIABLE)
            self._numbers[line] = numbers
        return numbers

    def _take_message(
        self, delivery: int, kind: int, stream: int, number: int, body: bytes, numbers: ReceivedNumbers
    ) -> bool:
        if delivery == ORDERED:
            return self._take_ordered(kind, stream, number, body)
        if delivery == SEQUENCED:
            newest = self._sequenced.get(stream, -1)
            sequence = expand(number, newest, 32)
            if sequence <= newest:
                self._stats.drops[DropReason.STALE_MESSAGE] += 1
                return True
            if not self._has_call_room(kind, len(body)):
                return False
            self._sequenced[stream] = sequence
            if self._reassemblies:
                self._drop_stale(stream, sequence)
        elif number != NO_NUMBER:
            full = numbers.expand(number)
            if numbers.is_received(full):
                self._stats.drops[DropReason.DUPLICATE_MESSAGE] += 1
                return True
            if numbers.is_beyond(full):
                self._stats.drops[DropReason.OUTSIDE_WINDOW] += 1
                return False
            if not self._has_call_room(kind, len(body)):
                return False
            numbers.record(full)
        self._deliver(kind, body)
        return True

    def _drop_stale(self, stream: int, newest: int) -> None:
        """Sequenced transfers that a newer message overtook will never be wanted."""
        for key in [key for key in self._reassemblies if key[0] == SEQUENCED and key[2] == stream]:
            if key[3] <= newest:
                del self._reassemblies[key]
                self._stats.drops[DropReason.STALE_MESSAGE] += 1

    def _take_ordered(self, kind: int, number: int, truncated: int, body: bytes) -> bool:
        stream = self._ordered.get(number)
        if stream is None:
            stream = self._ordered[number] = _OrderedStream()
        sequence = expand(truncated, stream.expected - 1, 16)
        if sequence < stream.expected or sequence in stream.early:
            self._stats.drops[DropReason.DUPLICATE_MESSAGE] += 1
            return True
        if sequence >= stream.expected + self._config.reliable_window:
            self._stats.drops[DropReason.OUTSIDE_WINDOW] += 1
            return False
        if sequence > stream.expected:
            stream.early[sequence] = (kind, body)
            self.reorder_bytes += len(body) + MESSAGE_OVERHEAD_BYTES
            self._early_events += 1
            return True
        self._deliver(kind, body)
        stream.expected += 1
        while stream.early and (early := stream.early.pop(stream.expected, None)) is not None:
            self.reorder_bytes -= len(early[1]) + MESSAGE_OVERHEAD_BYTES
            self._early_events -= 1
            stream.expected += 1
            self._deliver(*early)
        return True

    def _has_call_room(self, kind: int, size_bytes: int) -> bool:
        """Calls and results have bounds of their own; an honest peer keeps them by itself."""
        if kind == EVENT:
            return True
        waiting = self._calls if kind == CALL else self._results
        if not waiting or (
            len(waiting) < self._max_calls
            and self._call_bytes + size_bytes <= self._config.max_received_bytes
        ):
            return True
        self._stats.drops[DropReason.INBOX_FULL] += 1
        return False

    def _deliver(self, kind: int, body: bytes) -> None:
        self._stats.messages_received += 1
        message = ReceivedMessage(_KINDS[kind], body, "")
        if kind == EVENT:
            self._events.append(message)
            self._event_bytes += len(body) + MESSAGE_OVERHEAD_BYTES
            return
        self._call_bytes += len(body)
        self.has_calls = True
        if kind == CALL:
            self._calls.append(message)
        else:
            self._results.append(message)

    # --- fragments ------------------------------------------------------------------------------

    def _key(self, frame: MessageFrame) -> _Key | None:
        """Which transfer a fragment belongs to; None if that has arrived already."""
        is_call = frame.kind != EVENT
        if frame.delivery == ORDERED:
            stream = self._ordered.get(frame.stream)
            expected = stream.expected if stream is not None else 0
            sequence = expand(frame.number, expected - 1, 16)
            if sequence < expected or (stream is not None and sequence in stream.early):
                return None
            return frame.delivery, is_call, frame.stream, sequence
        if frame.delivery == SEQUENCED:
            newest = self._sequenced.get(frame.stream, -1)
            sequence = expand(frame.number, newest, 32)
            return None if sequence <= newest else (frame.delivery, is_call, frame.stream, sequence)
        numbers = self._numbers_of(frame, True)
        full = numbers.expand(frame.number)
        return None if numbers.is_received(full) else (frame.delivery, is_call, 0, full)

    def _has_transfer_room(self, frame: MessageFrame, starting: set[_Key]) -> bool:
        key = self._key(frame)
        if key is None or key in self._reassemblies or key in starting:
            return True
        starting.add(key)
        if frame.delivery == ORDERED and not self._is_head(frame):
            # One place is kept for the head of a line, which all that came early waits for.
            early = sum(1 for other in self._reassemblies if self._is_early_transfer(other))
            if early + len(starting) >= self._config.max_transfers:
                return False
        return self._count_transfers(False) + len(starting) <= self._config.max_transfers

    def _is_early_transfer(self, key: _Key) -> bool:
        stream = self._ordered.get(key[2])
        return key[0] == ORDERED and key[3] != (stream.expected if stream is not None else 0)

    def _count_transfers(self, is_call: bool) -> int:
        return sum(1 for key in self._reassemblies if key[1] == is_call)

    def _take_fragment(self, frame: MessageFrame, now: float) -> bool:
        key = self._key(frame)
        if key is None:
            self._stats.drops[DropReason.DUPLICATE_MESSAGE] += 1
            return True
        if frame.total_bytes > self._config.max_event_bytes:
            self._stats.drops[DropReason.BAD_FRAGMENT] += 1
            return False
        reassembly = self._reassemblies.get(key)
        if reassembly is None:
            if key[1] and self._count_transfers(True) >= self._config.max_transfers:
                self._stats.drops[DropReason.TRANSFER_LIMIT] += 1
                return False
            reassembly = self._reassemblies[key] = Reassembly(frame.parts, frame.total_bytes, now)
        elif reassembly.count != frame.parts or reassembly.total_bytes != frame.total_bytes:
            self._stats.drops[DropReason.BAD_FRAGMENT] += 1
            return False
        if reassembly.has(frame.part):
            self._stats.drops[DropReason.DUPLICATE_MESSAGE] += 1
            return True
        if reassembly.missing == 1 and not self._has_call_room(frame.kind, frame.total_bytes):
            return False
        body = reassembly.add(frame.part, frame.body, now)
        if body is None:
            return True
        del self._reassemblies[key]
        return self._take_message(
            frame.delivery, frame.kind, frame.stream, frame.number, body, self._numbers_of(frame, True)
        )

    @property
    def has_transfers(self) -> bool:
        """Whether anything is being put together."""
        return bool(self._reassemblies)

    def attach(self, now: float) -> None:
        """A connection stands: the time without one does not count."""
        for reassembly in self._reassemblies.values():
            reassembly.updated_at = now

    def expire(self, now: float) -> None:
        """Drop unreliable transfers without a new fragment for `config.transfer_timeout_s`.

        Reliable ones stay: their acknowledged fragments will not come again. They are bounded by their
        number and size, and end with the session.
        """
        limit = now - self._config.transfer_timeout_s
        idle = [
            key
            for key, reassembly in self._reassemblies.items()
            if key[0] < RELIABLE and reassembly.updated_at < limit
        ]
        for key in idle:
            del self._reassemblies[key]
            self._stats.drops[DropReason.TRANSFER_TIMED_OUT] += 1
