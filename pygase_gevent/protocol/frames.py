"""What stands inside a netcode payload: a header, then frames. The only parser and writer of it.

PROTOCOL.md, "Layer 2", says every byte; `tests/vectors/frames.json` holds examples. Parsing checks
form only: whether an acknowledgement or a message makes sense is for the session to judge. A payload
with one bad frame is bad as a whole.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from pygase_gevent.errors import DecodeError
from pygase_gevent.event import Delivery

MAX_PAYLOAD_BYTES = 1200
"""Largest netcode payload (STANDARD.md)."""
MAX_HEADER_BYTES = 15
MAX_BLOB_BYTES = 255
"""Largest welcome: its length is one byte."""
MAX_CLOSE_TEXT_BYTES = 200
MAX_TICKET_BYTES = MAX_PAYLOAD_BYTES - MAX_HEADER_BYTES - 5
"""A ticket travels in one frame."""
MAX_FRAGMENTS = 65_535
MAX_CHUNK_BYTES = 1160
"""Largest fragment: 1200 bytes less the payload's header and the fragment's own (at most 15)."""
MAX_INLINE_BYTES = 1160
"""Largest message that travels in one frame; larger ones are cut into fragments."""
MAX_STATE_PART_BYTES = 1140
"""Largest part of a state update: 1200 bytes less the header, a state acknowledgement and its own header."""

CLOSE_SHUT_DOWN_SERVER = 1
"""Flag in a close frame: please shut the server down (obeyed if it comes from the host)."""
CLOSE_MAY_RESUME = 2
"""Flag in a close frame: the server may come back; keep trying to resume."""

FULL = -1
"""Stands for "no base" in a parsed state frame."""
NO_NUMBER = -1
"""Number of a message that has none: unreliable, without retries."""

ACK_DELAY_UNIT_S = 16e-6
"""One step of the acknowledgement delay: 16 bits of them are a little more than a second."""


class FrameType(enum.IntEnum):
    """First byte of a frame; from `MESSAGE` up the byte is a message's flags."""

    PING = 0x01
    CLOSE = 0x02
    WELCOME = 0x03
    TICKET = 0x04
    CLOCK_REQUEST = 0x05
    CLOCK_ANSWER = 0x06
    STATE_ACK = 0x07
    STATE_DELTA = 0x08
    STATE_FULL = 0x09
    STATE_FRAGMENT = 0x0A
    MESSAGE = 0x80


class MessageKind(enum.IntEnum):
    """What a message is to the receiver."""

    EVENT = 0
    CALL = 1
    RESULT = 2


# Delivery on the wire: plain ints, because a lookup of an enum member costs more than the comparison.
UNRELIABLE = 0
SEQUENCED = 1
RELIABLE = 2
ORDERED = 3

DELIVERY_CODES = {
    Delivery.UNRELIABLE: UNRELIABLE,
    Delivery.SEQUENCED: SEQUENCED,
    Delivery.RELIABLE: RELIABLE,
    Delivery.RELIABLE_ORDERED: ORDERED,
}


class MessageFrame(NamedTuple):
    """A message, or with `count` > 0 a fragment of one.

    Attributes:
        delivery: `UNRELIABLE`, `SEQUENCED`, `RELIABLE` or `ORDERED`.
        kind: a `MessageKind` value.
        stream: number of the stream of a sequenced or ordered message, else 0.
        number: id, or sequence in the stream, as truncated on the wire; `NO_NUMBER` if it has none.
        body: the message or the fragment.
        index, count, total_bytes: place of a fragment; `count` is 0 for a whole message.
    """

    delivery: int
    kind: int
    stream: int
    number: int
    body: bytes
    index: int
    count: int
    total_bytes: int


class StateFrame(NamedTuple):
    """A part of a state update. `distance` is how far `base` lies behind `newest`, or `FULL`.

    `newest` is 64 bits wide where `distance` is `FULL`, else 32. `clock_us` stands in part 0 only.
    """

    newest: int
    distance: int
    index: int
    count: int
    clock_us: int
    data: bytes


class StateFragmentFrame(NamedTuple):
    """A fragment of a state transfer."""

    transfer: int
    index: int
    count: int
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
    """A parsed payload. `ack_largest` is -1 without an acknowledgement, else 32 bits wide."""

    __slots__ = (
        "ack_delay_s",
        "ack_largest",
        "ack_mask",
        "clock_answer",
        "clock_request",
        "close",
        "is_ack_eliciting",
        "messages",
        "state_ack",
        "state_fragments",
        "states",
        "tickets",
        "welcome",
    )

    def __init__(self) -> None:
        self.ack_largest = -1
        self.ack_mask = 0
        self.ack_delay_s = 0.0
        self.is_ack_eliciting = False
        self.welcome: bytes | None = None
        self.close: CloseFrame | None = None
        self.clock_request = -1
        self.clock_answer: ClockAnswerFrame | None = None
        self.state_ack = -1
        self.tickets: list[tuple[int, bytes]] = []
        self.states: list[StateFrame] = []
        self.state_fragments: list[StateFragmentFrame] = []
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


# --- writing ----------------------------------------------------------------------------------------

_HEADER = struct.Struct(">BIH")
_HEADER_16 = struct.Struct(">BIHH")
_HEADER_32 = struct.Struct(">BIHI")
_HEADER_64 = struct.Struct(">BIHQ")
_U16_U16 = struct.Struct(">HH")
_TICKET = struct.Struct(">BHH")
_CLOCK_REQUEST = struct.Struct(">BH")
_CLOCK_ANSWER = struct.Struct(">BHQI")
_STATE_ACK = struct.Struct(">BI")
_STATE_DELTA = struct.Struct(">BIHBBH")
_STATE_FULL = struct.Struct(">BQBBH")
_STATE_FRAGMENT = struct.Struct(">BHHHI")
_U16 = struct.Struct(">H")
_U64 = struct.Struct(">Q")
_STREAM_U16 = struct.Struct(">HH")
_STREAM_U32 = struct.Struct(">HI")
_FRAGMENT = struct.Struct(">HHI")
_BYTE_BYTE = struct.Struct(">BB")
_BYTE_U16 = struct.Struct(">BH")
_ID_BYTE = struct.Struct(">BHB")
_ID_U16 = struct.Struct(">BHH")
_STREAM_U16_BYTE = struct.Struct(">BHHB")
_STREAM_U16_U16 = struct.Struct(">BHHH")
_STREAM_U32_BYTE = struct.Struct(">BHIB")
_STREAM_U32_U16 = struct.Struct(">BHIH")

_ONES_64 = 0xFFFF_FFFF_FFFF_FFFF
_ONES_ABOVE_16 = 0xFFFF_FFFF_FFFF_0000
_ONES_ABOVE_32 = 0xFFFF_FFFF_0000_0000

_FLAG_ACK = 0x01
_MASK_FORMS = 0x06

_FLAG_FRAGMENT = 0x10
_FLAG_HAS_ID = 0x20
_FLAG_LONG = 0x40


def encode_header(largest: int, mask: int, delay_s: float) -> bytes:
    """The header. `largest` is the largest received sequence, or -1 when nothing was received yet."""
    if largest < 0:
        return b"\x00"
    delay = int(delay_s / ACK_DELAY_UNIT_S)
    if delay > 0xFFFF:
        delay = 0xFFFF
    truncated = largest & 0xFFFF_FFFF
    if mask == _ONES_64:
        return _HEADER.pack(0x01, truncated, delay)
    if mask & _ONES_ABOVE_16 == _ONES_ABOVE_16:
        return _HEADER_16.pack(0x03, truncated, delay, mask & 0xFFFF)
    if mask & _ONES_ABOVE_32 == _ONES_ABOVE_32:
        return _HEADER_32.pack(0x05, truncated, delay, mask & 0xFFFF_FFFF)
    return _HEADER_64.pack(0x07, truncated, delay, mask)


def encode_message(delivery: int, kind: int, stream: int, number: int, body: bytes) -> bytes:
    """A whole message. `number` is truncated here; `NO_NUMBER` for an unreliable one without retries."""
    size = len(body)
    flags = 0x80 | delivery | kind << 2
    if delivery == RELIABLE or (delivery == UNRELIABLE and number >= 0):
        if delivery == UNRELIABLE:
            flags |= _FLAG_HAS_ID
        if size < 256:
            return _ID_BYTE.pack(flags, number & 0xFFFF, size) + body
        return _ID_U16.pack(flags | _FLAG_LONG, number & 0xFFFF, size) + body
    if delivery == UNRELIABLE:
        if size < 256:
            return _BYTE_BYTE.pack(flags, size) + body
        return _BYTE_U16.pack(flags | _FLAG_LONG, size) + body
    if delivery == ORDERED:
        if size < 256:
            return _STREAM_U16_BYTE.pack(flags, stream, number & 0xFFFF, size) + body
        return _STREAM_U16_U16.pack(flags | _FLAG_LONG, stream, number & 0xFFFF, size) + body
    if size < 256:
        return _STREAM_U32_BYTE.pack(flags, stream, number & 0xFFFF_FFFF, size) + body
    return _STREAM_U32_U16.pack(flags | _FLAG_LONG, stream, number & 0xFFFF_FFFF, size) + body


def encode_fragment_prefix(delivery: int, kind: int, stream: int, number: int) -> bytes:
    """What all fragments of a message begin with."""
    flags = 0x80 | delivery | kind << 2 | _FLAG_FRAGMENT
    if delivery == UNRELIABLE:
        return _BYTE_U16.pack(flags | _FLAG_HAS_ID, number & 0xFFFF)
    if delivery == RELIABLE:
        return _BYTE_U16.pack(flags, number & 0xFFFF)
    if delivery == ORDERED:
        return bytes((flags,)) + _STREAM_U16.pack(stream, number & 0xFFFF)
    return bytes((flags,)) + _STREAM_U32.pack(stream, number & 0xFFFF_FFFF)


def encode_fragment(prefix: bytes, index: int, count: int, total_bytes: int, data: bytes) -> bytes:
    """One fragment behind its message's prefix."""
    return prefix + _FRAGMENT.pack(index, count, total_bytes) + data


def encode_state_fragment(transfer: int, index: int, count: int, total_bytes: int, data: bytes) -> bytes:
    """One fragment of a state transfer."""
    head = _STATE_FRAGMENT.pack(FrameType.STATE_FRAGMENT, transfer & 0xFFFF, index, count, total_bytes)
    return head + data


def encode_state_part(newest: int, distance: int, index: int, count: int, clock_us: int, data: bytes) -> bytes:
    """A part of a state update; `distance` is `FULL` or at most 65535."""
    if distance == FULL:
        head = _STATE_FULL.pack(FrameType.STATE_FULL, newest, index, count, len(data))
    else:
        truncated = newest & 0xFFFF_FFFF
        head = _STATE_DELTA.pack(FrameType.STATE_DELTA, truncated, distance, index, count, len(data))
    if index == 0:
        return head + _U64.pack(clock_us) + data
    return head + data


def encode_state_ack(newest: int) -> bytes:
    """The newest state that was applied."""
    return _STATE_ACK.pack(FrameType.STATE_ACK, newest & 0xFFFF_FFFF)


def encode_ticket(number: int, blob: bytes) -> bytes:
    """A ticket."""
    return _TICKET.pack(FrameType.TICKET, number & 0xFFFF, len(blob)) + blob


def encode_welcome(blob: bytes) -> bytes:
    """A welcome."""
    return _BYTE_BYTE.pack(FrameType.WELCOME, len(blob)) + blob


def encode_clock_request(number: int) -> bytes:
    """A question for the server's clock."""
    return _CLOCK_REQUEST.pack(FrameType.CLOCK_REQUEST, number & 0xFFFF)


def encode_clock_answer(number: int, clock_us: int, hold_us: int) -> bytes:
    """The answer to it."""
    hold_us = min(hold_us, 0xFFFF_FFFF)
    return _CLOCK_ANSWER.pack(FrameType.CLOCK_ANSWER, number & 0xFFFF, clock_us & _ONES_64, hold_us)


def encode_close(code: int, text: str, flags: int) -> bytes:
    """The close frame (frozen). The text is cut to 200 bytes of UTF-8, between characters."""
    data = text.encode("utf-8", "replace")[:MAX_CLOSE_TEXT_BYTES].decode("utf-8", "ignore").encode()
    return bytes((FrameType.CLOSE, code, flags, len(data))) + data


def encode_close_payload(code: int, text: str, flags: int = 0) -> bytes:
    """A payload with nothing but the close frame (frozen as a whole): for a peer without a session."""
    return b"\x00" + encode_close(code, text, flags)


# --- parsing ----------------------------------------------------------------------------------------


def _header_size(flags: int) -> int:
    if flags & 0xF8:
        raise DecodeError("unknown header flags")
    if not flags & _FLAG_ACK:
        if flags:
            raise DecodeError("a mask without an acknowledgement")
        return 1
    return (7, 9, 11, 15)[flags >> 1]


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
    if size == 7:
        _, parsed.ack_largest, delay = _HEADER.unpack_from(payload)
        parsed.ack_mask = _ONES_64
    elif size == 9:
        _, parsed.ack_largest, delay, mask = _HEADER_16.unpack_from(payload)
        parsed.ack_mask = _ONES_ABOVE_16 | mask
    elif size == 11:
        _, parsed.ack_largest, delay, mask = _HEADER_32.unpack_from(payload)
        parsed.ack_mask = _ONES_ABOVE_32 | mask
    elif size == 15:
        _, parsed.ack_largest, delay, parsed.ack_mask = _HEADER_64.unpack_from(payload)
    else:
        return 1
    parsed.ack_delay_s = delay * ACK_DELAY_UNIT_S
    return size


def _parse_message(payload: bytes, offset: int, parsed: Payload) -> int:
    flags = payload[offset]
    delivery = flags & 3
    kind = flags >> 2 & 3
    if kind == 3:
        raise DecodeError("unknown kind of message")
    offset += 1
    stream = 0
    number = NO_NUMBER
    if delivery == RELIABLE:
        number = payload[offset] << 8 | payload[offset + 1]
        offset += 2
        if flags & _FLAG_HAS_ID:
            raise DecodeError("unknown message flags")
    elif delivery == ORDERED:
        stream, number = _STREAM_U16.unpack_from(payload, offset)
        offset += 4
        if flags & _FLAG_HAS_ID:
            raise DecodeError("unknown message flags")
    elif delivery == SEQUENCED:
        stream, number = _STREAM_U32.unpack_from(payload, offset)
        offset += 6
        if flags & _FLAG_HAS_ID:
            raise DecodeError("unknown message flags")
    elif flags & _FLAG_HAS_ID:
        number = payload[offset] << 8 | payload[offset + 1]
        offset += 2
    index = count = total_bytes = 0
    if flags & _FLAG_FRAGMENT:
        if flags & _FLAG_LONG or number < 0:
            raise DecodeError("bad fragment flags")
        index, count, total_bytes = _FRAGMENT.unpack_from(payload, offset)
        offset += 8
        length = fragment_size(index, count, total_bytes)
    elif flags & _FLAG_LONG:
        length = payload[offset] << 8 | payload[offset + 1]
        offset += 2
    else:
        length = payload[offset]
        offset += 1
    end = offset + length
    if end > len(payload):
        raise DecodeError("a message runs over the end")
    body = payload[offset:end]
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
    if last <= 0 or chunk > MAX_CHUNK_BYTES:
        raise DecodeError("bad fragment count")
    return last if index == count - 1 else chunk


def _parse_control(payload: bytes, offset: int, parsed: Payload) -> int:
    frame_type = payload[offset]
    if frame_type == FrameType.STATE_ACK:
        _, parsed.state_ack = _STATE_ACK.unpack_from(payload, offset)
        return offset + 5
    if frame_type == FrameType.CLOSE:
        parsed.close, offset = _parse_close(payload, offset)
        return offset
    parsed.is_ack_eliciting = True
    if frame_type == FrameType.STATE_DELTA:
        _, newest, distance, index, count, length = _STATE_DELTA.unpack_from(payload, offset)
        return _parse_state(payload, offset + 11, newest, distance, index, count, length, parsed)
    if frame_type == FrameType.STATE_FULL:
        _, newest, index, count, length = _STATE_FULL.unpack_from(payload, offset)
        return _parse_state(payload, offset + 13, newest, FULL, index, count, length, parsed)
    if frame_type == FrameType.STATE_FRAGMENT:
        _, transfer, index, count, total_bytes = _STATE_FRAGMENT.unpack_from(payload, offset)
        start = offset + 11
        end = start + fragment_size(index, count, total_bytes)
        data = _slice(payload, start, end)
        parsed.state_fragments.append(StateFragmentFrame(transfer, index, count, total_bytes, data))
        return end
    if frame_type == FrameType.CLOCK_ANSWER:
        _, number, clock_us, hold_us = _CLOCK_ANSWER.unpack_from(payload, offset)
        parsed.clock_answer = ClockAnswerFrame(number, clock_us, hold_us)
        return offset + 15
    if frame_type == FrameType.CLOCK_REQUEST:
        _, parsed.clock_request = _CLOCK_REQUEST.unpack_from(payload, offset)
        return offset + 3
    if frame_type == FrameType.PING:
        return offset + 1
    if frame_type == FrameType.WELCOME:
        end = offset + 2 + payload[offset + 1]
        parsed.welcome = _slice(payload, offset + 2, end)
        return end
    if frame_type == FrameType.TICKET:
        _, number, length = _TICKET.unpack_from(payload, offset)
        end = offset + 5 + length
        parsed.tickets.append((number, _slice(payload, offset + 5, end)))
        return end
    raise DecodeError("unknown frame type")


def _parse_state(
    payload: bytes, start: int, newest: int, distance: int, index: int, count: int, length: int, parsed: Payload
) -> int:
    if index >= count:
        raise DecodeError("bad state part")
    clock_us = 0
    if index == 0:
        (clock_us,) = _U64.unpack_from(payload, start)
        start += 8
    end = start + length
    data = _slice(payload, start, end)
    parsed.states.append(StateFrame(newest, distance, index, count, clock_us, data))
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
