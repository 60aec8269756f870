"""Types of events as small numbers: a table per session and direction.

An encoded event begins with a list of three and the event's type. Once the peer acknowledged a packet that
told of a type, these bytes go as one: its number. What the floors above see is as it always was.
"""

from __future__ import annotations

from typing import Final

from pygase_gevent.codec import decode
from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError
from pygase_gevent.protocol.frames import MessageFrame
from pygase_gevent.protocol.layout import EVENT, NAME_NUMBERS, NAMED_EVENT, FrameType
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.telling import TableSender
from pygase_gevent.shortforms import first_text, head_for, head_of, type_in

_MAX_SHARED: Final = 64
_MAX_SHARED_BYTES: Final = 1024
"""Few and short sequences of types are shared, for they stay when those are gone who told of them."""
_known: dict[tuple[int, tuple[bytes, ...]], tuple[tuple[bytes, ...], tuple[str, ...]]] = {}


class EventNamesSender:
    """Learns the types of events that recur, and finds their numbers.

    Attributes:
        table: tells the peer of them.
    """

    def __init__(self, config: Config) -> None:
        self._max_entries = config.max_learned_names
        self._learned_after = config.learned_after
        self._max_candidates = config.max_name_candidates
        self._entries: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._counts: dict[bytes, int] = {}
        self.table = TableSender(FrameType.EVENT_NAMES)

    def shortened(self, body: bytes) -> bytes:
        """An encoded event with the number of its type; empty if it has none that the peer knows."""
        head = head_of(body)
        if not head:
            return b""
        number = self._numbers.get(head, -1)
        if number < 0:
            self._count(head)
        elif number < self.table.acknowledged:
            return bytes((number,)) + body[len(head) :]
        return b""

    def fill(self, packet: PacketBuilder) -> None:
        """Tell of types that are due."""
        self.table.fill(packet)

    def _count(self, head: bytes) -> None:
        if len(self._entries) >= self._max_entries:
            return
        counts = self._counts
        count = counts.get(head, 0) + 1
        if count < self._learned_after:
            if len(counts) >= self._max_candidates and head not in counts:
                counts.clear()
            counts[head] = count
            return
        counts.pop(head, None)
        self._numbers[head] = len(self._entries)
        self._entries.append(type_in(head))
        self.table.use(self._entries)


class KnownEventNames:
    """The types that the peer told of.

    Peers that told of the same share what is kept of it: a game's clients know the same few types.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._max_type_bytes = config.max_event_type_bytes
        self._heads: tuple[bytes, ...] = ()
        self._types: tuple[str, ...] = ()

    def receive(self, first: int, data: bytes) -> bool:
        """Take types from the number `first` on; those that are known already are passed over.

        Returns:
            False where they are none, or leave a gap.
        """
        known = self._heads
        if first > len(known):
            return False
        try:
            names = decode(data, config=self._config, max_items=NAME_NUMBERS)
        except DecodeError:
            return False
        if type(names) is not list or first + len(names) > NAME_NUMBERS:
            return False
        new: list[bytes] = []
        for name in names[len(known) - first :]:
            if type(name) is not bytes or len(name) > 255:
                return False
            new.append(head_for(name))
        heads = (*known, *new)
        types = (*self._types, *map(self._text_of, new))
        if sum(map(len, heads)) <= _MAX_SHARED_BYTES:
            if len(_known) >= _MAX_SHARED:
                _known.clear()
            heads, types = _known.setdefault((self._max_type_bytes, heads), (heads, types))
        self._heads, self._types = heads, types
        return True

    def restore(self, frames: list[MessageFrame]) -> bool:
        """Put the types of messages back where their numbers stand; False if one is not known."""
        for frame in frames:
            if frame.kind == NAMED_EVENT:
                body = self.restored(frame.body[0], frame.body[1:])
                if not body:
                    return False
                frame.body = body
                frame.kind = EVENT
        return True

    def restored(self, number: int, rest: bytes) -> bytes:
        """An encoded event, given the number of its type and the rest; empty if the number is not known."""
        heads = self._heads
        return heads[number] + rest if number < len(heads) else b""

    def type_of(self, number: int) -> str:
        """The event type of a number that is known; empty if it is none that an event may have."""
        return self._types[number]

    def _text_of(self, head: bytes) -> str:
        try:
            return first_text(head, 3, self._max_type_bytes)
        except DecodeError:
            return ""
