"""The numbers of a schema, each with its precision, and how a tree is made to conform to them.

Every update of a state passes through here, so this is compiled where `schema.py` is not: applications
make the numbers, and are told what is wrong with them.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from mypy_extensions import mypyc_attr

from pygase_gevent.codec import DELETE, CannotTravel, Replace
from pygase_gevent.errors import SerializationError

Field = tuple[int, str, float, float]
"""How a number travels: its code, its `struct` format, and for fixed precision the minimum and the step."""

MAX_FIELDS: Final = 32
"""Fields of one record that travel packed; one with more travels as any other dict."""
MAX_NAME_BYTES: Final = 255
FORMATS: Final = {0: "f", 1: "b", 2: "h", 3: "i", 4: "B", 5: "H", 6: "I", 7: "B", 8: "H", 9: "I"}
"""`struct` formats by the code of a field."""
FIRST_FIXED: Final = 7
"""Codes from here on are of fixed precision, with minimum and step."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Number:
    """A number of the state, and what it needs. Its subclasses are what a schema is made of."""

    __slots__ = ("field",)

    def __init__(self, field: Field) -> None:
        self.field = field

    def round(self, value: Any) -> Any:
        """The number that all sides will hold. Raises `ValueError` where it cannot be one, saying why."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@mypyc_attr(allow_interpreted_subclasses=True)
class SingleFloat(Number):
    """A float of 32 bits."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__((0, "f", 0.0, 0.0))

    def round(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"a number, not {type(value).__name__}")
        try:
            return struct.unpack("<f", struct.pack("<f", value))[0]
        except (OverflowError, struct.error):
            message = f"at most about 3.4e38, not {value!r}"
        raise ValueError(message)


@mypyc_attr(allow_interpreted_subclasses=True)
class Integer(Number):
    """An integer of so many bits."""

    __slots__ = ("_highest", "_lowest")

    def __init__(self, code: int, lowest: int, highest: int) -> None:
        super().__init__((code, FORMATS[code], 0.0, 0.0))
        self._lowest = lowest
        self._highest = highest

    def round(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"an int, not {type(value).__name__}")
        if not self._lowest <= value <= self._highest:
            raise ValueError(f"from {self._lowest} to {self._highest}, not {value}")
        return value


@mypyc_attr(allow_interpreted_subclasses=True)
class Steps(Number):
    """A minimum and a whole number of steps."""

    __slots__ = ("_steps", "maximum", "minimum", "step")

    def __init__(self, step: float, minimum: float, maximum: float, steps: int) -> None:
        self.step = step
        self.minimum = minimum
        self.maximum = maximum
        self._steps = steps
        code = FIRST_FIXED if steps < 2**8 else FIRST_FIXED + 1 if steps < 2**16 else FIRST_FIXED + 2
        super().__init__((code, FORMATS[code], minimum, step))

    def round(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"a number, not {type(value).__name__}")
        half = self.step / 2
        if not self.minimum - half <= value <= self.maximum + half:
            raise ValueError(f"from {self.minimum} to {self.maximum}, not {value!r}")
        number = round((float(value) - self.minimum) / self.step)
        return self.minimum + max(0, min(number, self._steps)) * self.step


class SchemaNode:
    """A dict of the schema.

    Attributes:
        children: by key; `rest` is for all other keys.
        fields: those of the children that are numbers with a `str` key, in order: what travels packed.
    """

    __slots__ = ("children", "fields", "rest")

    def __init__(self, children: dict[Any, SchemaNode | Number], rest: SchemaNode | Number | None) -> None:
        self.children = children
        self.rest = rest
        self.fields: tuple[tuple[str, Field], ...] = tuple(
            [
                (key, child.field)
                for key, child in children.items()
                if isinstance(child, Number) and type(key) is str
            ]
        )

    def child(self, key: Any) -> SchemaNode | Number | None:
        """What is declared for a key."""
        return self.children.get(key, self.rest)


def conformed(tree: dict[Any, Any], node: SchemaNode) -> dict[Any, Any]:
    """A state's attributes, or changes of them, with all numbers rounded as declared.

    Raises:
        SerializationError: a value does not fit; the message names its place.
    """
    try:
        return _conformed(tree, node)
    except CannotTravel as error:
        message = f"{_place_of(error.keys)}: {error}"
    raise SerializationError(message)


def _conformed(tree: dict[Any, Any], node: SchemaNode) -> dict[Any, Any]:
    result: dict[Any, Any] = tree
    for key, value in tree.items():
        child = node.child(key)
        if child is None or value is DELETE:
            continue
        given = value.value if isinstance(value, Replace) else value
        try:
            rounded = _conformed_value(given, child)
        except CannotTravel as error:
            error.keys.append(key)
            raise
        # A zero is put in though it equals what is there: it may have lost its sign.
        if rounded is given or (type(rounded) is float and type(given) is float and rounded == given != 0.0):
            continue
        if result is tree:
            result = dict(tree)
        result[key] = rounded if given is value else Replace(rounded)
    return result


def _conformed_value(given: Any, child: SchemaNode | Number) -> Any:
    if isinstance(child, SchemaNode):
        if not isinstance(given, dict):
            raise CannotTravel(f"state_schema wants a dict, not {type(given).__name__}")
        return _conformed(given, child)
    try:
        return child.round(given)
    except ValueError as error:
        message = f"state_schema wants {child!r}, {error}"
    raise CannotTravel(message)


def _place_of(keys_innermost_first: list[Any]) -> str:
    first, *others = keys_innermost_first[::-1]
    return str(first) + "".join([f"[{key!r}]" for key in others])
