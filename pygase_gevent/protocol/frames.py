"""What stands inside a netcode payload: a header, then frames. The only parser of it.

PROTOCOL.md, "Layer 2", says every byte; `tests/vectors/frames.json` holds examples. Parsing checks
form only: whether an acknowledgement or a message makes sense is for the session to judge. A payload
with one bad frame is bad as a whole.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from pygase_gevent.errors import DecodeError
from pygase_gevent.protocol.layout import (
    CLOCK_ANSWER_LAYOUT,
    CLOCK_REQUEST_LAYOUT,
    FLAG_ACK,
    FLAG_FRAGMENT,
    FLAG_HAS_ID,
    FLAG_LONG,
    FRAGMENT_LAYOUT,
    HEADER_16_LAYOUT,
    HEADER_32_LAYOUT,
    HEADER_64_LAYOUT,
    MASK_ONES,
    MASK_ONES_ABOVE_16,
    MASK_ONES_ABOVE_32,
    NAMED_EVENT,
    NAMES_LAYOUT,
    ORDERED,
    RELIABLE,
    SEQUENCED,
    STATE_DELTA_LAYOUT,
    STATE_FRAGMENT_LAYOUT,
    STATE_FULL_LAYOUT,
    STATE_STEP_LAYOUT,
    STREAM_U16_LAYOUT,
    STREAM_U32_LAYOUT,
    TICKET_LAYOUT,
    U32_LAYOUT,
    U64_LAYOUT,
    FrameType,
)
from pygase_gevent.protocol.netcode.packet import MAX_PAYLOAD_BYTES

MAX_HEADER_BYTES: Final = 13
MAX_BLOB_BYTES: Final = 255
"""Largest welcome: its length is one byte."""
MAX_CLOSE_TEXT_BYTES: Final = 200
MAX_TICKET_BYTES: Final = MAX_PAYLOAD_BYTES - MAX_HEADER_BYTES - 7
"""A ticket travels in one frame."""
MAX_CHUNK_BYTES: Final = 1160
"""Largest fragment: 1200 bytes less the payload's header and the fragment's own (at most 15)."""
MIN_CHUNK_BYTES: Final = 256
"""Smallest fragment of several, so that a small datagram cannot announce a large table."""
MAX_INLINE_BYTES: Final = 1160
"""Largest message that travels in one frame; larger ones are cut into fragments."""
MAX_STATE_PART_BYTES: Final = 1140
"""Largest part of a state update: 1200 bytes less the header, a state acknowledgement and its own header."""

CLOSE_SHUT_DOWN_SERVER: Final = 1
"""Flag in a close frame: please shut the server down (obeyed if it comes from the host)."""
CLOSE_MAY_RESUME: Final = 2
"""Flag in a close frame: the server may come back; keep trying to resume."""

FULL: Final = -1
"""Stands for "no base" in a parsed state frame."""
NO_NUMBER: Final = -1
"""Number of a message that has none: unreliable, without retries."""

ACK_DELAY_UNIT_S: Final = 16e-6
"""One step of the acknowledgement delay: 13 bits of them are 131 ms."""
CLOCK_STEP_US: Final = 16
"""States' clocks are multiples of this: 16 bits of it are a little more than a second."""


_HEADER_SIZES: Final = bytes((5, 7, 9, 13))
"""By how many bits of the mask it has."""


class MessageFrame:
    """A message, or with `parts` > 0 a fragment of one.

    Attributes:
        delivery: `UNRELIABLE`, `SEQUENCED`, `RELIABLE` or `ORDERED`.
        kind: a `MessageKind` value, or `NAMED_EVENT`.
        stream: number of the stream of a sequenced or ordered message, else 0.
        number: id, or sequence in the stream, as truncated on the wire; `NO_NUMBER` if it has none.
        body: the message or the fragment.
        part, parts, total_bytes: place of a fragment; `parts` is 0 for a whole message.
    """

    __slots__ = ("body", "delivery", "kind", "number", "part", "parts", "stream", "total_bytes")

    def __init__(
        self,
        delivery: int,
        kind: int,
        stream: int,
        number: int,
        body: bytes,
        part: int,
        parts: int,
        total_bytes: int,
    ) -> None:
        self.delivery = delivery
        self.kind = kind
        self.stream = stream
        self.number = number
        self.body = body
        self.part = part
        self.parts = parts
        self.total_bytes = total_bytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MessageFrame) and self.fields() == other.fields()

    __hash__ = None  # type: ignore[assignment]

    def fields(self) -> tuple[int, int, int, int, bytes, int, int, int]:
        """All of it, in the order of the arguments."""
        return (
            self.delivery,
            self.kind,
            self.stream,
            self.number,
            self.body,
            self.part,
            self.parts,
            self.total_bytes,
        )


class StateFrame(NamedTuple):
    """A part of a state update. `distance` is how far `base` lies behind `newest`, or `FULL`.

    `newest` is 64 bits wide where `distance` is `FULL`, else 32. `clock_us` stands in part 0 only.
    """

    newest: int
    distance: int
    part: int
    parts: int
    clock_us: int
    data: bytes


class StateStepFrame(NamedTuple):
    """A whole update on a base not far behind; it runs to the end of its payload.

    Attributes:
        newest: 24 bits of the state that it leads to.
        distance: how far the base lies behind it, up to 255.
        clock_steps: how far its clock lies behind, in `CLOCK_STEP_US`.
        data: the update.
    """

    newest: int
    distance: int
    clock_steps: int
    data: bytes


class StateFragmentFrame(NamedTuple):
    """A fragment of a state transfer."""

    transfer: int
    part: int
    parts: int
    total_bytes: int
    data: bytes


class ClockAnswerFrame(NamedTuple):
    """The server's clock when the request came, and how long the answer waited for its packet."""

    number: int
    clock_us: int
    hold_us: int


class CloseFrame(NamedTuple):
    """The end, with its reason."""

    code: int
    text: str
    flags: int


class Payload:
    """A parsed payload. `ack_largest` is -1 without an acknowledgement, else 24 bits wide."""

    __slots__ = (
        "ack_delay_s",
        "ack_largest",
        "ack_mask",
        "clock_answer",
        "clock_request",
        "close",
        "event_names",
        "has_named",
        "has_others",
        "is_ack_eliciting",
        "messages",
        "state_ack",
        "state_fragments",
        "state_names",
        "state_step",
        "states",
        "tickets",
        "welcome",
    )

    def __init__(self) -> None:
        self.ack_largest = -1
        self.ack_mask = 0
        self.ack_delay_s = 0.0
        self.is_ack_eliciting = False
        self.has_named = False
        self.has_others = False
        self.welcome: bytes | None = None
        self.close: CloseFrame | None = None
        self.clock_request = -1
        self.clock_answer: ClockAnswerFrame | None = None
        self.state_ack = -1
        self.tickets: tuple[tuple[int, bytes], ...] = ()
        self.event_names: tuple[int, bytes] | None = None
        self.state_names: tuple[int, bytes] | None = None
        self.state_step: StateStepFrame | None = None
        self.states: tuple[StateFrame, ...] = ()
        self.state_fragments: tuple[StateFragmentFrame, ...] = ()
        self.messages: list[MessageFrame] = []


def parse_payload(payload: bytes, *, max_frames: int) -> Payload | None:
    """Parse a payload; `None` if its form is bad anywhere."""
    try:
        return _parse(payload, max_frames)
    except (DecodeError, struct.error, IndexError, UnicodeDecodeError):
        return None


def peek(payload: bytes) -> tuple[bytes | None, tuple[int, str, int] | None]:
    """The welcome blob and the close frame's (code, text, flags) of a payload, as far as it has them.

    Reads only the first two frames, which is where they stand. Never raises.
    """
    welcome: bytes | None = None
    try:
        offset = _header_size(payload[0])
        if payload[offset : offset + 1] == b"\x03":
            size = payload[offset + 1]
            end = offset + 2 + size
            if end > len(payload):
                return None, None
            welcome = payload[offset + 2 : end]
            offset = end
        if payload[offset : offset + 1] == b"\x02":
            close, _ = _parse_close(payload, offset)
            return welcome, (close.code, close.text, close.flags)
    except (DecodeError, IndexError, UnicodeDecodeError):
        pass
    return welcome, None


# --- parsing ----------------------------------------------------------------------------------------


def _header_size(flags: int) -> int:
    if not flags & FLAG_ACK:
        if flags:
            raise DecodeError("header flags without an acknowledgement")
        return 1
    return _HEADER_SIZES[flags >> 1 & 3]


def _parse(payload: bytes, max_frames: int) -> Payload:
    size = len(payload)
    parsed = Payload()
    offset = _parse_header(payload, parsed)
    frames = 0
    while offset < size:
        frames += 1
        if frames > max_frames:
            raise DecodeError("too many frames")
        if payload[offset] & 0x80:
            offset = _parse_message(payload, offset, parsed)
        else:
            offset = _parse_control(payload, offset, parsed)
    if offset != size:
        raise DecodeError("a frame runs over the end")
    if parsed.messages:
        parsed.is_ack_eliciting = True
    return parsed


def _parse_header(payload: bytes, parsed: Payload) -> int:
    flags = payload[0]
    size = _header_size(flags)
    if size == 5:
        parsed.ack_largest = uint24(payload, 2)
        parsed.ack_mask = MASK_ONES
        parsed.ack_delay_s = ack_delay_s(flags, payload[1])
        return size
    if size == 7:
        _, delay, low, high, mask = HEADER_16_LAYOUT.unpack_from(payload)
        parsed.ack_mask = MASK_ONES_ABOVE_16 | mask
    elif size == 9:
        _, delay, low, high, mask = HEADER_32_LAYOUT.unpack_from(payload)
        parsed.ack_mask = MASK_ONES_ABOVE_32 | mask
    elif size == 13:
        _, delay, low, high, parsed.ack_mask = HEADER_64_LAYOUT.unpack_from(payload)
    else:
        return 1
    parsed.ack_largest = low | high << 16
    parsed.ack_delay_s = ack_delay_s(flags, delay)
    return size


def ack_delay_s(flags: int, high: int) -> float:
    """The delay of an acknowledgement: its lowest bits stand in the header's flags, the others after them."""
    return (flags >> 3 | high << 5) * ACK_DELAY_UNIT_S


def uint24(payload: bytes, offset: int) -> int:
    """The integer of 24 bits that stands there. Raises `IndexError` where the payload ends before."""
    return payload[offset] | payload[offset + 1] << 8 | payload[offset + 2] << 16


def _parse_message(payload: bytes, offset: int, parsed: Payload) -> int:
    flags = payload[offset]
    delivery = flags & 3
    kind = flags >> 2 & 3
    if kind == NAMED_EVENT:
        if flags & FLAG_FRAGMENT:
            raise DecodeError("a fragment of a named event")
        parsed.has_named = True
    elif kind and delivery != RELIABLE:
        raise DecodeError("a call that is not reliable")
    offset += 1
    stream = 0
    number = NO_NUMBER
    if delivery == RELIABLE:
        number = payload[offset] | payload[offset + 1] << 8
        offset += 2
        if flags & FLAG_HAS_ID:
            raise DecodeError("unknown message flags")
    elif delivery == ORDERED:
        stream, number = STREAM_U16_LAYOUT.unpack_from(payload, offset)
        offset += 4
        if flags & FLAG_HAS_ID:
            raise DecodeError("unknown message flags")
    elif delivery == SEQUENCED:
        stream, number = STREAM_U32_LAYOUT.unpack_from(payload, offset)
        offset += 6
        if flags & FLAG_HAS_ID:
            raise DecodeError("unknown message flags")
    elif flags & FLAG_HAS_ID:
        (number,) = U32_LAYOUT.unpack_from(payload, offset)
        offset += 4
    index = count = total_bytes = 0
    if flags & FLAG_FRAGMENT:
        if flags & FLAG_LONG or number < 0:
            raise DecodeError("bad fragment flags")
        index, count, total_bytes = FRAGMENT_LAYOUT.unpack_from(payload, offset)
        offset += 8
        length = fragment_size(index, count, total_bytes)
    elif flags & FLAG_LONG:
        length = payload[offset] | payload[offset + 1] << 8
        offset += 2
    else:
        length = payload[offset]
        offset += 1
    end = offset + length
    if end > len(payload):
        raise DecodeError("a message runs over the end")
    body = payload[offset:end]
    if kind == NAMED_EVENT and not body:
        raise DecodeError("a named event without its name")
    parsed.messages.append(MessageFrame(delivery, kind, stream, number, body, index, count, total_bytes))
    return end


def fragment_size(index: int, count: int, total_bytes: int) -> int:
    """Size of fragment `index` of `count`: all have `chunk_size`, but for the last, which has the rest.

    Raises:
        DecodeError: such a fragment cannot be.
    """
    if count < 1 or index >= count:
        raise DecodeError("bad fragment index")
    chunk = -(-total_bytes // count)
    last = total_bytes - chunk * (count - 1)
    if last <= 0 or chunk > MAX_CHUNK_BYTES or (chunk < MIN_CHUNK_BYTES and count > 1):
        raise DecodeError("bad fragment count")
    return last if index == count - 1 else chunk


def _parse_control(payload: bytes, offset: int, parsed: Payload) -> int:
    frame_type = payload[offset]
    parsed.has_others = True
    if frame_type == FrameType.STATE_ACK:
        parsed.state_ack = uint24(payload, offset + 1)
        return offset + 4
    if frame_type == FrameType.CLOSE:
        parsed.close, offset = _parse_close(payload, offset)
        return offset
    parsed.is_ack_eliciting = True
    if frame_type == FrameType.STATE_STEP:
        if parsed.states:
            raise DecodeError("two state updates")
        _, low, high, distance, steps = STATE_STEP_LAYOUT.unpack_from(payload, offset)
        parsed.state_step = StateStepFrame(low | high << 16, distance, steps, payload[offset + 7 :])
        return len(payload)
    if frame_type == FrameType.STATE_DELTA:
        _, newest, distance, index, count, length = STATE_DELTA_LAYOUT.unpack_from(payload, offset)
        return _parse_state(payload, offset + 11, newest, distance, index, count, length, parsed)
    if frame_type == FrameType.STATE_FULL:
        _, newest, index, count, length = STATE_FULL_LAYOUT.unpack_from(payload, offset)
        return _parse_state(payload, offset + 13, newest, FULL, index, count, length, parsed)
    if frame_type == FrameType.STATE_FRAGMENT:
        _, transfer, index, count, total_bytes = STATE_FRAGMENT_LAYOUT.unpack_from(payload, offset)
        if parsed.state_fragments and parsed.state_fragments[0].transfer != transfer:
            raise DecodeError("fragments of two state transfers")
        start = offset + 11
        end = start + fragment_size(index, count, total_bytes)
        data = _slice(payload, start, end)
        parsed.state_fragments += (StateFragmentFrame(transfer, index, count, total_bytes, data),)
        return end
    if frame_type == FrameType.CLOCK_ANSWER:
        _, number, clock_us, hold_us = CLOCK_ANSWER_LAYOUT.unpack_from(payload, offset)
        parsed.clock_answer = ClockAnswerFrame(number, clock_us, hold_us)
        return offset + 15
    if frame_type == FrameType.CLOCK_REQUEST:
        parsed.clock_request = CLOCK_REQUEST_LAYOUT.unpack_from(payload, offset)[1]
        return offset + 3
    if frame_type == FrameType.STATE_NAMES or frame_type == FrameType.EVENT_NAMES:
        return _parse_names(payload, offset, parsed)
    if frame_type == FrameType.PING:
        return offset + 1
    if frame_type == FrameType.WELCOME:
        end = offset + 2 + payload[offset + 1]
        parsed.welcome = _slice(payload, offset + 2, end)
        return end
    if frame_type == FrameType.TICKET:
        _, number, length = TICKET_LAYOUT.unpack_from(payload, offset)
        blob = _slice(payload, offset + 7, offset + 7 + length)
        parsed.tickets += ((number, blob),)
        return offset + 7 + len(blob)
    raise DecodeError("unknown frame type")


def _parse_names(payload: bytes, offset: int, parsed: Payload) -> int:
    frame_type, first, length = NAMES_LAYOUT.unpack_from(payload, offset)
    start = offset + 4
    end: int = start + length
    names = (first, _slice(payload, start, end))
    if frame_type == FrameType.STATE_NAMES:
        if parsed.state_names is not None:
            raise DecodeError("names twice")
        parsed.state_names = names
    else:
        if parsed.event_names is not None:
            raise DecodeError("names twice")
        parsed.event_names = names
    return end


def _parse_state(
    payload: bytes,
    start: int,
    newest: int,
    distance: int,
    index: int,
    count: int,
    length: int,
    parsed: Payload,
) -> int:
    if index >= count or (parsed.states and parsed.states[0].newest != newest):
        raise DecodeError("bad state part, or parts of two updates")
    clock_us = 0
    if index == 0:
        (clock_us,) = U64_LAYOUT.unpack_from(payload, start)
        start += 8
    end = start + length
    data = _slice(payload, start, end)
    parsed.states += (StateFrame(newest, distance, index, count, clock_us, data),)
    return end


def _parse_close(payload: bytes, offset: int) -> tuple[CloseFrame, int]:
    code, flags, length = payload[offset + 1], payload[offset + 2], payload[offset + 3]
    end = offset + 4 + length
    if length > MAX_CLOSE_TEXT_BYTES:
        raise DecodeError("close text too long")
    text = _slice(payload, offset + 4, end).decode("utf-8")
    return CloseFrame(code, text, flags), end


def _slice(payload: bytes, start: int, end: int) -> bytes:
    if end > len(payload):
        raise DecodeError("a frame runs over the end")
    return payload[start:end]
