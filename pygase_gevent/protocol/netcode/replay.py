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
        self._received = bytearray(size)
        """Flags, by the sequence's remainder: a twenty-fifth of what the sequences themselves would take."""

    def is_received(self, sequence: int) -> bool:
        """Whether a packet of that sequence was received already, or is too old to know."""
        age = self._most_recent - sequence
        return age >= 0 and (age >= self._size or self._received[sequence % self._size] == 1)

    def advance(self, sequence: int) -> None:
        """Records the sequence of an authentic packet that `is_received` let pass."""
        steps = sequence - self._most_recent
        if steps > 0:
            if steps > 1:
                self._forget(min(steps, self._size) - 1, sequence)
            self._most_recent = sequence
        self._received[sequence % self._size] = 1

    def _forget(self, count: int, sequence: int) -> None:
        """So many were left out before a sequence, and may still come."""
        for skipped in range(sequence - count, sequence):
            self._received[skipped % self._size] = 0
