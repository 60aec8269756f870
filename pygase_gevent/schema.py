"""What precision the numbers of a state need: `state_schema`.

A schema is a dict in the shape of the state. Where the state has a number the schema has a field, and
`ANY` stands for every key of a dict:

    state_schema = {"entities": {ANY: {"x": Fixed(0.02, 0, 1000), "y": Float32(), "hp": UInt8()}}}

A store that has one rounds what is pushed, so that server and clients hold the same numbers, and refuses
what does not fit. What no schema speaks of is as it always was, floats with 64 bits.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from pygase_gevent.codec import DELETE, Replace
from pygase_gevent.errors import ArgumentError, ArgumentTypeError, SerializationError

__all__ = ["ANY", "Fixed", "Float32", "Int8", "Int16", "Int32", "StateSchema", "UInt8", "UInt16", "UInt32"]

MAX_FIELDS = 32
"""Fields of one record that travel packed; one with more travels as any other dict."""
MAX_NAME_BYTES = 255

Field = tuple[int, str, float, float]
"""How a number travels: its code, its `struct` format, and for fixed precision the minimum and the step."""


class _Any:
    """The type of `ANY`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ANY"


ANY = _Any()
"""As a key of a schema: every key of this dict."""


class Number:
    """A number of the state, and what it needs. Its subclasses are what a schema is made of."""

    __slots__ = ("field",)

    def __init__(self, field: Field) -> None:
        self.field = field

    def round(self, value: Any) -> int | float:
        """The number that all sides will hold. Raises `ValueError` where it cannot be one, saying why."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Float32(Number):
    """A float of 32 bits: seven digits."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__((0, "f", 0.0, 0.0))

    def round(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"a number, not {type(value).__name__}")
        try:
            rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
        except (OverflowError, struct.error):
            raise ValueError(f"at most about 3.4e38, not {value!r}") from None
        return rounded


class _Integer(Number):
    __slots__ = ("_highest", "_lowest")

    def __init__(self, code: int, format: str, lowest: int, highest: int) -> None:
        super().__init__((code, format, 0.0, 0.0))
        self._lowest = lowest
        self._highest = highest

    def round(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"an int, not {type(value).__name__}")
        if not self._lowest <= value <= self._highest:
            raise ValueError(f"from {self._lowest} to {self._highest}, not {value}")
        return value


class Int8(_Integer):
    """An integer from -128 to 127."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(1, "b", -(2**7), 2**7 - 1)


class Int16(_Integer):
    """An integer from -32,768 to 32,767."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(2, "h", -(2**15), 2**15 - 1)


class Int32(_Integer):
    """An integer from -2**31 to 2**31 - 1."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(3, "i", -(2**31), 2**31 - 1)


class UInt8(_Integer):
    """An integer from 0 to 255."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(4, "B", 0, 2**8 - 1)


class UInt16(_Integer):
    """An integer from 0 to 65,535."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(5, "H", 0, 2**16 - 1)


class UInt32(_Integer):
    """An integer from 0 to 2**32 - 1."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(6, "I", 0, 2**32 - 1)


class Fixed(Number):
    """A number of fixed precision: `minimum` and a whole number of steps, rounded to the nearest.

    It travels as that whole number, in one, two or four bytes, as few as the range needs.

    Args:
        step: the precision.
        minimum: the smallest value.
        maximum: the largest value; at most 2**32 - 1 steps above.

    Raises:
        ArgumentTypeError, ArgumentError: these make no range.
    """

    __slots__ = ("_steps", "maximum", "minimum", "step")

    def __init__(self, step: float, minimum: float, maximum: float) -> None:
        for name, value in (("step", step), ("minimum", minimum), ("maximum", maximum)):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ArgumentTypeError(f"Fixed: {name} must be a number, not {type(value).__name__}")
            if not math.isfinite(value):
                raise ArgumentError(f"Fixed: {name} must be finite, not {value}")
        if not step > 0 or not maximum - minimum >= step:
            raise ArgumentError(f"Fixed: no steps of {step} lead from {minimum} to {maximum}")
        self._steps = math.floor((maximum - minimum) / step + 1e-9)
        if self._steps >= 2**32:
            raise ArgumentError(f"Fixed: {maximum} is more than 2**32 - 1 steps of {step} above {minimum}")
        if 4 * math.ulp(max(abs(minimum), abs(maximum))) > step:
            raise ArgumentError(f"Fixed: steps of {step} are lost in the digits of {minimum} to {maximum}")
        self.step, self.minimum, self.maximum = float(step), float(minimum), float(maximum)
        code, format = (7, "B") if self._steps < 2**8 else (8, "H") if self._steps < 2**16 else (9, "I")
        super().__init__((code, format, self.minimum, self.step))

    def round(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"a number, not {type(value).__name__}")
        half = self.step / 2
        if not self.minimum - half <= value <= self.maximum + half:
            raise ValueError(f"from {self.minimum} to {self.maximum}, not {value!r}")
        number = round((value - self.minimum) / self.step)
        return self.minimum + max(0, min(number, self._steps)) * self.step

    def __repr__(self) -> str:
        return f"Fixed({self.step}, {self.minimum}, {self.maximum})"


FORMATS = {0: "f", 1: "b", 2: "h", 3: "i", 4: "B", 5: "H", 6: "I", 7: "B", 8: "H", 9: "I"}
"""`struct` formats by the code of a field."""
FIRST_FIXED = 7
"""Codes from here on are of fixed precision, with minimum and step."""


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


class StateSchema:
    """A checked schema.

    Args:
        declared: as an application wrote it.

    Raises:
        ArgumentTypeError, ArgumentError: it is none; the message names the place.
    """

    def __init__(self, declared: object) -> None:
        self.root = _node_of(declared, "state_schema", 0)

    def conform(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Return a state's attributes, or changes of them, with all numbers rounded as declared.

        Raises:
            SerializationError: a value does not fit; the message names its place.
        """
        return _conformed(tree, self.root, "")


def _node_of(declared: object, place: str, depth: int) -> SchemaNode:
    if not isinstance(declared, dict):
        raise ArgumentTypeError(f"{place} must be a dict, not {type(declared).__name__}")
    if depth > 32:
        raise ArgumentError(f"{place}: nested too deep (does it contain itself?)")
    children: dict[Any, SchemaNode | Number] = {}
    rest: SchemaNode | Number | None = None
    for key, value in declared.items():
        inner = f"{place}[{key!r}]"
        if isinstance(key, bool) or not isinstance(key, (str, int, _Any)):
            raise ArgumentTypeError(f"{inner}: keys are str, int or ANY")
        if isinstance(key, str) and not key.isascii() and key != key.encode("utf-8", "replace").decode():
            raise ArgumentError(f"{inner}: text with a lone surrogate, which has no UTF-8 form")
        if depth == 0 and not isinstance(key, str):
            raise ArgumentTypeError(f"{inner}: the attributes of a state have names of type str")
        if isinstance(value, type) and issubclass(value, Number):
            raise ArgumentTypeError(f"{inner}: write {value.__name__}(), an instance")
        if not isinstance(value, (dict, Number)):
            raise ArgumentTypeError(f"{inner} must be a dict or a number such as Float32(), not {value!r}")
        child = value if isinstance(value, Number) else _node_of(value, inner, depth + 1)
        if isinstance(key, _Any):
            rest = child
        else:
            children[key] = child
    return SchemaNode(children, rest)


def _conformed(tree: dict[Any, Any], node: SchemaNode, place: str) -> dict[Any, Any]:
    result: dict[Any, Any] = tree
    for key, value in tree.items():
        child = node.child(key)
        if child is None or value is DELETE:
            continue
        inner = f"{place}[{key!r}]" if place else str(key)
        is_replaced = isinstance(value, Replace)
        given = value.value if is_replaced else value
        rounded: Any
        if isinstance(child, SchemaNode):
            if not isinstance(given, dict):
                raise SerializationError(f"{inner}: state_schema wants a dict, not {type(given).__name__}")
            rounded = _conformed(given, child, inner)
        else:
            try:
                rounded = child.round(given)
            except ValueError as error:
                raise SerializationError(f"{inner}: state_schema wants {child!r}, {error}") from None
        # A zero is put in though it equals what is there: it may have lost its sign.
        if rounded is given or (type(rounded) is float and type(given) is float and rounded == given != 0.0):
            continue
        if result is tree:
            result = dict(tree)
        result[key] = Replace(rounded) if is_replaced else rounded
    return result
