"""The figures of the line, over time: what the network panel shows."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from demos.pong import rules
from demos.pong.scene import Scene
from pygase_gevent.connection import ConnectionStats

SAMPLE_S = 0.1
WINDOW_S = 1.0
HISTORY = 120
"""Samples of the round trip: twelve seconds. Places of the paddle, one per frame: two."""


class Rates(NamedTuple):
    """What passed per second lately, each way."""

    sent: float
    sent_bytes: float
    received: float
    received_bytes: float


class Meter:
    """Looks at a scene in every frame.

    Attributes:
        round_trips_ms: the last ones.
        paddle: where the own paddle was drawn, and where the server had it by its newest state.
        rates: packets and bytes per second.
    """

    def __init__(self, scene: Scene) -> None:
        self.round_trips_ms: deque[float] = deque(maxlen=HISTORY)
        self.paddle: deque[tuple[float, float]] = deque(maxlen=HISTORY)
        self.rates = Rates(0.0, 0.0, 0.0, 0.0)
        self._scene = scene
        self._connection = scene.player.client.connection
        self._samples: deque[tuple[float, ConnectionStats]] = deque(maxlen=round(WINDOW_S / SAMPLE_S) + 1)

    @property
    def stats(self) -> ConnectionStats:
        return self._connection.stats

    def look(self, now: float) -> None:
        """Called once a frame."""
        scene = self._scene
        if scene.side is not None and scene.game is not None:
            self.paddle.append((scene.paddles[scene.side], scene.game.paddles[scene.side]["y"]))
        if self._samples and now - self._samples[-1][0] < SAMPLE_S:
            return
        stats = self.stats
        self._samples.append((now, stats))
        self.round_trips_ms.append(stats.round_trip_s * 1000)
        then, before = self._samples[0]
        if now > then:
            self.rates = Rates(
                (stats.packets_sent - before.packets_sent) / (now - then),
                (stats.bytes_sent - before.bytes_sent) / (now - then),
                (stats.packets_received - before.packets_received) / (now - then),
                (stats.bytes_received - before.bytes_received) / (now - then),
            )

    def lines(self) -> list[str]:
        """The figures in words."""
        stats, rates, scene = self.stats, self.rates, self._scene
        lines = [
            f"round trip {stats.round_trip_s * 1000:.0f} ms, jitter {stats.jitter_s * 1000:.0f} ms",
            f"loss {stats.loss:.1%} of late",
            f"sends {rates.sent:.0f} packets/s, {rates.sent_bytes / 1000:.1f} kB/s",
            f"gets {rates.received:.0f} packets/s, {rates.received_bytes / 1000:.1f} kB/s",
        ]
        if scene.side is not None and self.paddle:
            drawn, server = self.paddle[-1]
            ahead_ms = (scene.ahead - scene.behind) * rules.TICK_S * 1000
            lines.append(f"paddle at {drawn:.1f}, server says {server:.1f}")
            lines.append(f"drawn {ahead_ms:.0f} ms ahead of the other")
        return lines
