"""The network side of a player: what he does goes to the server, what the server knows comes back."""

from __future__ import annotations

import secrets
from collections import deque

from demos.pong import rules
from demos.pong.shared import DELIVERIES, GAME
from pygase_gevent import Client, ConnectionStatus, GameState
from pygase_gevent.errors import NotRunningError
from pygase_gevent.mirror import TimedState

CONNECT_TIMEOUT_S = 5.0
MAX_PENDING = 120  # moves that the server has not made yet: two seconds of them


class PongClient:
    """Somebody at the game: a player, a bot or a spectator.

    Attributes:
        player_id: the server's number for this player; 0 until it has said it.
    """

    def __init__(self, name: str, *, is_bot: bool = False, is_watching: bool = False) -> None:
        self.name = name
        self.player_id = 0
        self._who = (secrets.token_hex(16), name, is_bot, is_watching)
        self._pending: deque[tuple[int, int]] = deque(maxlen=MAX_PENDING)  # number and way of each move
        self._last_number = 0
        self.client = Client(game=GAME, deliveries=DELIVERIES)
        self.client.on_connect = self._join
        self.client.register_event_handler("YOU_ARE", self._set_player_id)

    def connect(self, host: str, port: int) -> None:
        """Connects, and returns once this player stands in the game. Raises `ConnectError`."""
        self.client.connect_in_thread(port, host)
        self.client.wait_connected(CONNECT_TIMEOUT_S)
        self.client.try_to(lambda game: game.players[self.player_id], CONNECT_TIMEOUT_S)

    @property
    def status(self) -> ConnectionStatus:
        return self.client.connection.status

    def game(self) -> GameState:
        """The newest state of the game here; it never changes, the next one is another object."""
        with self.client.access_game_state() as game:
            return game

    def states(self) -> list[TimedState]:
        """The last states of the game, oldest first, without those of an earlier run of the server."""
        states = self.client.recent_states()
        for index in range(len(states) - 1, 0, -1):
            if states[index - 1].game_state.tick > states[index].game_state.tick:
                return states[index:]
        return states

    def game_tick(self) -> float:
        """The game's clock on the server at this moment, as estimated here, in ticks."""
        now, states = self.client.server_time or 0.0, self.states()
        # A state may leave late after its step, but never early.
        started = min((at - game.tick * rules.TICK_S for at, game in states), default=now)
        return float((now - started) / rules.TICK_S)

    def move(self, way: float, dt: float) -> None:
        """Moves the own paddle in a frame: here at once, on the server half a round trip later.

        Args:
            way: how far down, in field units; no further than the paddle's speed lets it in `dt` seconds.
        """
        limit = rules.PADDLE_SPEED * min(dt, 0.1)
        hundredths = int(max(-limit, min(limit, way)) * rules.MOVES_PER_UNIT)
        if self.status != ConnectionStatus.CONNECTED or rules.side_of(self.game(), self.player_id) is None:
            self._pending.clear()
        elif hundredths:
            self._last_number += 1
            self._pending.append((self._last_number, hundredths))
        if self._pending:  # all that may have been lost goes again: a lost datagram costs a frame
            try:
                self.client.dispatch_event("MOVE", self._pending[0][0], [way for _, way in self._pending])
            except NotRunningError:
                self._pending.clear()  # the connection has just ended

    def paddle_y(self) -> float:
        """Where the own paddle is: the server's word, and the moves made since that it does not know of."""
        paddle = self.game().paddles[rules.side_of(self.game(), self.player_id) or "left"]
        while self._pending and self._pending[0][0] <= paddle["applied"]:
            self._pending.popleft()
        y = float(paddle["y"])
        for _, way in self._pending:
            y = rules.moved(y, way)
        return y

    def _join(self) -> None:
        self.player_id = 0
        self.client.dispatch_event("JOIN", *self._who)

    def _set_player_id(self, player_id: int) -> None:
        self.player_id = player_id
