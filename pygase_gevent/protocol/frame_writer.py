"""Frames as bytes: the writing side of `frames.py`. Everything is truncated to its width here."""

from __future__ import annotations

import struct
from typing import Final

from pygase_gevent.protocol.frames import ACK_DELAY_UNIT_S, FULL, MAX_CLOSE_TEXT_BYTES
from pygase_gevent.protocol.layout import (
    CLOCK_ANSWER_LAYOUT,
    CLOCK_REQUEST_LAYOUT,
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
    MAX_ACK_DELAY_STEPS,
    NAMES_LAYOUT,
    ONES_64,
    ORDERED,
    RELIABLE,
    STATE_ACK_LAYOUT,
    STATE_DELTA_LAYOUT,
    STATE_FULL_LAYOUT,
    STATE_STEP_LAYOUT,
    STREAM_U16_LAYOUT,
    STREAM_U32_LAYOUT,
    TICKET_LAYOUT,
    U64_LAYOUT,
    UNRELIABLE,
    FrameType,
)

_BYTE_BYTE: Final = struct.Struct("<BB")
_BYTE_U16: Final = struct.Struct("<BH")
_ID_BYTE: Final = struct.Struct("<BHB")
_ID_U16: Final = struct.Struct("<BHH")
_BYTE_U32: Final = struct.Struct("<BI")
_LONG_ID_BYTE: Final = struct.Struct("<BIB")
_LONG_ID_U16: Final = struct.Struct("<BIH")
_STREAM_U16_BYTE: Final = struct.Struct("<BHHB")
_STREAM_U16_U16: Final = struct.Struct("<BHHH")
_STREAM_U32_BYTE: Final = struct.Struct("<BHIB")
_STREAM_U32_U16: Final = struct.Struct("<BHIH")


def encode_header(largest: int, mask: int, delay_s: float) -> bytes:
    """The header. `largest` is the largest received sequence, or -1 when nothing was received yet."""
    if largest < 0:
        return b"\x00"
    delay = int(delay_s / ACK_DELAY_UNIT_S)
    if delay > MAX_ACK_DELAY_STEPS:
        delay = MAX_ACK_DELAY_STEPS
    flags = (delay & 0x1F) << 3 | 0x01
    delay >>= 5
    if mask == MASK_ONES:  # as nearly always
        return (flags | delay << 8 | (largest & 0xFF_FFFF) << 16).to_bytes(5, "little")
    low, high = largest & 0xFFFF, largest >> 16 & 0xFF
    if mask & MASK_ONES_ABOVE_16 == MASK_ONES_ABOVE_16:
        return HEADER_16_LAYOUT.pack(flags | 0x02, delay, low, high, mask & 0xFFFF)
    if mask & MASK_ONES_ABOVE_32 == MASK_ONES_ABOVE_32:
        return HEADER_32_LAYOUT.pack(flags | 0x04, delay, low, high, mask & 0xFFFF_FFFF)
    return HEADER_64_LAYOUT.pack(flags | 0x06, delay, low, high, mask)


def encode_message(delivery: int, kind: int, stream: int, number: int, body: bytes) -> bytes:
    """A whole message. `number` is truncated here; `NO_NUMBER` for an unreliable one without retries."""
    size = len(body)
    flags = 0x80 | delivery | kind << 2
    if delivery == RELIABLE:
        if size < 256:
            return _ID_BYTE.pack(flags, number & 0xFFFF, size) + body
        return _ID_U16.pack(flags | FLAG_LONG, number & 0xFFFF, size) + body
    if delivery == UNRELIABLE:
        if number >= 0:
            flags |= FLAG_HAS_ID
            if size < 256:
                return _LONG_ID_BYTE.pack(flags, number & 0xFFFF_FFFF, size) + body
            return _LONG_ID_U16.pack(flags | FLAG_LONG, number & 0xFFFF_FFFF, size) + body
        if size < 256:
            return _BYTE_BYTE.pack(flags, size) + body
        return _BYTE_U16.pack(flags | FLAG_LONG, size) + body
    if delivery == ORDERED:
        if size < 256:
            return _STREAM_U16_BYTE.pack(flags, stream, number & 0xFFFF, size) + body
        return _STREAM_U16_U16.pack(flags | FLAG_LONG, stream, number & 0xFFFF, size) + body
    if size < 256:
        return _STREAM_U32_BYTE.pack(flags, stream, number & 0xFFFF_FFFF, size) + body
    return _STREAM_U32_U16.pack(flags | FLAG_LONG, stream, number & 0xFFFF_FFFF, size) + body


def encode_fragment_prefix(delivery: int, kind: int, stream: int, number: int) -> bytes:
    """What all fragments of a message begin with."""
    flags = 0x80 | delivery | kind << 2 | FLAG_FRAGMENT
    if delivery == UNRELIABLE:
        return _BYTE_U32.pack(flags | FLAG_HAS_ID, number & 0xFFFF_FFFF)
    if delivery == RELIABLE:
        return _BYTE_U16.pack(flags, number & 0xFFFF)
    if delivery == ORDERED:
        return bytes((flags,)) + STREAM_U16_LAYOUT.pack(stream, number & 0xFFFF)
    return bytes((flags,)) + STREAM_U32_LAYOUT.pack(stream, number & 0xFFFF_FFFF)


def encode_fragment(prefix: bytes, index: int, count: int, total_bytes: int, data: bytes) -> bytes:
    """One fragment behind its message's prefix."""
    return prefix + FRAGMENT_LAYOUT.pack(index, count, total_bytes) + data


def encode_state_fragment_prefix(transfer: int) -> bytes:
    """What all fragments of a state transfer begin with."""
    return _BYTE_U16.pack(FrameType.STATE_FRAGMENT, transfer & 0xFFFF)


def encode_state_part(
    newest: int, distance: int, index: int, count: int, clock_us: int, data: bytes
) -> bytes:
    """A part of a state update; `distance` is `FULL` or at most 65535."""
    if distance == FULL:
        head = STATE_FULL_LAYOUT.pack(FrameType.STATE_FULL, newest, index, count, len(data))
    else:
        truncated = newest & 0xFFFF_FFFF
        head = STATE_DELTA_LAYOUT.pack(FrameType.STATE_DELTA, truncated, distance, index, count, len(data))
    if index == 0:
        return head + U64_LAYOUT.pack(clock_us) + data
    return head + data


def encode_state_step(newest: int, distance: int, clock_steps: int, data: bytes) -> bytes:
    """A whole update, which has to be its payload's last frame. At most 255 far, and 65535 steps."""
    head = STATE_STEP_LAYOUT.pack(
        FrameType.STATE_STEP, newest & 0xFFFF, newest >> 16 & 0xFF, distance, clock_steps
    )
    return head + data


def encode_state_ack(newest: int) -> bytes:
    """The newest state that was applied."""
    return STATE_ACK_LAYOUT.pack(FrameType.STATE_ACK, newest & 0xFFFF, newest >> 16 & 0xFF)


def encode_names(frame_type: int, first: int, data: bytes) -> bytes:
    """Entries of a table, `STATE_NAMES` or `EVENT_NAMES`, from the number `first` on."""
    return NAMES_LAYOUT.pack(frame_type, first, len(data)) + data


def encode_ticket(number: int, blob: bytes) -> bytes:
    """A ticket."""
    return TICKET_LAYOUT.pack(FrameType.TICKET, number & 0xFFFF_FFFF, len(blob)) + blob


def encode_welcome(blob: bytes) -> bytes:
    """A welcome."""
    return _BYTE_BYTE.pack(FrameType.WELCOME, len(blob)) + blob


def encode_clock_request(number: int) -> bytes:
    """A question for the server's clock."""
    return CLOCK_REQUEST_LAYOUT.pack(FrameType.CLOCK_REQUEST, number & 0xFFFF)


def encode_clock_answer(number: int, clock_us: int, hold_us: int) -> bytes:
    """The answer to it."""
    hold_us = min(hold_us, 0xFFFF_FFFF)
    return CLOCK_ANSWER_LAYOUT.pack(FrameType.CLOCK_ANSWER, number & 0xFFFF, clock_us & ONES_64, hold_us)


def encode_close(code: int, text: str, flags: int) -> bytes:
    """The close frame (frozen). The text is cut to 200 bytes of UTF-8, between characters."""
    data = text.encode("utf-8", "replace")[:MAX_CLOSE_TEXT_BYTES].decode("utf-8", "ignore").encode()
    return bytes((FrameType.CLOSE, code, flags, len(data))) + data
