"""The authoritative game: whatever a client says is a wish, the rules decide."""

from __future__ import annotations

import itertools
import math
from typing import Any

from demos.pong import rules
from demos.pong.shared import DELIVERIES, GAME
from pygase_gevent import Backend, GameState

Address = tuple[str, int]


class PongServer:
    """A `Backend` that plays by `rules`."""

    def __init__(self) -> None:
        self._player_ids: dict[Address, int] = {}
        self._new_ids = itertools.count(1)
        self.backend = Backend(
            rules.new_game(),
            rules.step,
            {"JOIN": self._join, "AIM": self._aim},
            on_leave=self._leave,
            game=GAME,
            deliveries=DELIVERIES,
        )

    def _join(
        self, name: str, is_bot: bool, is_watching: bool, client_address: Address, game_state: GameState
    ) -> dict[str, Any]:
        if client_address not in self._player_ids:
            self._player_ids[client_address] = next(self._new_ids)
        player_id = self._player_ids[client_address]
        self.backend.server.dispatch_event("YOU_ARE", player_id, target_client=client_address)
        return rules.join(game_state, player_id, str(name), bool(is_bot), bool(is_watching))

    def _leave(self, client_address: Address, game_state: GameState) -> dict[str, Any]:
        player_id = self._player_ids.pop(client_address, 0)
        return rules.leave(game_state, player_id) if player_id else {}

    def _aim(self, y: float, client_address: Address, game_state: GameState) -> dict[str, Any]:
        side = rules.side_of(game_state, self._player_ids.get(client_address, 0))
        if side is None or not isinstance(y, (int, float)) or not math.isfinite(y):
            return {}
        return rules.aim(side, y)
