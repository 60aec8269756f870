"""The authoritative game: whatever a client says is a wish, the rules decide."""

from __future__ import annotations

import itertools
from typing import Any

from demos.pong import rules
from demos.pong.savefile import MAX_SECRET, SaveFile
from demos.pong.shared import DELIVERIES, GAME
from pygase_gevent import Backend, GameState
from pygase_gevent.config import Config

Address = tuple[str, int]

CONFIG = Config(timeout_s=3.0)
"""Silence after which a player counts as dropped: the other one should not wait for long."""
MAX_MOVES = 240
MAX_MOVE = 10_000


class PongServer:
    """A `Backend` that plays by `rules`.

    Args:
        save_file: where the match stands between two runs of the server; a new process goes on with it.
    """

    def __init__(self, save_file: SaveFile | None = None) -> None:
        self._save_file = save_file
        self._secrets: dict[int, str] = {}  # of each player; who knows it is that player
        self._addresses: dict[Address, int] = {}
        self._rest_s = 0.0
        game = rules.new_game()
        match = save_file.load() if save_file is not None else None
        if match is not None:
            self._secrets = match.secrets
            game = rules.continued_game(match.score, match.players, match.seats)
        self._new_ids = itertools.count(1 + max(self._secrets, default=0))
        self.backend = Backend(
            game,
            self._step,
            {"JOIN": self._join, "MOVE": self._move},
            on_drop=self._drop,
            on_reconnect=self._come_back,
            on_leave=self._leave,
            game=GAME,
            deliveries=DELIVERIES,
            config=CONFIG,
        )

    def _step(self, game_state: GameState, dt: float) -> dict[str, Any]:
        if self._save_file is not None:
            self._save_file.save(game_state, self._secrets)
        ghost = next((player for player in game_state.players if self._is_ghost(game_state, player)), None)
        if ghost is not None:
            del self._secrets[ghost]
            return rules.leave(game_state, ghost)
        ticks, self._rest_s = divmod(self._rest_s + dt, rules.TICK_S)
        return rules.step(game_state, int(ticks))

    def _is_ghost(self, game: GameState, player_id: int) -> bool:
        """Whether it is a player of an earlier run who did not come back in time."""
        is_late = 0 < game.players[player_id]["back_by"] <= game.tick
        return is_late and player_id not in self._addresses.values()

    def _join(
        self,
        secret: str,
        name: str,
        is_bot: bool,
        is_watching: bool,
        client_address: Address,
        game_state: GameState,
    ) -> dict[str, Any]:
        if not isinstance(secret, str) or not 0 < len(secret) <= MAX_SECRET or not isinstance(name, str):
            return {}
        known = (player for player, its_secret in self._secrets.items() if its_secret == secret)
        player_id = next(known, 0)
        if self._addresses.get(client_address, player_id) != player_id:
            return {}  # one player per client: nobody would ever take away the other one
        is_new = player_id not in game_state.players
        if is_new:
            player_id = next(self._new_ids)
            self._secrets[player_id] = secret
        self._addresses = {address: at for address, at in self._addresses.items() if at != player_id}
        self._addresses[client_address] = player_id
        self.backend.server.dispatch_event("YOU_ARE", player_id, target_client=client_address)
        if is_new:
            return rules.join(game_state, player_id, name, bool(is_bot), bool(is_watching))
        return rules.come_back(game_state, player_id)

    def _drop(self, client_address: Address, game_state: GameState) -> dict[str, Any]:
        player_id = self._addresses.get(client_address)
        return rules.drop(game_state, player_id) if player_id else {}

    def _come_back(self, client_address: Address, game_state: GameState) -> dict[str, Any]:
        player_id = self._addresses.get(client_address)
        return rules.come_back(game_state, player_id) if player_id else {}

    def _leave(self, client_address: Address, game_state: GameState) -> dict[str, Any]:
        player_id = self._addresses.pop(client_address, None)
        if player_id is None:
            return {}
        del self._secrets[player_id]
        return rules.leave(game_state, player_id)

    def _move(
        self, first: int, ways: list[int], client_address: Address, game_state: GameState
    ) -> dict[str, Any]:
        side = rules.side_of(game_state, self._addresses.get(client_address, 0))
        if side is None or not isinstance(ways, list) or len(ways) > MAX_MOVES:
            return {}
        if not all(isinstance(way, int) and abs(way) <= MAX_MOVE for way in (*ways, 0)):
            return {}
        if not isinstance(first, int) or not 0 < first < 2**48:
            return {}
        return rules.move(game_state, side, first, ways)
