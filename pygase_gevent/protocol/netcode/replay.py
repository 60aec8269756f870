"""Replay protection (STANDARD.md, Replay Protection)."""

from __future__ import annotations


class ReplayWindow:
    """Remembers which sequences were received among the latest `size`.

    A sequence is only recorded once its packet has proven authentic, so nobody can move the window
    from outside.
    """

    __slots__ = ("_most_recent", "_received", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._most_recent = 0
        self._received = [-1] * size

    def is_received(self, sequence: int) -> bool:
        """Whether a packet of that sequence was received already, or is too old to know."""
        # On the subtraction side, as everywhere: an addition would overflow in 64 bits near the
        # top of the sequence space, and this line will be ported some day.
        if sequence <= self._most_recent - self._size:
            return True
        return self._received[sequence % self._size] >= sequence

    def advance(self, sequence: int) -> None:
        """Records the sequence of an authentic packet that `is_received` let pass."""
        self._received[sequence % self._size] = sequence
        if sequence > self._most_recent:
            self._most_recent = sequence
