"""msgpack's short forms, by hand: events of few scalars, and the text that a list begins with.

Such are most events of a game, and msgpack spends more on a dozen options of its own, for each of them, than
on what they hold (ARCHITECTURE.md, *What the profile taught*). For every other one there is `codec.py`.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from pygase_gevent.errors import DecodeError

_SHORT_ARRAY: Final = 0x90
_LIST_OF_3: Final = _SHORT_ARRAY + 3
_SHORT_TEXT: Final = 0xA0
_SHORT_TEXT_BYTES: Final = 32
_TEXT_8: Final = 0xD9
_NO_ITEMS: Final = 0x80
_NIL: Final = 0xC0
_FALSE: Final = 0xC2
_TRUE: Final = 0xC3
_CONSTANTS: Final = {_NIL: None, _FALSE: False, _TRUE: True}
_FLOAT_64: Final = 0xCB
_UINT_8: Final = 0xCC
_UINT_16: Final = 0xCD
_INT_8: Final = 0xD0
_INT_16: Final = 0xD1
_NEGATIVE: Final = 0xE0
_float_64: Final = struct.Struct(">d")


def scalar_event(event_type: str, args: list[Any]) -> bytes | None:
    """An event as `scalar_arguments` reads it, in the bytes that msgpack has for it; None for any other."""
    if len(args) > 15 or len(event_type) >= _SHORT_TEXT_BYTES or not event_type.isascii():
        return None
    encoded = [_LIST_OF_3, _SHORT_TEXT + len(event_type)]
    encoded += event_type.encode()
    encoded.append(_SHORT_ARRAY + len(args))
    for value in args:
        kind = type(value)
        if kind is int:
            number: int = value
            if 0 <= number < 0x80:
                encoded.append(number)
            elif -32 <= number < 0:
                encoded.append(number + 256)
            elif 0 < number < 0x100:
                encoded += (_UINT_8, number)
            elif 0 < number < 0x10000:
                encoded += (_UINT_16, number >> 8, number & 0xFF)
            elif -0x80 <= number < 0:
                encoded += (_INT_8, number + 0x100)
            elif -0x8000 <= number < 0:
                encoded += (_INT_16, number + 0x10000 >> 8, number & 0xFF)
            else:
                return None
        elif kind is float:
            encoded.append(_FLOAT_64)
            encoded += _float_64.pack(value)
        elif value is None:
            encoded.append(_NIL)
        elif value is True:
            encoded.append(_TRUE)
        elif value is False:
            encoded.append(_FALSE)
        else:
            return None
    encoded.append(_NO_ITEMS)
    return bytes(encoded)


def scalar_arguments(data: bytes) -> list[Any] | None:
    """The arguments of an encoded event that has few, all of them small integers, floats, `True`, `False` or
    `None`; of any other event None.
    """
    size = len(data)
    if size < 4 or data[0] != _LIST_OF_3 or not _SHORT_TEXT <= data[1] < _SHORT_TEXT + _SHORT_TEXT_BYTES:
        return None
    at = 2 + data[1] - _SHORT_TEXT
    if at >= size or data[size - 1] != _NO_ITEMS:
        return None
    count = data[at] - _SHORT_ARRAY
    if not 0 <= count < 16:
        return None
    values: list[Any] = []
    at += 1
    size -= 1
    for _number in range(count):  # compiled, each value of a plain `_` is made an object
        if at >= size:
            return None
        first = data[at]
        at += 1
        if first < 0x80:
            values.append(first)
        elif first == _UINT_16 and at + 2 <= size:
            values.append(data[at] << 8 | data[at + 1])
            at += 2
        elif first == _UINT_8 and at < size:
            values.append(data[at])
            at += 1
        elif first == _FLOAT_64 and at + 8 <= size:
            values.extend(_float_64.unpack_from(data, at))
            at += 8
        elif first == _INT_16 and at + 2 <= size:
            values.append((data[at] << 8 | data[at + 1]) - (0x10000 if data[at] & 0x80 else 0))
            at += 2
        elif first == _INT_8 and at < size:
            values.append(data[at] - (0x100 if data[at] & 0x80 else 0))
            at += 1
        elif first >= _NEGATIVE:
            values.append(first - 256)
        elif first in _CONSTANTS:
            values.append(_CONSTANTS[first])
        else:
            return None
    return values if at == size else None


def first_text(data: bytes, size: int, max_bytes: int) -> str:
    """Read the text that an encoded list of `size` (up to 15) items begins with, and nothing else of it.

    Args:
        data: the list, encoded.
        size: how many items it has.
        max_bytes: of the text, up to 255.

    Raises:
        DecodeError: the data begins with anything else.
    """
    if len(data) > 2 and data[0] == _SHORT_ARRAY + size:
        first = data[1]
        if _SHORT_TEXT <= first < _SHORT_TEXT + _SHORT_TEXT_BYTES:
            start, length = 2, first - _SHORT_TEXT
        elif first == _TEXT_8:
            start, length = 3, data[2]
        else:
            raise DecodeError("no text, or too long a one")
        text = data[start : start + length]
        if len(text) == length <= max_bytes:
            try:
                return text.decode()
            except UnicodeDecodeError:
                pass
    raise DecodeError("no text, or too long a one")


def head_of(body: bytes) -> bytes:
    """What an encoded event begins with, up to the end of its type; empty if that is not what it is."""
    if len(body) < 3 or body[0] != _LIST_OF_3:
        return b""
    first = body[1]
    if _SHORT_TEXT <= first < _SHORT_TEXT + _SHORT_TEXT_BYTES:
        return body[: 2 + first - _SHORT_TEXT]
    if first == _TEXT_8 and body[2] >= _SHORT_TEXT_BYTES:
        head = body[: 3 + body[2]]
        return head if len(head) == 3 + body[2] else b""
    return b""


def head_for(event_type: bytes) -> bytes:
    """What an encoded event of this type, of up to 255 bytes of UTF-8, begins with."""
    size = len(event_type)
    text = (_SHORT_TEXT | size,) if size < _SHORT_TEXT_BYTES else (_TEXT_8, size)
    return bytes((_LIST_OF_3, *text)) + event_type


def type_in(head: bytes) -> bytes:
    """The type in what `head_of` or `head_for` gave."""
    return head[3:] if head[1] == _TEXT_8 else head[2:]
