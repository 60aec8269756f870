"""What was received, and when to say so.

Only payloads count. The newest sequence and the 64 before it are remembered, which is what an
acknowledgement can name; a payload older than that can never be acknowledged, so its messages are not
taken (they come again) while everything in it that needs no acknowledgement is.
"""

from __future__ import annotations

from math import inf
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.protocol.layout import MASK_ONES, ONES_64

MASK_BITS: Final = 64


class ReceivedPackets:
    """The acknowledging half of a connection (RFC 9000, 13.2).

    Attributes:
        largest: largest received sequence, -1 before the first.
        mask: bit i stands for `largest - 1 - i`. Sequences below 0 do not exist and count as received.
            Signed: without gaps it is -1.
        ack_deadline: when an acknowledgement must leave; infinity when nothing asks for one.
        next_send_at: when a packet leaves anyway, as far as the rate of those before tells; 0 if it does not.
    """

    __slots__ = (
        "_delay_s",
        "_eliciting",
        "_every",
        "_largest_at",
        "_max_delay_s",
        "ack_deadline",
        "largest",
        "mask",
        "next_send_at",
    )

    def __init__(self, config: Config) -> None:
        self._delay_s = config.ack_delay_s
        self._max_delay_s = config.max_ack_delay_s
        self.next_send_at = 0.0
        self._every = config.ack_every_packets
        self._largest_at = 0.0
        self._eliciting = 0
        self.largest = -1
        self.mask = MASK_ONES
        self.ack_deadline = inf

    def is_too_old(self, sequence: int) -> bool:
        """Whether the payload lies below what an acknowledgement could name."""
        return sequence < self.largest - MASK_BITS

    def is_received(self, sequence: int) -> bool:
        """Whether this payload was recorded (or is too old to tell)."""
        distance = self.largest - sequence
        if distance <= 0:
            return distance == 0
        return distance > MASK_BITS or bool(self.mask >> (distance - 1) & 1)

    def record(self, sequence: int, is_ack_eliciting: bool, now: float) -> None:
        """A payload was taken. One that leaves or fills a gap is acknowledged at once (13.2.1)."""
        is_in_order = True
        shift = sequence - self.largest
        if shift == 1 and self.mask == MASK_ONES:  # nearly always
            self.largest = sequence
            self._largest_at = now
        elif shift > 0:
            is_in_order = shift == 1
            # A first payload has shifted in a one for sequence -1, which does not exist.
            self.mask = _signed_64(self.mask << shift | 1 << (shift - 1)) if shift <= MASK_BITS else 0
            self.largest = sequence
            self._largest_at = now
        elif -shift <= MASK_BITS and shift:
            is_in_order = False
            self.mask = _signed_64(self.mask | 1 << (-shift - 1))
        if not is_ack_eliciting:
            return
        self._eliciting += 1
        if not is_in_order or self._eliciting >= self._every:
            self.ack_deadline = now
        elif self.ack_deadline == inf:
            self.ask_for_ack(now)

    def ask_for_ack(self, now: float) -> None:
        """Say something soon although nothing new was recorded."""
        if self.ack_deadline == inf:
            self.ack_deadline = max(now + self._delay_s, min(self.next_send_at, now + self._max_delay_s))

    def delay_s(self, now: float) -> float:
        """How long the largest received payload has waited for its acknowledgement."""
        return max(0.0, now - self._largest_at)

    def acknowledged(self) -> None:
        """An acknowledgement of everything recorded has left."""
        self._eliciting = 0
        self.ack_deadline = inf


def _signed_64(mask: int) -> int:
    mask &= ONES_64
    return mask - (1 << MASK_BITS) if mask >> (MASK_BITS - 1) else mask
