"""A bad line as a pure function: datagram and time in, deliveries out.

The same model drives the relay, which carries real datagrams in real time, and a simulation in
virtual time. It fetches neither time nor randomness: one seed and the same calls give the same line.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from math import inf

from pygase_gevent.errors import ArgumentError

_SHARES = ("loss", "duplicate", "reorder", "corrupt", "truncate", "burst_start", "burst_end", "burst_loss")
_DRAWS = 10
"""Random numbers per datagram."""


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
        truncate: share of datagrams that arrive cut short.
        burst_start: share of datagrams at which a burst of losses begins (Gilbert-Elliott's two states).
        burst_end: share of datagrams of a burst at which it ends; its mean length is the inverse.
        burst_loss: share of datagrams that vanish during a burst.
        rate_bytes_per_s: what the line carries, UDP payload bytes; infinite by default.
        queue_bytes: what waits where the line carries less than is sent; what does not fit is lost.

    Raises:
        ArgumentError: a share is not within 0 to 1, a time is negative, or a rate is not positive.
    """

    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_s: float = 0.02
    corrupt: float = 0.0
    truncate: float = 0.0
    burst_start: float = 0.0
    burst_end: float = 0.25
    burst_loss: float = 1.0
    rate_bytes_per_s: float = inf
    queue_bytes: int = 64 * 1024

    def __post_init__(self) -> None:
        for name in _SHARES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ArgumentError(f"LinkOptions.{name} is a share from 0 to 1, not {getattr(self, name)!r}")
        for name in ("delay_s", "jitter_s", "reorder_s"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ArgumentError(f"LinkOptions.{name} is a time in seconds, not {getattr(self, name)!r}")
        for name in ("rate_bytes_per_s", "queue_bytes"):
            if not getattr(self, name) > 0:
                raise ArgumentError(f"LinkOptions.{name} must be positive, not {getattr(self, name)!r}")


PERFECT_LINE = LinkOptions()


class LinkModel:
    """One direction of a line.

    Every datagram costs the same number of draws whatever the options are, so changing the loss
    changes neither the jitter nor the duplicates of a run with the same seed.

    Attributes:
        options: how bad the line is now; assign other options at any time.
        is_cut: while true nothing gets in. What is under way still arrives.
        counts: datagrams `"sent"` into the line and what became of them: `"delivered"`, `"lost"`,
            `"cut"`, `"overflowed"` (the queue), `"burst"` (lost in one), `"duplicated"`, `"reordered"`,
            `"corrupted"`, `"truncated"`.
    """

    def __init__(self, options: LinkOptions = PERFECT_LINE, *, rng: random.Random | int = 0) -> None:
        self.options = options
        self.is_cut = False
        self.counts: Counter[str] = Counter()
        self._rng = rng if isinstance(rng, random.Random) else random.Random(rng)
        self._is_in_burst = False
        self._free_at = 0.0

    def deliveries(self, datagram: bytes, now: float) -> list[tuple[float, bytes]]:
        """Sends a datagram into the line.

        Args:
            datagram: its payload.
            now: the time in seconds, of any clock.

        Returns:
            For each copy that arrives, when, in seconds of the same clock, and with which bytes: none
            for a lost datagram, one usually, two for a duplicate. Not sorted by time.
        """
        options, counts, draw = self.options, self.counts, self._rng.random
        loss, duplicate, reorder, corrupt, bit, first, second, truncate, size, burst = [
            draw() for _ in range(_DRAWS)
        ]
        counts["sent"] += 1
        was_in_burst = self._is_in_burst and options.burst_start > 0  # a line that became well has none
        self._is_in_burst = burst >= options.burst_end if was_in_burst else burst < options.burst_start
        if self.is_cut:
            counts["cut"] += 1
            return []
        if self._is_in_burst and loss < options.burst_loss:
            counts["burst"] += 1
            return []
        if loss < options.loss:
            counts["lost"] += 1
            return []
        delay_s = options.delay_s
        if options.rate_bytes_per_s != inf:
            waited_s = self._wait_in_queue(len(datagram), now)
            if waited_s is None:
                counts["overflowed"] += 1
                return []
            delay_s += waited_s
        held_back_s = 0.0
        if reorder < options.reorder:
            counts["reordered"] += 1
            held_back_s = options.reorder_s
        if corrupt < options.corrupt and datagram:
            counts["corrupted"] += 1
            datagram = _flip_bit(datagram, int(bit * len(datagram) * 8))
        if truncate < options.truncate and datagram:
            counts["truncated"] += 1
            datagram = datagram[: int(size * len(datagram))]
        spreads = [first]
        if duplicate < options.duplicate:
            counts["duplicated"] += 1
            spreads.append(second)
        counts["delivered"] += len(spreads)
        return [
            (now + max(0.0, delay_s + options.jitter_s * (2 * spread - 1)) + held_back_s, datagram)
            for spread in spreads
        ]

    def _wait_in_queue(self, size_bytes: int, now: float) -> float | None:
        """How long a datagram takes through the queue and onto the line; None if the queue is full."""
        options = self.options
        waited_s = max(0.0, self._free_at - now)
        if waited_s * options.rate_bytes_per_s + size_bytes > options.queue_bytes:
            return None
        waited_s += size_bytes / options.rate_bytes_per_s
        self._free_at = now + waited_s
        return waited_s


def _flip_bit(datagram: bytes, position: int) -> bytes:
    flipped = bytearray(datagram)
    flipped[position // 8] ^= 1 << position % 8
    return bytes(flipped)


class TwoWayLink:
    """The two directions of a line, and how they are changed while it is in use.

    Args:
        up: from the clients to the server.
        down: back; as `up` if not given.
        seed: of the randomness of both directions.
    """

    def __init__(self, up: LinkOptions, down: LinkOptions | None, seed: int) -> None:
        self._up = LinkModel(up, rng=2 * seed)
        self._down = LinkModel(up if down is None else down, rng=2 * seed + 1)

    def set_link(self, *, up: LinkOptions | None = None, down: LinkOptions | None = None) -> None:
        """Changes one direction or both from now on; what is under way arrives as it was sent."""
        if up is not None:
            self._up.options = up
        if down is not None:
            self._down.options = down

    def partition(self, *, up: bool = True, down: bool = True) -> None:
        """Cuts the named directions, and opens the other, until `heal`."""
        self._up.is_cut, self._down.is_cut = up, down

    def heal(self) -> None:
        """Ends a partition."""
        self.partition(up=False, down=False)

    @property
    def up_counts(self) -> Counter[str]:
        """What became of the clients' datagrams: see `LinkModel.counts`; of a relay also `"queue full"`."""
        return Counter(self._up.counts)

    @property
    def down_counts(self) -> Counter[str]:
        """What became of the server's datagrams."""
        return Counter(self._down.counts)
