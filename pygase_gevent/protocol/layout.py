"""Codes and byte layouts that parser and writer of frames share. PROTOCOL.md says what they mean."""

from __future__ import annotations

import enum
import struct
from typing import Final

from pygase_gevent.event import Delivery

# 24 bits stand as their lowest 16, then their highest 8.
HEADER_LAYOUT = struct.Struct("<BBHB")
HEADER_16_LAYOUT = struct.Struct("<BBHBH")
HEADER_32_LAYOUT = struct.Struct("<BBHBI")
HEADER_64_LAYOUT = struct.Struct("<BBHBQ")
TICKET_LAYOUT = struct.Struct("<BIH")
CLOCK_REQUEST_LAYOUT = struct.Struct("<BH")
CLOCK_ANSWER_LAYOUT = struct.Struct("<BHQI")
STATE_ACK_LAYOUT = struct.Struct("<BHB")
NAMES_LAYOUT = struct.Struct("<BBH")
STATE_STEP_LAYOUT = struct.Struct("<BHBBH")
STATE_DELTA_LAYOUT = struct.Struct("<BIHBBH")
STATE_FULL_LAYOUT = struct.Struct("<BQBBH")
STATE_FRAGMENT_LAYOUT = struct.Struct("<BHHHI")
U32_LAYOUT = struct.Struct("<I")
U64_LAYOUT = struct.Struct("<Q")
STREAM_U16_LAYOUT = struct.Struct("<HH")
STREAM_U32_LAYOUT = struct.Struct("<HI")
FRAGMENT_LAYOUT = struct.Struct("<HHI")

MAX_ACK_DELAY_STEPS = 0x1FFF
MASK_ONES_64 = 0xFFFF_FFFF_FFFF_FFFF
MASK_ONES_ABOVE_16 = 0xFFFF_FFFF_FFFF_0000
MASK_ONES_ABOVE_32 = 0xFFFF_FFFF_0000_0000

NAME_NUMBERS = 128
"""Negative numbers from -1 on that stand for keys in a delta; keys that are negative lie so far below."""

FLAG_ACK = 0x01
FLAG_FRAGMENT = 0x10
FLAG_HAS_ID = 0x20
FLAG_LONG = 0x40


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


NAMED_EVENT = 3
"""On the wire a fourth kind: an event whose type is a number."""

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
