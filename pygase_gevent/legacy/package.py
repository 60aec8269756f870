"""PyGaSe's datagrams as data. They were public names; on this library's wire travel others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pygase_gevent.legacy.event import Event
from pygase_gevent.legacy.gamestate import GameStateUpdate
from pygase_gevent.legacy.utils import Comparable, Sqn

PROTOCOL_ID: bytes = bytes.fromhex("ffd0fab9")
"""What a datagram of PyGaSe begins with."""

_HEADER_BYTES = 12
_LENGTH_BYTES = 2

_Self = TypeVar("_Self", bound="Package")


class ProtocolIDMismatchError(ValueError):
    """The bytes do not begin as a datagram of PyGaSe."""


class DuplicateSequenceError(ConnectionError):
    """A package with this sequence number was received before."""


class Header(Comparable):
    """The 12 bytes that a package begins with.

    Args:
        sequence: number of the package.
        ack: number of the newest package received.
        ack_bitfield: 32 characters, `"1"` where the package that many numbers before `ack` was received.
    """

    def __init__(self, sequence: int, ack: int, ack_bitfield: str) -> None:
        self.sequence = Sqn(sequence)
        self.ack = Sqn(ack)
        self.ack_bitfield = ack_bitfield

    def to_bytearray(self) -> bytearray:
        """The header in bytes."""
        bitfield = int(self.ack_bitfield, 2).to_bytes(4, "big")
        return bytearray(PROTOCOL_ID + self.sequence.to_sqn_bytes() + self.ack.to_sqn_bytes() + bitfield)

    def destructure(self) -> tuple[Sqn, Sqn, str]:
        """`(sequence, ack, ack_bitfield)`."""
        return self.sequence, self.ack, self.ack_bitfield

    @classmethod
    def deconstruct_datagram(cls, datagram: bytes) -> tuple[Header, bytes]:
        """Split a datagram into header and payload.

        Raises:
            ProtocolIDMismatchError: it begins with something else.
        """
        if datagram[:4] != PROTOCOL_ID:
            raise ProtocolIDMismatchError("the bytes do not begin with PROTOCOL_ID")
        bitfield = f"{int.from_bytes(datagram[8:_HEADER_BYTES], 'big'):032b}"
        header = cls(Sqn.from_sqn_bytes(datagram[4:6]), Sqn.from_sqn_bytes(datagram[6:8]), bitfield)
        return header, datagram[_HEADER_BYTES:]


class Package(Comparable):
    """A header and events, of at most 2048 bytes.

    Args:
        header: see `Header`.
        events: the events.
    """

    _timeout: float = 1.0
    _max_size: int = 2048

    def __init__(self, header: Header, events: list[Event] | None = None) -> None:
        self.header = header
        self._events = [] if events is None else events
        self._datagram: bytes | None = None

    @property
    def events(self) -> list[Event]:
        """A list of the events."""
        return self._events.copy()

    def add_event(self, event: Event) -> None:
        """Append an event.

        Raises:
            OverflowError: the package was encoded already, and would become too large.
        """
        if self._datagram is not None:
            self._datagram = self._checked(self._datagram + _block([event.to_bytes()]))
        self._events.append(event)

    def get_bytesize(self) -> int:
        """How long it is in bytes."""
        return len(self.to_datagram())

    def to_datagram(self) -> bytes:
        """Encode it.

        Raises:
            OverflowError: it is too large.
        """
        if self._datagram is None:
            events = _block(event.to_bytes() for event in self._events)
            self._datagram = self._checked(bytes(self.header.to_bytearray()) + self._to_prefix() + events)
        return self._datagram

    @classmethod
    def from_datagram(cls: type[_Self], datagram: bytes) -> _Self:
        """Decode what `to_datagram` returned.

        Raises:
            ProtocolIDMismatchError: it is no package of PyGaSe.
        """
        header, payload = Header.deconstruct_datagram(datagram)
        package, block = cls._from_prefix(header, payload)
        package._events = [Event.from_bytes(bytepack) for bytepack in _split(block)]
        package._datagram = datagram
        return package

    def _to_prefix(self) -> bytes:
        """What stands between header and events."""
        return b""

    @classmethod
    def _from_prefix(cls: type[_Self], header: Header, payload: bytes) -> tuple[_Self, bytes]:
        """A package without its events, and the rest of the payload."""
        return cls(header), payload

    def _checked(self, datagram: bytes) -> bytes:
        if len(datagram) > self._max_size:
            raise OverflowError(f"Package exceeds the maximum size of {self._max_size} bytes.")
        return datagram


class ClientPackage(Package):
    """A package from a client, with the time order of the state that it has."""

    def __init__(self, header: Header, time_order: int, events: list[Event] | None = None) -> None:
        super().__init__(header, events)
        self.time_order = Sqn(time_order)

    def _to_prefix(self) -> bytes:
        return self.time_order.to_sqn_bytes()

    @classmethod
    def _from_prefix(cls, header: Header, payload: bytes) -> tuple[ClientPackage, bytes]:
        return cls(header, Sqn.from_sqn_bytes(payload[:2])), payload[2:]


class ServerPackage(Package):
    """A package from a server, with an update for the client."""

    def __init__(
        self, header: Header, game_state_update: GameStateUpdate, events: list[Event] | None = None
    ) -> None:
        super().__init__(header, events)
        self.game_state_update = game_state_update

    def _to_prefix(self) -> bytes:
        bytepack = self.game_state_update.to_bytes()
        if len(bytepack) > self._max_size:
            raise OverflowError(f"Package exceeds the maximum size of {self._max_size} bytes.")
        return _block([bytepack])

    @classmethod
    def _from_prefix(cls, header: Header, payload: bytes) -> tuple[ServerPackage, bytes]:
        end = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES], "big")
        return cls(header, GameStateUpdate.from_bytes(payload[_LENGTH_BYTES:end])), payload[end:]


def _block(bytepacks: Iterable[bytes]) -> bytes:
    return b"".join(len(each).to_bytes(_LENGTH_BYTES, "big") + each for each in bytepacks)


def _split(block: bytes) -> Iterable[bytes]:
    while block:
        end = _LENGTH_BYTES + int.from_bytes(block[:_LENGTH_BYTES], "big")
        yield block[_LENGTH_BYTES:end]
        block = block[end:]
