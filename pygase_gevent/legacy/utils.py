"""`pygase.utils`: mixins for data, sequence numbers, enums of names, a lock around a thing."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any, SupportsInt, TypeVar

from pygase_gevent.codec import decode, pack
from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError
from pygase_gevent.utils import get_available_ip_addresses

__all__ = [
    "Comparable",
    "LockedRessource",
    "NamedEnum",
    "Sendable",
    "Sqn",
    "get_available_ip_addresses",
    "logger",
]

logger = logging.getLogger("PyGaSe")

_CONFIG = Config()

_Self = TypeVar("_Self", bound="Sendable")


class Comparable:
    """Equal to another of its class that has the same attributes."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, self.__class__) and self.__dict__ == other.__dict__

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]


class Sendable(Comparable):
    """To bytes and back: its attributes as a map of msgpack, floats with 32 bits."""

    def to_bytes(self) -> bytes:
        """Encode the attributes."""
        return pack(self.__dict__, single_floats=True)

    @classmethod
    def from_bytes(cls: type[_Self], bytepack: bytes) -> _Self:
        """Make an object of what `to_bytes` returned.

        Raises:
            TypeError: the bytes are anything else.
        """
        made = object.__new__(cls)
        try:
            made.__dict__ = decode(bytepack, config=_CONFIG)
        except (DecodeError, TypeError):
            raise TypeError(f"Bytes could no be parsed into {cls.__name__}.") from None
        return made


class NamedEnum:
    """Numbers for names, and names for numbers, in the order in which they were registered.

    All subclasses share one list, as in PyGaSe 0.3: programs compare a connection's status with 3.
    """

    _values: list[str] = []  # noqa: RUF012

    @classmethod
    def get(cls, name_or_value: str | int) -> Any:
        """The number of a name, or the name of a number.

        Raises:
            TypeError: neither `str` nor `int`.
            ValueError, IndexError: not registered.
        """
        if isinstance(name_or_value, int):
            return cls._values[name_or_value]
        if isinstance(name_or_value, str):
            return cls._values.index(name_or_value)
        raise TypeError(f"a name or a number is needed, not {type(name_or_value).__name__}")

    @classmethod
    def register(cls, name: str) -> None:
        """Give a name the next number; one that has a number keeps it."""
        if name not in cls._values:
            cls._values.append(name)


class Sqn(int):
    """A sequence number of two bytes: after 65535 comes 1; 0 is before the first.

    Comparing and subtracting takes the shorter way around, so `Sqn(5) > Sqn(65500)`.
    """

    _bytesize: int = 2
    _max_sequence: int = 2**16 - 1

    @classmethod
    def set_bytesize(cls, bytesize: int) -> None:
        """Change how many bytes a number takes, and with it where numbers begin anew."""
        cls._bytesize = bytesize
        cls._max_sequence = 2 ** (8 * bytesize) - 1

    @classmethod
    def get_max_sequence(cls) -> Sqn:
        """The last number before 1 comes again."""
        return cls(cls._max_sequence)

    def __new__(cls, value: SupportsInt | None = None) -> Sqn:
        number = int(value or 0)
        if number > cls._max_sequence:
            raise ValueError("value exceeds maximum sequence number")
        if number < 0:
            raise ValueError("sequence numbers must not be negative")
        return super().__new__(cls, number)

    def __add__(self, other: int) -> Sqn:
        total = int(self) + int(other)
        return self.__class__(total - self._max_sequence if total > self._max_sequence else total)

    def __sub__(self, other: int) -> int:
        difference = int(self) - int(other)
        half = (self._max_sequence - 1) / 2
        if difference > half:
            return difference - self._max_sequence
        if difference < -half:
            return difference + self._max_sequence
        return difference

    def __lt__(self, other: int) -> bool:
        return self._distance_to(other) > 0

    def __gt__(self, other: int) -> bool:
        return self._distance_to(other) < 0

    def to_sqn_bytes(self) -> bytes:
        """The number in exactly `_bytesize` bytes, the most significant first."""
        return int(self).to_bytes(self._bytesize, "big")

    @classmethod
    def from_sqn_bytes(cls, bytestring: bytes) -> Sqn:
        """Read what `to_sqn_bytes` returned."""
        return cls(int.from_bytes(bytestring, "big"))

    def _distance_to(self, other: int) -> int:
        return Sqn.__sub__(other, self) if isinstance(other, Sqn) else int(other) - int(self)


def wrapped(number: int) -> Sqn:
    """A number that only grows as the sequence number that PyGaSe would have counted up to."""
    return Sqn((number - 1) % Sqn.get_max_sequence() + 1) if number else Sqn(0)


class LockedRessource:
    """A thing and a lock: `with locked as ressource:` holds the lock.

    Attributes:
        lock: a `threading.Lock`.
        ressource: the thing.
    """

    def __init__(self, ressource: Any) -> None:
        self.lock = threading.Lock()
        self.ressource = ressource

    def __enter__(self) -> Any:
        self.lock.acquire()
        return self.ressource

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.lock.release()
