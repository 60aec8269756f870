"""Numbers that only grow: 64 bits inside, 16 or 32 on the wire, and the memory of those received.

Which 16 bits suffice: the sender keeps reliable numbers within a window of at most 16,384 above the
oldest that is not acknowledged. A payload that is older than the 64 before the newest is not taken, and
each carries at most 512 messages, so a number may lie at most 16,384 + 64 x 512 = 49,152 below what is
expected. Both together are exactly what 16 bits tell apart. Numbers of messages that may be given up
can run ahead without limit, so they have 32 bits.
"""

from __future__ import annotations

from typing import Final

AHEAD_16: Final = 16_384
"""16 bits are read as at most this far above what was seen, else below."""
AHEAD_32: Final = 1 << 31


def expand(truncated: int, newest: int, bits: int) -> int:
    """The number meant by its lowest `bits`, given the newest one seen (or the last before a window).

    >>> expand(3, 65_533, 16)
    65539
    """
    ahead = AHEAD_16 if bits == 16 else AHEAD_32
    lowest = newest + 1 + ahead - (1 << bits)
    return lowest + (truncated - lowest & (1 << bits) - 1)


class ReceivedNumbers:
    """Remembers which numbers of a window came: a base, and a bit for each number from it on.

    Args:
        window: how many numbers are remembered.
        may_skip: numbers may be given up: the window follows the newest, and what fell out of it counts
            as received. Otherwise it stands still at the first one missing.
    """

    __slots__ = ("_base", "_bits", "_may_skip", "_window")

    def __init__(self, window: int, *, may_skip: bool = False) -> None:
        self._window = window
        self._may_skip = may_skip
        self._base = 0
        self._bits = 0

    def expand(self, truncated: int) -> int:
        """The number meant by its lowest bits."""
        return expand(truncated, self._base - 1, 32 if self._may_skip else 16)

    def is_received(self, number: int) -> bool:
        """Whether this number came, or is too old to tell."""
        distance = number - self._base
        return distance < 0 or bool(self._bits and self._bits >> distance & 1)

    def is_first_missing(self, number: int) -> bool:
        """Whether the window waits for this number."""
        return number == self._base

    def is_beyond(self, number: int) -> bool:
        """Whether this number lies beyond the window."""
        return not self._may_skip and number - self._base >= self._window

    def record(self, number: int) -> None:
        """This number came."""
        distance = number - self._base
        if distance == 0 and not self._bits:
            self._base += 1
            return
        if self._may_skip and distance >= self._window:
            shift = distance - self._window + 1
            self._bits >>= shift
            self._base += shift
            distance -= shift
        bits = self._bits | 1 << distance
        ones = (~bits & bits + 1).bit_length() - 1
        self._bits = bits >> ones
        self._base += ones
