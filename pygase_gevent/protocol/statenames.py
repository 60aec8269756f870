"""Keys of the state as small numbers, and the layouts of its records: one table for all clients of a server.

The table only grows, and an entry never changes. Each client is told of new ones, and a delta for it uses
only those of which it acknowledged the packet that told: a *view* is how many these are. So what was
encoded for one client serves all with the same view.

In a delta the key that is entry *n* of the table goes as the integer -1 - n; keys that are negative
integers themselves go `NAME_NUMBERS` lower. That holds for the dict of a delta and for dicts that are values
in such a dict, not below lists and marks. Records of numbers that `state_schema` declares go packed.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from pygase_gevent.codec import EXT_RECORD, EXT_RECORDS, Packed, decode, pack
from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError
from pygase_gevent.precision import MAX_FIELDS, MAX_NAME_BYTES, SchemaNode
from pygase_gevent.protocol.layout import NAME_NUMBERS
from pygase_gevent.protocol.records import RecordLayout, RecordReader, pack_record, pack_records
from pygase_gevent.protocol.telling import MAX_ENTRIES_BYTES
from pygase_gevent.schema import StateSchema

_LOWEST_KEY: Final = -(2**63) + NAME_NUMBERS


class CannotShorten(Exception):
    """A key leaves no room for the numbers of names: the full state has to go."""


class StateNames:
    """The server's table, and what becomes of a delta by it.

    Args:
        schema: which records there are; they and their keys stand first in the table.
        config: limits.

    Attributes:
        entries: what clients are told: keys, and layouts of records as lists.
    """

    def __init__(self, schema: StateSchema, config: Config) -> None:
        self._config = config
        self._max_entries = config.max_learned_names
        self._schema = schema.root
        self.entries: list[Any] = []
        self._numbers: dict[str, int] = {}
        self._layouts: dict[tuple[Any, ...], tuple[int, RecordLayout]] = {}
        self._counts: dict[str, int] = {}
        self._learned: dict[str, None] = {}
        self._published_at = 0.0
        self._add_layouts_below(schema.root)
        self._add_keys(schema.root)

    def _add_layouts(self, node: SchemaNode) -> None:
        fields = node.fields
        if (
            0 < len(fields) <= MAX_FIELDS
            and fields not in self._layouts
            and len(self.entries) < self._max_entries
            and all(len(name.encode()) <= MAX_NAME_BYTES for name, _ in fields)
        ):
            layout = RecordLayout(fields)
            entry = layout.to_entry()
            if len(pack(entry)) < MAX_ENTRIES_BYTES:
                self._layouts[fields] = (len(self.entries), layout)
                self.entries.append(entry)
        self._add_layouts_below(node)

    def _add_layouts_below(self, node: SchemaNode) -> None:
        for child in [*node.children.values(), node.rest]:
            if isinstance(child, SchemaNode):
                self._add_layouts(child)

    def _add_keys(self, node: SchemaNode) -> None:
        for key, child in node.children.items():
            if isinstance(child, SchemaNode):
                if type(key) is str and len(key.encode()) <= MAX_NAME_BYTES:
                    self._learned[key] = None
                self._add_keys(child)
        if isinstance(node.rest, SchemaNode):
            self._add_keys(node.rest)
        self._take_in()

    def publish(self, now: float) -> None:
        """Take in what was learned, if it is time to."""
        if self._learned and now >= self._published_at + self._config.learning_interval_s:
            self._published_at = now
            self._take_in()

    def _take_in(self) -> None:
        for key in self._learned:
            if len(self.entries) < self._max_entries and key not in self._numbers:
                self._numbers[key] = len(self.entries)
                self.entries.append(key)
        self._learned.clear()

    def shortened(self, changes: dict[str, Any], view: int) -> dict[Any, Any]:
        """Changes as they travel to clients with this view. Raises `CannotShorten`."""
        return self._shorten(changes, self._schema, view)

    def _shorten(self, changes: dict[Any, Any], node: SchemaNode | None, view: int) -> dict[Any, Any]:
        numbers = self._numbers
        result: dict[Any, Any] = {}
        for key, change in changes.items():
            wire_key = key
            if type(key) is str:
                number = numbers.get(key, NAME_NUMBERS)
                if number < view:
                    wire_key = -1 - number
                elif number == NAME_NUMBERS:
                    self._count(key)
            elif key < 0:
                if key < _LOWEST_KEY:
                    raise CannotShorten
                wire_key = key - NAME_NUMBERS
            if type(change) is dict:
                child = None if node is None else node.child(key)
                inner = child if isinstance(child, SchemaNode) else None
                packed = None if inner is None else self._pack(change, inner, view)
                result[wire_key] = self._shorten(change, inner, view) if packed is None else packed
            else:
                result[wire_key] = change
        return result

    def _pack(self, changes: dict[Any, Any], node: SchemaNode, view: int) -> Any:
        """Changes below a node as packed records; None if they cannot be."""
        if node.fields:
            number, layout = self._layouts.get(node.fields, _NO_LAYOUT)
            return (
                None if layout is None or number >= view else pack_record(number, layout, changes, EXT_RECORD)
            )
        rest = node.rest
        if isinstance(rest, SchemaNode):
            number, layout = self._layouts.get(rest.fields, _NO_LAYOUT)
            if layout is not None and number < view:
                if any(type(key) is int and key < _LOWEST_KEY for key in changes):
                    raise CannotShorten
                apart = node.children
                alike = (
                    {key: change for key, change in changes.items() if key not in apart} if apart else changes
                )
                chunks, others = pack_records(number, layout, alike)
                if apart:
                    others.update({key: change for key, change in changes.items() if key in apart})
                if others and chunks:
                    chunks.append(bytes(layout.mask_bytes))
                    chunks.append(pack(self._shorten(others, None, view)))
                return Packed(EXT_RECORDS, b"".join(chunks)) if chunks else None
        return None

    def _count(self, key: str) -> None:
        config = self._config
        if len(self.entries) + len(self._learned) >= self._max_entries or key in self._learned:
            return
        counts = self._counts
        count = counts.get(key, 0) + 1
        if count >= config.learned_after:
            counts.pop(key, None)
            if len(key.encode()) <= MAX_NAME_BYTES:
                self._learned[key] = None
            return
        if len(counts) >= config.max_name_candidates and key not in counts:
            counts.clear()
        counts[key] = count


_NO_LAYOUT: tuple[int, RecordLayout | None] = (0, None)


class KnownNames:
    """The client's side of the table."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._entries: list[str | RecordLayout] = []

    def receive(self, first: int, data: bytes) -> bool:
        """Take entries from the number `first` on; those that are known already are passed over.

        Returns:
            False where they are none, or leave a gap.
        """
        known = self._entries
        if first > len(known):
            return False
        try:
            entries = decode(data, config=self._config, max_items=len(data))
            if type(entries) is not list or first + len(entries) > NAME_NUMBERS:
                return False
            new: list[str | RecordLayout] = []
            for entry in entries[len(known) - first :]:
                if type(entry) is str and len(entry.encode()) <= MAX_NAME_BYTES:
                    new.append(entry)
                elif type(entry) is list:
                    new.append(RecordLayout.from_entry(entry))
                else:
                    return False
        except DecodeError:
            return False
        known.extend(new)
        return True

    def decode_changes(self, blob: bytes) -> Any:
        """The changes of a delta. Raises `DecodeError`."""
        changes = decode(blob, config=self._config, marks=True, max_items=len(blob), unpack=self._unpack)
        return self._restored(changes) if type(changes) is dict else changes

    def _restored(self, changes: dict[Any, Any]) -> dict[Any, Any]:
        for key, change in changes.items():
            if type(change) is dict or (type(key) is int and key < 0):
                break
        else:
            return changes  # as most records
        entries = self._entries
        restored: dict[Any, Any] = {}
        for key, change in changes.items():
            if type(key) is int and key < 0:
                if key < -NAME_NUMBERS:
                    key += NAME_NUMBERS
                else:
                    name = entries[-1 - key] if -key <= len(entries) else None
                    if type(name) is not str:
                        raise DecodeError("a name that is not known")
                    key = name
            restored[key] = self._restored(change) if type(change) is dict else change
        if len(restored) != len(changes):
            raise DecodeError("a key twice")
        return restored

    def _unpack(self, code: int, data: bytes) -> dict[Any, Any]:
        try:
            reader = RecordReader(data)
            number = reader.layout_number
            layout = self._entries[number] if number < len(self._entries) else None
            if not isinstance(layout, RecordLayout):
                raise ValueError("a layout that is not known")
            if code == EXT_RECORD:
                return reader.record(layout)
            records: dict[Any, Any] = {}
            while reader.next_group(layout, records, self._decode_texts):
                pass
            rest = reader.rest()
            if rest:
                others = decode(rest, config=self._config, marks=True, max_items=len(rest))
                if type(others) is not dict:
                    raise ValueError("the rest is no dict")
                records.update(others)
            return records
        except (DecodeError, struct.error, IndexError) as error:
            raise ValueError(str(error)) from None

    def _decode_texts(self, data: bytes) -> Any:
        return decode(data, config=self._config, max_items=len(data))
