"""Somebody to play against: goes for where the ball will be, and misses now and then."""

from __future__ import annotations

import random
import time

from demos.pong import rules
from demos.pong.network import PongClient
from demos.pong.shared import STEP_S
from pygase_gevent import ConnectionStatus

ERROR = 0.85
"""By how much it misjudges a ball, as a share of the paddle's height."""
NEAR_ENOUGH = 1.0


class Bot:
    """Decides where a paddle goes; it knows what a player can see."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._error = 0.0
        self._judged: tuple[int, float] = (0, 0.0)

    def play(self, player: PongClient, seconds: float, step_s: float = STEP_S) -> None:
        """Plays without a screen until the time is over or the connection is; 0 seconds: only the latter."""
        ends_at = time.monotonic() + seconds if seconds else float("inf")
        while time.monotonic() < ends_at and player.status != ConnectionStatus.DISCONNECTED:
            player.move(self.way(player), step_s)
            time.sleep(step_s)

    def way(self, player: PongClient) -> float:
        """How far down the paddle should go, in field units."""
        game = player.game()
        side = rules.side_of(game, player.player_id)
        if side is None:
            return 0.0
        if self._judged != (game.serve, game.ball["vx"]):  # served or hit: it judges anew
            self._judged = (game.serve, game.ball["vx"])
            self._error = self._random.uniform(-ERROR, ERROR) * rules.PADDLE_HEIGHT
        crossing = rules.crossing(game, side)
        target = rules.HEIGHT / 2 if crossing is None else crossing + self._error
        way = target - player.paddle_y()
        return way if abs(way) > NEAR_ENOUGH else 0.0
