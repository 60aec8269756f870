"""A bad line as a pure function: datagram and time in, deliveries out.

The same model drives the relay, which carries real datagrams in real time, and a simulation in
virtual time. It fetches neither time nor randomness: one seed and the same calls give the same line.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from pygase_gevent.errors import ArgumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """How bad one direction of a line is; the default is a perfect line.

    Attributes:
        loss: share of datagrams that vanish, 0 to 1.
        delay_s: how long every datagram is under way.
        jitter_s: each takes up to this much longer or shorter, evenly spread; datagrams overtake
            each other by it. Never delivered before it was sent.
        duplicate: share of datagrams that arrive twice, the second with a jitter of its own.
        reorder: share of datagrams held back by `reorder_s`, so that later ones overtake them
            also on a line without jitter.
        reorder_s: how long those are held back.
        corrupt: share of datagrams that arrive with one bit flipped.

    Raises:
        ArgumentError: a share is not within 0 to 1, or a time is negative.
    """

    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_s: float = 0.02
    corrupt: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder", "corrupt"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ArgumentError(f"LinkOptions.{name} is a share from 0 to 1, not {getattr(self, name)!r}")
        for name in ("delay_s", "jitter_s", "reorder_s"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ArgumentError(f"LinkOptions.{name} is a time in seconds, not {getattr(self, name)!r}")


PERFECT_LINE = LinkOptions()


class LinkModel:
    """One direction of a line.

    Every datagram costs the same number of draws whatever the options are, so changing the loss
    changes neither the jitter nor the duplicates of a run with the same seed.

    Attributes:
        options: how bad the line is now; assign other options at any time.
        is_cut: while true nothing gets in. What is under way still arrives.
        counts: datagrams `"sent"` into the line and what became of them: `"delivered"`, `"lost"`,
            `"cut"`, `"duplicated"`, `"reordered"`, `"corrupted"`.
    """

    def __init__(self, options: LinkOptions = PERFECT_LINE, *, rng: random.Random | int = 0) -> None:
        self.options = options
        self.is_cut = False
        self.counts: Counter[str] = Counter()
        self._rng = rng if isinstance(rng, random.Random) else random.Random(rng)

    def deliveries(self, datagram: bytes, now: float) -> list[tuple[float, bytes]]:
        """Sends a datagram into the line.

        Args:
            datagram: its payload.
            now: the time in seconds, of any clock.

        Returns:
            For each copy that arrives, when, in seconds of the same clock, and with which bytes: none
            for a lost datagram, one usually, two for a duplicate. Not sorted by time.
        """
        options, rng = self.options, self._rng
        loss, duplicate, reorder, corrupt, bit, first, second = (rng.random() for _ in range(7))
        self.counts["sent"] += 1
        if self.is_cut:
            self.counts["cut"] += 1
            return []
        if loss < options.loss:
            self.counts["lost"] += 1
            return []
        held_back_s = 0.0
        if reorder < options.reorder:
            self.counts["reordered"] += 1
            held_back_s = options.reorder_s
        if corrupt < options.corrupt and datagram:
            self.counts["corrupted"] += 1
            datagram = _flip_bit(datagram, int(bit * len(datagram) * 8))
        spreads = [first]
        if duplicate < options.duplicate:
            self.counts["duplicated"] += 1
            spreads.append(second)
        self.counts["delivered"] += len(spreads)
        return [
            (now + max(0.0, options.delay_s + options.jitter_s * (2 * spread - 1)) + held_back_s, datagram)
            for spread in spreads
        ]


def _flip_bit(datagram: bytes, position: int) -> bytes:
    flipped = bytearray(datagram)
    flipped[position // 8] ^= 1 << position % 8
    return bytes(flipped)
