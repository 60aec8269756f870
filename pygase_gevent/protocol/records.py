"""Records of declared numbers, packed: one layout for many, and for each which fields it has.

A *layout* names the fields of a record and how each travels. Records that have the same fields go together:

    layout (1 byte), then groups: mask (1 to 4 bytes), keys, rows; a mask of 0: the rest, as a msgpack map

PROTOCOL.md, "Records", says every byte.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final

from pygase_gevent.codec import Packed, pack
from pygase_gevent.errors import DecodeError
from pygase_gevent.precision import FIRST_FIXED, FORMATS, MAX_FIELDS, MAX_NAME_BYTES, Field
from pygase_gevent.protocol.layout import NAME_NUMBERS

MANY_KEYS: Final = 31
"""From so many keys on their count stands in two bytes of its own."""
MAX_GROUP: Final = 0xFFFF

_KEY_FORMATS: Final = ("B", "H", "I", "q")
_TEXT_KEYS: Final = 4
_U16: Final = struct.Struct("<H")


class RecordLayout:
    """The fields of a record.

    Args:
        fields: name and field of each, in order.
    """

    __slots__ = ("_bits", "_rows", "fields", "mask_bytes", "names")

    def __init__(self, fields: tuple[tuple[str, Field], ...]) -> None:
        self.fields = fields
        self.names = [name for name, _ in fields]
        self.mask_bytes = (len(fields) + 7) // 8
        self._bits = {name: 1 << index for index, name in enumerate(self.names)}
        self._rows: dict[int, _Row] = {}

    def mask_of(self, record: dict[Any, Any]) -> int:
        """Which fields a record has; 0 if anything in it cannot be packed, or there is nothing."""
        mask = 0
        bits = self._bits
        for name, value in record.items():
            bit = bits.get(name, 0)
            if not bit or not (type(value) is float or type(value) is int):
                return 0
            mask |= bit
        return mask

    def row(self, mask: int) -> _Row:
        """How records with these fields are packed."""
        row = self._rows.get(mask)
        if row is None:
            row = _Row([field for index, field in enumerate(self.fields) if mask >> index & 1])
            if len(self._rows) >= MAX_FIELDS:
                self._rows.clear()
            self._rows[mask] = row
        return row

    def to_entry(self) -> list[Any]:
        """As it stands in the table of names."""
        return [
            [name, code, minimum, step] if code >= FIRST_FIXED else [name, code]
            for name, (code, _, minimum, step) in self.fields
        ]

    @staticmethod
    def from_entry(entry: list[Any]) -> RecordLayout:
        """Raises `DecodeError` where it is none."""
        fields: list[tuple[str, Field]] = []
        if not 0 < len(entry) <= MAX_FIELDS:
            raise DecodeError("a record without fields, or with too many")
        for item in entry:
            if (
                type(item) is not list
                or len(item) < 2
                or type(item[0]) is not str
                or type(item[1]) is not int
            ):
                raise DecodeError("not a field")
            name, code = item[0], item[1]
            if code not in FORMATS or len(item) != (4 if code >= FIRST_FIXED else 2):
                raise DecodeError("an unknown field")
            minimum = step = 0.0
            if code >= FIRST_FIXED:
                if type(item[2]) is not float or type(item[3]) is not float:
                    raise DecodeError("not a precision")
                minimum, step = item[2], item[3]
                if not (math.isfinite(minimum) and math.isfinite(step) and step > 0):
                    raise DecodeError("not a precision")
            if len(name.encode()) > MAX_NAME_BYTES:
                raise DecodeError("a name too long")
            fields.append((name, (code, FORMATS[code], minimum, step)))
        if len({name for name, _ in fields}) != len(fields):
            raise DecodeError("a field twice")
        return RecordLayout(tuple(fields))


class _Row:
    """The packed numbers of records that have the same fields."""

    __slots__ = ("fixed", "format", "layout", "names")

    def __init__(self, named: list[tuple[str, Field]]) -> None:
        self.names = [name for name, _ in named]
        self.format = "".join([field[1] for _, field in named])
        self.layout = struct.Struct("<" + self.format)
        self.fixed = [
            (index, field[2], field[3]) for index, (_, field) in enumerate(named) if field[0] >= FIRST_FIXED
        ]

    def numbers(self, record: dict[Any, Any]) -> list[Any]:
        """A record's numbers as they travel."""
        numbers = [record[name] for name in self.names]
        for index, minimum, step in self.fixed:
            numbers[index] = round((numbers[index] - minimum) / step)
        return numbers

    def record(self, numbers: tuple[Any, ...]) -> dict[str, Any]:
        """The record again."""
        record = dict(zip(self.names, numbers, strict=True))
        for index, minimum, step in self.fixed:
            record[self.names[index]] = minimum + numbers[index] * step
        return record


def pack_records(
    index: int, layout: RecordLayout, changes: dict[Any, Any]
) -> tuple[list[bytes], dict[Any, Any]]:
    """Pack changes of a dict of records.

    Args:
        index: the layout's number.
        layout: of the records.
        changes: by key.

    Returns:
        The groups, in pieces, and the changes that are in none. No pieces if that is all of them.
    """
    groups: dict[int, tuple[list[Any], list[Any]]] = {}
    rest: dict[Any, Any] = {}
    for key, change in changes.items():
        mask = layout.mask_of(change) if type(change) is dict else 0
        if not mask:
            rest[key] = change
            continue
        group = groups.get(mask)
        if group is None:
            group = groups[mask] = ([], [])
        group[0].append(key)
        group[1].extend(layout.row(mask).numbers(change))
    if not groups:
        return [], rest
    chunks = [bytes((index,))]
    for mask, (keys, numbers) in groups.items():
        row = layout.row(mask)
        width = len(row.names)
        for start in range(0, len(keys), MAX_GROUP):
            part = keys[start : start + MAX_GROUP]
            chunks.append(mask.to_bytes(layout.mask_bytes, "little"))
            chunks.append(_pack_keys(part))
            values = numbers[start * width : (start + len(part)) * width]
            chunks.append(struct.pack("<" + row.format * len(part), *values))
    return chunks, rest


def pack_record(index: int, layout: RecordLayout, record: dict[Any, Any], code: int) -> Packed | None:
    """Pack one record; `None` if it cannot be."""
    mask = layout.mask_of(record)
    if not mask:
        return None
    row = layout.row(mask)
    head = bytes((index,)) + mask.to_bytes(layout.mask_bytes, "little")
    return Packed(code, head + row.layout.pack(*row.numbers(record)))


def _pack_keys(keys: list[Any]) -> bytes:
    count = len(keys)
    kind = _TEXT_KEYS
    if all(type(key) is int for key in keys):
        lowest, highest = min(keys), max(keys)
        kind = 3 if lowest < 0 or highest >= 2**32 else 2 if highest >= 2**16 else 1 if highest >= 2**8 else 0
        if highest >= 2**63:
            kind = _TEXT_KEYS
    head = bytes((kind | min(count, MANY_KEYS) << 3,))
    if count >= MANY_KEYS:
        head += _U16.pack(count)
    if kind < _TEXT_KEYS:
        return head + struct.pack(f"<{count}{_KEY_FORMATS[kind]}", *keys)
    packed = pack(keys)
    return head + struct.pack("<I", len(packed)) + packed


class RecordReader:
    """Reads packed records. Bad ones raise `ValueError`, `struct.error` or `IndexError`.

    Args:
        data: as it came.
    """

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 1

    @property
    def layout_number(self) -> int:
        """Which layout."""
        return self._data[0]

    def record(self, layout: RecordLayout) -> dict[str, Any]:
        """The one record."""
        mask = self._mask(layout)
        row = layout.row(mask)
        if not mask or len(self._data) - self._offset != row.layout.size:
            raise ValueError("not a record")
        return row.record(row.layout.unpack_from(self._data, self._offset))

    def next_group(self, layout: RecordLayout, records: dict[Any, Any], texts: Any) -> bool:
        """Put the records of the next group into a dict.

        Args:
            layout: of the records.
            records: where they go; negative keys as in all of a delta, `NAME_NUMBERS` below what they are.
            texts: decodes a msgpack list of keys.

        Returns:
            False where there is no group left; what is left then, `rest` has.
        """
        data = self._data
        if self._offset == len(data):
            return False
        mask = self._mask(layout)
        if not mask:
            return False
        head = data[self._offset]
        self._offset += 1
        kind, count = head & 7, head >> 3
        if count == MANY_KEYS:
            (count,) = _U16.unpack_from(data, self._offset)
            self._offset += 2
        keys: Any
        if kind < _TEXT_KEYS:
            keys = struct.unpack_from(f"<{count}{_KEY_FORMATS[kind]}", data, self._offset)
            self._offset += struct.calcsize(f"<{count}{_KEY_FORMATS[kind]}")
        elif kind == _TEXT_KEYS:
            (size,) = struct.unpack_from("<I", data, self._offset)
            start = self._offset + 4
            self._offset = start + size
            if self._offset > len(data):
                raise ValueError("keys run over the end")
            keys = texts(data[start : self._offset])
            if type(keys) is not list or len(keys) != count:
                raise ValueError("not so many keys")
        else:
            raise ValueError("unknown keys")
        if kind >= 3:
            keys = [key - NAME_NUMBERS if type(key) is int and key < 0 else key for key in keys]
        row = layout.row(mask)
        end = self._offset + count * row.layout.size
        if end > len(data) or not count:
            raise ValueError("records run over the end")
        rows = row.layout.iter_unpack(data[self._offset : end])
        self._offset = end
        for key, numbers in zip(keys, rows, strict=True):
            records[key] = row.record(numbers)
        return True

    def rest(self) -> bytes:
        """What follows the groups, msgpack; empty if nothing does."""
        return self._data[self._offset :]

    def _mask(self, layout: RecordLayout) -> int:
        end = self._offset + layout.mask_bytes
        if end > len(self._data):
            raise ValueError("a mask cut off")
        mask = int.from_bytes(self._data[self._offset : end], "little")
        self._offset = end
        if mask >> len(layout.fields):
            raise ValueError("a field that is none")
        return mask
