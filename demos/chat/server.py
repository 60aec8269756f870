"""The server of the chat: who is connected, and whose line goes where."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from demos.chat import rules
from demos.chat.shared import DELIVERIES, GAME
from pygase_gevent import Backend, GameState, QueueFullError, UnknownClientError

Address = tuple[str, int]


class ChatServer:
    """A `Backend` whose game loop only handles events: one after the other, so order is the same for all."""

    def __init__(self) -> None:
        self._addresses: dict[int, Address] = {}
        self._user_ids: dict[Address, int] = {}
        self._new_ids = itertools.count(1)
        self.backend = Backend(
            GameState(users={}),
            lambda game_state, dt: {},
            {"SAY": self._say},
            on_drop=self._drop,
            on_reconnect=self._reconnect,
            on_leave=self._leave,
            game=GAME,
            deliveries=DELIVERIES,
        )

    def _say(self, line: str, client_address: Address, game_state: GameState) -> dict[str, Any]:
        if client_address not in self._user_ids:
            user_id = next(self._new_ids)
            self._user_ids[client_address], self._addresses[user_id] = user_id, client_address
        return self._apply(rules.handle_line(game_state.users, self._user_ids[client_address], str(line)))

    def _drop(self, client_address: Address, game_state: GameState) -> dict[str, Any]:
        return self._apply(
            rules.notify_room(game_state.users, self._id(client_address), "lost the connection")
        )

    def _reconnect(self, client_address: Address, game_state: GameState) -> dict[str, Any]:
        return self._apply(rules.notify_room(game_state.users, self._id(client_address), "is back"))

    def _leave(self, client_address: Address, game_state: GameState) -> dict[str, Any]:
        user_id = self._id(client_address)
        update = self._apply(rules.leave(game_state.users, user_id))
        self._user_ids.pop(client_address, None)
        self._addresses.pop(user_id, None)
        return update

    def _id(self, client_address: Address) -> int:
        return self._user_ids.get(client_address, 0)

    def _apply(self, outcome: rules.Outcome) -> dict[str, Any]:
        for show in outcome.shows:
            for user_id in show.to:
                self._show(user_id, show)
        return {"users": outcome.changes} if outcome.changes else {}

    def _show(self, user_id: int, show: rules.Show) -> None:
        # Unknown: is leaving at this moment. Full: has been away for thousands of lines.
        with contextlib.suppress(UnknownClientError, QueueFullError):
            self.backend.server.dispatch_event(
                "SHOW", show.kind, show.name, show.text, target_client=self._addresses[user_id]
            )
