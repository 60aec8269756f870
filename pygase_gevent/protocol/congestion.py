"""How fast bulk may leave: NewReno's window (RFC 9002, 7) and a pacer (7.7).

The window governs bulk only, so only bulk counts as in flight here; but every loss shrinks it,
whatever was lost, because the path is the same.
"""

from __future__ import annotations

from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.protocol.netcode.packet import MAX_PAYLOAD_BYTES

PACING_GAIN: Final = 1.25
"""Bulk is paced at this many windows per round trip, so that pacing never starves the window."""
BURST_S: Final = 0.002
"""What a timer of a hub wakes up late by; so much of the pace may leave in one burst."""
LOSS_REDUCTION: Final = 0.5


class CongestionWindow:
    """NewReno: slow start, congestion avoidance, recovery periods, persistent congestion.

    Attributes:
        window_bytes: bytes of bulk that may be in flight.
        bytes_in_flight: bytes of bulk that are.
    """

    __slots__ = (
        "_acked_bytes",
        "_before",
        "_epoch_losses",
        "_max_bytes",
        "_min_bytes",
        "_recovery_start",
        "_slow_start_threshold",
        "bytes_in_flight",
        "window_bytes",
    )

    def __init__(self, config: Config) -> None:
        self._min_bytes = config.min_window_packets * MAX_PAYLOAD_BYTES
        self._max_bytes = max(config.max_window_bytes, self._min_bytes)
        self._slow_start_threshold = self._max_bytes
        self._recovery_start = -1.0
        self._acked_bytes = 0
        self._before = (self._min_bytes, self._max_bytes)
        self._epoch_losses = 0
        self.window_bytes = self._min_bytes
        self.bytes_in_flight = 0

    @property
    def has_room(self) -> bool:
        """Whether another packet of bulk fits."""
        return self.bytes_in_flight + MAX_PAYLOAD_BYTES <= self.window_bytes

    @property
    def is_slow_start(self) -> bool:
        """Whether the window still doubles per round trip."""
        return self.window_bytes < self._slow_start_threshold

    def packet_sent(self, size_bytes: int) -> None:
        """A packet with bulk left."""
        self.bytes_in_flight += size_bytes

    def packet_acked(self, size_bytes: int, sent_at: float, was_limited: bool) -> None:
        """Bulk arrived. The window grows only if more bulk was waiting when it left (7.8)."""
        self.bytes_in_flight -= size_bytes
        if sent_at <= self._recovery_start or not was_limited:
            return
        if self.is_slow_start:
            self.window_bytes = min(self.window_bytes + size_bytes, self._max_bytes)
            return
        self._acked_bytes += size_bytes
        if self._acked_bytes >= self.window_bytes:
            self._acked_bytes -= self.window_bytes
            self.window_bytes = min(self.window_bytes + MAX_PAYLOAD_BYTES, self._max_bytes)

    def bulk_lost(self, size_bytes: int) -> None:
        """A packet with bulk is no longer in flight."""
        self.bytes_in_flight -= size_bytes

    def congestion_event(self, sent_at: float, now: float) -> None:
        """A packet sent at `sent_at` was lost: halve the window, once per round trip (7.3.2)."""
        if sent_at <= self._recovery_start:
            self._epoch_losses += 1
            return
        self._before = (self.window_bytes, self._slow_start_threshold)
        self._epoch_losses = 1
        self._recovery_start = now
        self._acked_bytes = 0
        self.window_bytes = max(int(self.window_bytes * LOSS_REDUCTION), self._min_bytes)
        self._slow_start_threshold = self.window_bytes

    def loss_was_spurious(self) -> None:
        """A packet that counted as lost arrived. If that is true of all of them since the window was
        halved, the path reorders and is not congested: the halving is undone (as RFC 4015 does for TCP)."""
        self._epoch_losses -= 1
        if self._epoch_losses == 0:
            window_bytes, threshold = self._before
            self.window_bytes = max(self.window_bytes, window_bytes)
            self._slow_start_threshold = max(self._slow_start_threshold, threshold)

    def persistent_congestion(self) -> None:
        """Everything was lost for three probe timeouts: begin anew (7.6.2)."""
        self.window_bytes = self._min_bytes
        self._recovery_start = -1.0
        self._acked_bytes = 0


class Pacer:
    """A token bucket that spreads bulk over the round trip (RFC 9002, 7.7)."""

    __slots__ = ("_budget_bytes", "_burst_bytes", "_rate", "_updated_at")

    def __init__(self, config: Config, now: float) -> None:
        self._burst_bytes = float(config.min_window_packets * MAX_PAYLOAD_BYTES)
        self._budget_bytes = self._burst_bytes
        self._rate = self._burst_bytes / config.initial_rtt_s
        self._updated_at = now

    def set_rate(self, window_bytes: int, smoothed_rtt_s: float) -> None:
        """The window or the round trip changed."""
        self._rate = PACING_GAIN * window_bytes / max(smoothed_rtt_s, 1e-4)

    def is_ready(self, now: float) -> bool:
        """Whether a packet of bulk may leave now."""
        if now > self._updated_at:
            limit = max(self._burst_bytes, self._rate * BURST_S)
            self._budget_bytes = min(limit, self._budget_bytes + self._rate * (now - self._updated_at))
            self._updated_at = now
        return self._budget_bytes >= MAX_PAYLOAD_BYTES

    def packet_sent(self, size_bytes: int) -> None:
        """A packet of bulk left (also one that was let through without asking)."""
        self._budget_bytes = max(self._budget_bytes - size_bytes, -self._burst_bytes)

    def ready_at(self) -> float:
        """When the next packet of bulk may leave, given that none leaves before."""
        missing = MAX_PAYLOAD_BYTES - self._budget_bytes
        return self._updated_at + max(0.0, missing) / self._rate
