"""Decisions read from bytes, so that one input means the same to Hypothesis, atheris and the corpus."""

from __future__ import annotations

from struct import Struct

_WIDTHS = {1: Struct("<B"), 2: Struct("<H"), 4: Struct("<I"), 8: Struct("<Q")}


class Source:
    """Reads decisions from the front of some bytes. Behind their end all decisions are 0.

    Attributes:
        left: what was not read yet.
    """

    def __init__(self, data: bytes) -> None:
        self.left = data

    def __bool__(self) -> bool:
        return bool(self.left)

    def number(self, width: int = 1) -> int:
        """An unsigned number of so many bytes."""
        (number,) = _WIDTHS[width].unpack(self.take(width).ljust(width, b"\0"))
        return int(number)

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1; `limit` is at most 65536."""
        return self.number(1 if limit <= 256 else 2) % limit

    def flag(self) -> bool:
        return bool(self.number() & 1)

    def blob(self, limit: int = 65535) -> bytes:
        """Bytes with their length before them."""
        return self.take(min(self.number(1 if limit < 256 else 2), limit))

    def take(self, size: int) -> bytes:
        """So many bytes, or what is left."""
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def mutated(self, honest: bytes) -> bytes:
        """Bytes like these, but for a few changes."""
        data = bytearray(honest)
        for _ in range(1 + self.below(4)):
            way, place = self.below(5), self.number(2)
            if not data:
                return bytes(data)
            place %= len(data)
            if way == 0:
                data[place] = self.number()
            elif way == 1:
                data[place] ^= 1 << self.below(8)
            elif way == 2:
                del data[place:]
            elif way == 3:
                data[place:place] = self.blob(16)
            else:
                del data[place : place + 1 + self.below(16)]
        return bytes(data)
