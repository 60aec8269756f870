"""The network side of a player, and a bot that plays on it."""

from __future__ import annotations

import random
import time

from demos.pong import rules
from demos.pong.shared import DELIVERIES, GAME, STEP_S
from pygase_gevent import Client, ConnectionStatus, GameState

CONNECT_TIMEOUT_S = 5.0


class PongClient:
    """Somebody at the game: a player, a bot or a spectator.

    Attributes:
        player_id: the server's number for this player; 0 until it has said it.
    """

    def __init__(self, name: str, *, is_bot: bool = False, is_watching: bool = False) -> None:
        self.name = name
        self.player_id = 0
        self._is_bot = is_bot
        self._is_watching = is_watching
        self._aimed_at = -1.0
        self.client = Client(game=GAME, deliveries=DELIVERIES)
        self.client.on_connect = self._join
        self.client.register_event_handler("YOU_ARE", self._set_player_id)

    def connect(self, host: str, port: int) -> None:
        """Connects, and returns once this player stands in the game.

        Raises:
            ConnectionError: the server is full, closed the connection, or does not answer.
        """
        self.client.connect_in_thread(port, host)
        self.client.wait_connected(CONNECT_TIMEOUT_S)
        self.client.try_to(lambda game: game.players[self.player_id], CONNECT_TIMEOUT_S)

    def disconnect(self) -> None:
        self.client.disconnect()

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended for good."""
        return self.client.connection.status == ConnectionStatus.DISCONNECTED

    def game(self) -> GameState:
        """The newest state of the game here; it never changes, the next one is another object."""
        with self.client.access_game_state() as game:
            return game

    def aim(self, y: float) -> None:
        """Asks the server to move this player's paddle to `y`."""
        if y != self._aimed_at:
            self._aimed_at = y
            self.client.dispatch_event("AIM", y, retries=3)

    def network_line(self) -> str:
        """Round trip, loss and update rate as a line to show."""
        connection = self.client.connection
        states = self.client.recent_states()
        elapsed_s = states[-1][0] - states[0][0] if len(states) > 1 else 0.0
        rate_hz = (len(states) - 1) / elapsed_s if elapsed_s > 0 else 0.0
        return (
            f"round trip {connection.latency * 1000:.1f} ms, loss {connection.stats.loss:.1%}, "
            f"{rate_hz:.1f} updates/s"
        )

    def _join(self) -> None:
        self.client.dispatch_event("JOIN", self.name, self._is_bot, self._is_watching)

    def _set_player_id(self, player_id: int) -> None:
        self.player_id = player_id


class Bot:
    """Aims for where the ball will be, and misses now and then."""

    def __init__(self) -> None:
        self._random = random.Random()
        self._error = 0.0
        self._speed = 0.0

    def play(self, player: PongClient, seconds: float) -> None:
        """Plays until the time is over or the connection is; 0 seconds: only the latter."""
        ends_at = time.monotonic() + seconds if seconds else float("inf")
        while time.monotonic() < ends_at and not player.is_over:
            self.move(player)
            time.sleep(STEP_S)

    def move(self, player: PongClient) -> None:
        """Aims once, by the newest state."""
        game = player.game()
        side = rules.side_of(game, player.player_id)
        if side is None:
            return
        if game.ball["vx"] != self._speed:  # served or hit: it guesses anew
            self._speed = game.ball["vx"]
            self._error = self._random.uniform(-0.9, 0.9) * rules.PADDLE_HEIGHT
        player.aim(rules.bot_target(game, side, self._error))
