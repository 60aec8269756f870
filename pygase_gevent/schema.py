"""What precision the numbers of a state need: `state_schema`.

A schema is a dict in the shape of the state. Where the state has a number the schema has a field, and
`ANY` stands for every key of a dict:

    state_schema = {"entities": {ANY: {"x": Fixed(0.02, 0, 1000), "y": Float32(), "hp": UInt8()}}}

A store that has one rounds what is pushed, so that server and clients hold the same numbers, and refuses
what does not fit. What no schema speaks of is as it always was, floats with 64 bits.
"""

from __future__ import annotations

import math
from typing import Any, Final

from pygase_gevent.errors import ArgumentError, ArgumentTypeError
from pygase_gevent.precision import Integer, Number, SchemaNode, SingleFloat, Steps, conformed

__all__ = ["ANY", "Fixed", "Float32", "Int8", "Int16", "Int32", "StateSchema", "UInt8", "UInt16", "UInt32"]


class _Any:
    """The type of `ANY`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Any()
"""As a key of a schema: every key of this dict."""


class Float32(SingleFloat):
    """A float of 32 bits: seven digits."""

    __slots__ = ()


class Int8(Integer):
    """An integer from -128 to 127."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(1, -(2**7), 2**7 - 1)


class Int16(Integer):
    """An integer from -32,768 to 32,767."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(2, -(2**15), 2**15 - 1)


class Int32(Integer):
    """An integer from -2**31 to 2**31 - 1."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(3, -(2**31), 2**31 - 1)


class UInt8(Integer):
    """An integer from 0 to 255."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(4, 0, 2**8 - 1)


class UInt16(Integer):
    """An integer from 0 to 65,535."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(5, 0, 2**16 - 1)


class UInt32(Integer):
    """An integer from 0 to 2**32 - 1."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(6, 0, 2**32 - 1)


class Fixed(Steps):
    """A number of fixed precision: `minimum` and a whole number of steps, rounded to the nearest.

    It travels as that whole number, in one, two or four bytes, as few as the range needs.

    Args:
        step: the precision.
        minimum: the smallest value.
        maximum: the largest value; at most 2**32 - 1 steps above.

    Raises:
        ArgumentTypeError, ArgumentError: these make no range.
    """

    __slots__ = ()

    def __init__(self, step: float, minimum: float, maximum: float) -> None:
        for name, value in (("step", step), ("minimum", minimum), ("maximum", maximum)):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ArgumentTypeError(f"Fixed: {name} must be a number, not {type(value).__name__}")
            if not math.isfinite(value):
                raise ArgumentError(f"Fixed: {name} must be finite, not {value}")
        if not step > 0 or not maximum - minimum >= step:
            raise ArgumentError(f"Fixed: no steps of {step} lead from {minimum} to {maximum}")
        steps = math.floor((maximum - minimum) / step + 1e-9)
        if steps >= 2**32:
            raise ArgumentError(f"Fixed: {maximum} is more than 2**32 - 1 steps of {step} above {minimum}")
        if 4 * math.ulp(max(abs(minimum), abs(maximum))) > step:
            raise ArgumentError(f"Fixed: steps of {step} are lost in the digits of {minimum} to {maximum}")
        super().__init__(float(step), float(minimum), float(maximum), steps)

    def __repr__(self) -> str:
        return f"Fixed({self.step}, {self.minimum}, {self.maximum})"


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
        return conformed(tree, self.root)


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
