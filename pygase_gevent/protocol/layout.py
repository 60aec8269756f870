"""Codes and byte layouts that parser and writer of frames share. PROTOCOL.md says what they mean."""

from __future__ import annotations

import enum
import struct
from typing import Final

from pygase_gevent.event import Delivery

# 24 bits stand as their lowest 16, then their highest 8.
HEADER_16_LAYOUT: Final = struct.Struct("<BBHBH")
HEADER_32_LAYOUT: Final = struct.Struct("<BBHBI")
HEADER_64_LAYOUT: Final = struct.Struct("<BBHBq")
TICKET_LAYOUT: Final = struct.Struct("<BIH")
CLOCK_REQUEST_LAYOUT: Final = struct.Struct("<BH")
CLOCK_ANSWER_LAYOUT: Final = struct.Struct("<BHQI")
STATE_ACK_LAYOUT: Final = struct.Struct("<BHB")
NAMES_LAYOUT: Final = struct.Struct("<BBH")
STATE_STEP_LAYOUT: Final = struct.Struct("<BHBBH")
STATE_DELTA_LAYOUT: Final = struct.Struct("<BIHBBH")
STATE_FULL_LAYOUT: Final = struct.Struct("<BQBBH")
STATE_FRAGMENT_LAYOUT: Final = struct.Struct("<BHHHI")
U32_LAYOUT: Final = struct.Struct("<I")
U64_LAYOUT: Final = struct.Struct("<Q")
STREAM_U16_LAYOUT: Final = struct.Struct("<HH")
STREAM_U32_LAYOUT: Final = struct.Struct("<HI")
FRAGMENT_LAYOUT: Final = struct.Struct("<HHI")

MAX_ACK_DELAY_STEPS: Final = 0x1FFF
ONES_64: Final = 0xFFFF_FFFF_FFFF_FFFF
MASK_ONES: Final = -1
"""Masks of acknowledgements are signed, 64 bits: so the one without gaps is a small number, and cheap."""
MASK_ONES_ABOVE_16: Final = -0x1_0000
MASK_ONES_ABOVE_32: Final = -0x1_0000_0000

NAME_NUMBERS: Final = 128
"""Negative numbers from -1 on that stand for keys in a delta; keys that are negative lie so far below."""

FLAG_ACK: Final = 0x01
FLAG_FRAGMENT: Final = 0x10
FLAG_HAS_ID: Final = 0x20
FLAG_LONG: Final = 0x40


class FrameType:
    """First byte of a frame; from `MESSAGE` up the byte is a message's flags."""

    PING: Final = 0x01
    CLOSE: Final = 0x02
    WELCOME: Final = 0x03
    TICKET: Final = 0x04
    CLOCK_REQUEST: Final = 0x05
    CLOCK_ANSWER: Final = 0x06
    STATE_ACK: Final = 0x07
    STATE_DELTA: Final = 0x08
    STATE_FULL: Final = 0x09
    STATE_FRAGMENT: Final = 0x0A
    STATE_STEP: Final = 0x0B
    EVENT_NAMES: Final = 0x0C
    STATE_NAMES: Final = 0x0D
    MESSAGE: Final = 0x80


class MessageKind(enum.IntEnum):
    """What a message is to the receiver."""

    EVENT = 0
    CALL = 1
    RESULT = 2


NAMED_EVENT: Final = 3
"""On the wire a fourth kind: an event whose type is a number."""

# Kinds and deliveries as plain ints, because a lookup of an enum member costs more than the comparison.
EVENT: Final = 0
CALL: Final = 1

UNRELIABLE: Final = 0
SEQUENCED: Final = 1
RELIABLE: Final = 2
ORDERED: Final = 3

DELIVERY_CODES: Final = {
    Delivery.UNRELIABLE: UNRELIABLE,
    Delivery.SEQUENCED: SEQUENCED,
    Delivery.RELIABLE: RELIABLE,
    Delivery.RELIABLE_ORDERED: ORDERED,
}
