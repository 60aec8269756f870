"""`pygase.backend`: store, state machine and server, and the three in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pygase_gevent.legacy.gamestate import GameState
from pygase_gevent.legacy.server import GameStateMachine, GameStateStore, Server, ServerConnection
from pygase_gevent.legacy.utils import logger

__all__ = ["Backend", "GameStateMachine", "GameStateStore", "Server", "ServerConnection"]


class Backend:
    """A complete backend.

    Args:
        initial_game_state: the state before the game begins.
        time_step_function: called as `time_step_function(game_state, dt)`; returns changes.
        event_handlers: handlers of the state machine by event type.

    Attributes:
        game_state_store, game_state_machine, server: what it is made of.
    """

    def __init__(
        self,
        initial_game_state: GameState,
        time_step_function: Callable[[GameState, float], Any],
        event_handlers: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.game_state_store = GameStateStore(initial_game_state)
        self.game_state_machine = GameStateMachine(self.game_state_store)
        self.game_state_machine.time_step = time_step_function  # type: ignore[method-assign, assignment]
        for event_type, function in (event_handlers or {}).items():
            self.game_state_machine.register_event_handler(event_type, function)
        self.server = Server(self.game_state_store)

    def run(self, hostname: str, port: int) -> None:
        """Run until `shutdown`, Ctrl-C or SIGTERM; the game loop in a thread of its own, the server in this.

        Two threads, because PyGaSe's time steps and handlers may block or compute as they like.
        """
        self.game_state_machine.run_game_loop_in_thread()
        try:
            self.server.run(port, hostname, self.game_state_machine)
        finally:
            self.game_state_machine.stop()
        logger.info("Backend successfully shut down.")

    def shutdown(self) -> None:
        """Stop server and game loop."""
        self.server.shutdown()
