"""Values to bytes and back: msgpack with limits, and the only importer of msgpack.

What travels is a tree of `None`, `bool`, `int`, `float`, `str`, `bytes`, lists and dicts with `str` or
`int` keys. `copy_value` makes such a tree of what a caller gave, or says which place in it cannot
travel; `encode` and `decode` turn it to bytes and back. Floats keep their 64 bits.

State updates know two marks besides (msgpack extension types 1 and 2): `DELETE` removes the key
it stands at, `Replace(value)` replaces what stands there, also a dict by a dict, where a plain dict would
be merged. Marks stand in dicts only, never below a list or another mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError, SerializationError
from pygase_gevent.shortforms import scalar_arguments, scalar_event

_EXT_DELETE: Final = 1
_EXT_REPLACE: Final = 2
EXT_RECORDS: Final = 3
"""What `records.py` packs: many records of a dict."""
EXT_RECORD: Final = 4
"""... or one."""

_PACK_BUFFER_BYTES: Final = 8192
"""What a packer allocates at first; it grows as needed. msgpack's own default is 1 MiB per call."""

_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**64 - 1
_SCALARS: Final = frozenset((type(None), bool, int, float, str, bytes))
_UNCHECKED: Final = frozenset((type(None), bool, float, bytes))
_KEYS: Final = frozenset((str, int))
_CONTAINERS: Final = frozenset((dict, list))

_ARRAY_16: Final = 0xDC
_ARRAY_32: Final = 0xDD
_MAP_16: Final = 0xDE
_MAP_32: Final = 0xDF
_NOT_CONTAINER_BYTES: Final = bytes(
    byte for byte in range(256) if not (0x80 <= byte <= 0x9F or _ARRAY_16 <= byte <= _MAP_32)
)
"""Bytes that begin no array or map of msgpack."""
_PACKET_BYTES: Final = 4096
"""A value up to this size may come in a few packets, so what it costs before it is refused matters. What
msgpack's own 1024 levels of nesting cost is in proportion to larger ones."""


class _Delete:
    """The type of `DELETE`. There is one instance; copies and pickles of it are itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "TO_DELETE"

    def __reduce__(self) -> str:
        return "DELETE"


DELETE: Final = _Delete()


class Replace:
    """In an update: put `value` here, whatever stood here before. The value holds no marks."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Replace) and bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Replace], tuple[Any]]:
        return Replace, (self.value,)

    def __repr__(self) -> str:
        return f"Replace({self.value!r})"


_MARKS: Final = frozenset((_Delete, Replace))


class Packed:
    """In a tree to be packed: bytes of a code that `decode` hands to its `unpack`."""

    __slots__ = ("code", "data")

    def __init__(self, code: int, data: bytes) -> None:
        self.code = code
        self.data = data


def copy_value(
    value: Any, *, config: Config, marks: bool = False, place: str = "", max_items: int | None = None
) -> Any:
    """Check a tree of values and copy it into plain types.

    Tuples become lists, bytearrays and memoryviews `bytes`, and subclasses of the plain types (enums,
    named tuples, numpy's float64) the plain types themselves.

    Args:
        value: the tree.
        config: for `max_depth` and `max_items`.
        marks: whether `DELETE` and `Replace` may stand in it, as in a state update.
        place: what error messages call the tree itself.
        max_items: in place of `config.max_items`.

    Raises:
        SerializationError: something in it cannot travel; the message names the place.
    """
    try:
        return _Copier(config, max_items).copy(value, 0, marks)
    except CannotTravel as error:
        raise SerializationError(f"{_format_place(place, error.keys)}: {error}") from None


def encode(value: Any, *, config: Config, marks: bool = False, max_items: int | None = None) -> bytes:
    """Check a tree of values as `copy_value` does, and encode it.

    Raises:
        SerializationError: something in it cannot travel; the message names the place.
    """
    return pack(copy_value(value, config=config, marks=marks, max_items=max_items))


def pack(value: Any, *, single_floats: bool = False) -> bytes:
    """Encode a tree that came from `copy_value` or `decode`; floats with 32 bits if asked for."""
    packed: bytes = msgpack.packb(
        value, default=_pack_mark, buf_size=_PACK_BUFFER_BYTES, use_single_float=single_floats
    )
    return packed


def decode(
    data: bytes | memoryview,
    *,
    config: Config,
    marks: bool = False,
    max_items: int | None = None,
    unpack: Callable[[int, bytes], Any] | None = None,
) -> Any:
    """Decode bytes that came from outside.

    Args:
        data: exactly one encoded value; the caller has bounded its size.
        config: for `max_depth` and `max_items`.
        marks: whether `DELETE` and `Replace` may stand in it.
        max_items: in place of `config.max_items`.
        unpack: makes a dict of what was `Packed`, given code and data; `ValueError` where it cannot.

    Raises:
        DecodeError: it is anything else than a value that `encode` makes.
    """
    max_items = config.max_items if max_items is None else max_items
    ext_hook = _MarkReader(config.max_depth, max_items, unpack) if marks else _refuse_mark
    try:
        value = _unpack(bytes(data), config.max_depth, max_items, ext_hook)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(f"not an encoded value: {error}") from None
    _check_decoded(value, marks, config.max_depth, max_items)
    return value


def encode_event(event_type: str, args: list[Any], kwargs: dict[str, Any], *, config: Config) -> bytes:
    """Check what an event holds and encode it: a list of its type, its arguments and those with names.

    Raises:
        SerializationError: something in it cannot travel; the message names the place.
    """
    if not kwargs and len(args) + 3 <= config.max_event_items and config.max_depth > 1:
        encoded = scalar_event(event_type, args)
        if encoded is not None:
            return encoded
    parts = {"event_type": event_type, "args": args, "kwargs": kwargs}
    return pack(list(copy_value(parts, config=config, max_items=config.max_event_items).values()))


def decode_event(data: bytes, *, config: Config) -> tuple[list[Any], dict[str, Any]]:
    """Decode the list of a text, a list and a dict with names that an event is; the latter two.

    Whether the text is UTF-8 is for `shortforms.first_text` to say.

    Raises:
        DecodeError: it is anything else.
    """
    max_items = config.max_event_items
    scalars = scalar_arguments(data) if len(data) <= max_items and config.max_depth > 1 else None
    if scalars is not None:
        return scalars, {}
    value: Any
    try:
        value = _unpack(data, config.max_depth, max_items, _refuse_mark)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(f"not an encoded value: {error}") from None
    if type(value) is list and len(value) == 3:
        args, kwargs = value[1], value[2]
        if type(args) is list and type(kwargs) is dict and type(value[0]) is str:
            if kwargs or len(args) + 3 > max_items or not _are_scalars(args):
                _check_decoded(value, False, config.max_depth, max_items)
            for name in kwargs:
                if type(name) is not str:
                    raise DecodeError("not an event")
            return args, kwargs
    raise DecodeError("not an event")


class CannotTravel(Exception):
    """A value that cannot travel, or does not fit its schema; `keys` has the way to it, innermost first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.keys: list[Any] = []


class _Copier:
    __slots__ = ("_items_left", "_max_depth", "_max_items_name")

    def __init__(self, config: Config, max_items: int | None) -> None:
        self._max_items_name = "max_items" if max_items is None else "max_event_items"
        self._items_left = config.max_items if max_items is None else max_items
        self._max_depth = config.max_depth

    def copy(self, value: Any, depth: int, marks: bool) -> Any:
        kind = type(value)
        if kind in _UNCHECKED:
            return value
        if kind is int:
            return _checked_int(value)
        if kind is str:
            return _checked_str(value)
        if isinstance(value, dict):
            return self._copy_dict(value, depth + 1, marks)
        if isinstance(value, (list, tuple)):
            return self._copy_list(value, depth + 1)
        if kind in _MARKS:
            return self._copy_mark(value, depth, marks)
        return _plain_scalar(value)

    def _copy_dict(self, source: dict[Any, Any], depth: int, marks: bool) -> dict[Any, Any]:
        self._count(len(source), depth)
        copied = {}
        for key, item in source.items():
            if type(key) is not str or not key.isascii():
                key = _plain_key(key)
            if type(item) in _UNCHECKED:
                copied[key] = item
                continue
            try:
                copied[key] = self.copy(item, depth, marks)
            except CannotTravel as error:
                error.keys.append(key)
                raise
        return copied

    def _copy_list(self, source: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        self._count(len(source), depth)
        copied = []
        for item in source:
            if type(item) in _UNCHECKED:
                copied.append(item)
                continue
            try:
                copied.append(self.copy(item, depth, False))
            except CannotTravel as error:
                error.keys.append(len(copied))
                raise
        return copied

    def _copy_mark(self, mark: Any, depth: int, marks: bool) -> Any:
        if not marks:
            name = "TO_DELETE" if mark is DELETE else "Replace"
            raise CannotTravel(f"{name} has a meaning only in the dicts of a state update")
        return mark if mark is DELETE else Replace(self.copy(mark.value, depth, False))

    def _count(self, items: int, depth: int) -> None:
        if depth > self._max_depth:
            raise CannotTravel(f"nested deeper than {self._max_depth} levels (does it contain itself?)")
        self._items_left -= items
        if self._items_left < 0:
            raise CannotTravel(f"too many items (Config.{self._max_items_name})")


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, int):
        return _checked_int(int.__int__(value))
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return _checked_str(str.__str__(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise CannotTravel(f"object of type {type(value).__name__} cannot travel")


def _checked_int(value: int) -> int:
    if not _MIN_INT <= value <= _MAX_INT:
        raise CannotTravel("integer outside -2**63 .. 2**64-1")
    return value


def _checked_str(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise CannotTravel("text with a lone surrogate, which has no UTF-8 form") from None
    return value


def _plain_key(key: Any) -> str | int:
    if isinstance(key, str):
        return _checked_str(str.__str__(key))
    if isinstance(key, int) and not isinstance(key, bool):
        return _checked_int(int.__int__(key))
    raise CannotTravel(f"key {key!r} of type {type(key).__name__} (keys are str or int)")


def _format_place(place: str, keys_innermost_first: list[Any]) -> str:
    for key in keys_innermost_first[::-1]:
        if isinstance(key, str) and key.isidentifier():
            place += f".{key}" if place else key
        else:
            place += f"[{key!r}]"
    return place or "value"


def _pack_mark(value: Any) -> msgpack.ExtType:
    if value is DELETE:
        return msgpack.ExtType(_EXT_DELETE, b"")
    if isinstance(value, Packed):
        return msgpack.ExtType(value.code, value.data)
    assert isinstance(value, Replace), f"{type(value)} did not pass copy_value"
    return msgpack.ExtType(_EXT_REPLACE, pack(value.value))


class _MarkReader:
    __slots__ = ("_max_depth", "_max_items", "_unpack")

    def __init__(self, max_depth: int, max_items: int, unpack: Callable[[int, bytes], Any] | None) -> None:
        self._max_depth = max_depth
        self._max_items = max_items
        self._unpack = unpack

    def __call__(self, code: int, data: bytes) -> Any:
        if code == _EXT_DELETE and not data:
            return DELETE
        if code == _EXT_REPLACE:
            return Replace(_unpack(data, self._max_depth, self._max_items, _refuse_mark))
        if self._unpack is not None and code in (EXT_RECORDS, EXT_RECORD):
            return self._unpack(code, data)
        raise ValueError(f"unknown extension type {code}")


def _refuse_mark(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code} cannot stand here")


def _unpack(data: bytes, max_depth: int, max_items: int, ext_hook: Callable[[int, bytes], Any]) -> Any:
    """Unpack, after a look at whether that would cost more than the data is worth.

    msgpack makes a list as long as it says it is before its items are there, and nests 1024 deep. A byte is
    one item at the most, so only what is longer than `max_items` may hold too many.
    """
    size = len(data)
    if size > _PACKET_BYTES or _ARRAY_16 in data or _ARRAY_32 in data:
        _feed(data).skip()  # raises unless all items are there
    is_small_and_deep = (
        max_depth < size <= _PACKET_BYTES and len(data.translate(None, _NOT_CONTAINER_BYTES)) > max_depth
    )
    if size > max_items or is_small_and_deep:
        _check_shape(data, max_depth, max_items)
    return msgpack.unpackb(data, strict_map_key=False, ext_hook=ext_hook)


def _check_shape(data: bytes, max_depth: int, max_items: int) -> None:
    unpacker = _feed(data)
    budget = max_items
    items_left = [1]  # of the containers around the next item, outermost first
    while items_left:
        if not items_left[-1]:
            items_left.pop()
            continue
        items_left[-1] -= 1
        offset = unpacker.tell()
        if offset == len(data):
            raise ValueError("incomplete")
        first = data[offset]
        if 0x90 <= first <= 0x9F or first in (_ARRAY_16, _ARRAY_32):
            size = unpacker.read_array_header()
            budget -= size
            items_left.append(size)
        elif 0x80 <= first <= 0x8F or first in (_MAP_16, _MAP_32):
            size = unpacker.read_map_header()
            budget -= size
            items_left.append(2 * size)
        else:
            unpacker.skip()
        if len(items_left) > max_depth + 1:
            raise ValueError("nested too deep")
        if budget < 0:
            raise ValueError("too many items")


def _feed(data: bytes) -> msgpack.Unpacker:
    unpacker = msgpack.Unpacker(read_size=len(data), max_buffer_size=len(data))
    unpacker.feed(data)
    return unpacker


def _check_decoded(value: Any, marks: bool, max_depth: int, items_left: int) -> None:
    """Check types, depth and count, level by level: nothing in here recurses."""
    markable: list[Any] = []  # containers in whose dicts marks may stand
    plain: list[Any] = []
    _sort_children((value,), marks, markable, plain)
    for _ in range(max_depth):
        if not markable and not plain:
            return
        next_markable: list[Any] = []
        next_plain: list[Any] = []
        for containers, may_mark in ((markable, marks), (plain, False)):
            for container in containers:
                items_left -= len(container)
                if items_left < 0:
                    raise DecodeError("too many items")
                if type(container) is dict:
                    if not set(map(type, container)) <= _KEYS:
                        raise DecodeError("a key that is neither str nor int")
                    _sort_children(container.values(), may_mark, next_markable, next_plain)
                else:
                    _sort_children(container, False, next_markable, next_plain)
        markable, plain = next_markable, next_plain
    if markable or plain:
        raise DecodeError("nested too deep")


def _are_scalars(values: list[Any]) -> bool:
    return all(type(value) in _SCALARS for value in values)


def _sort_children(values: Iterable[Any], may_mark: bool, markable: list[Any], plain: list[Any]) -> None:
    if set(map(type, values)) <= _SCALARS:  # all leaves, found at C speed
        return
    for value in values:
        kind = type(value)
        if kind is dict and may_mark:
            markable.append(value)
        elif kind in _CONTAINERS:
            plain.append(value)
        elif kind in _MARKS and may_mark:
            if kind is Replace:
                _sort_children((value.value,), False, markable, plain)
        elif kind not in _SCALARS:
            raise DecodeError(f"a {kind.__name__} cannot stand here")
