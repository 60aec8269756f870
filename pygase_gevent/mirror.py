"""The server's state as a client has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pygase_gevent.config import Config
from pygase_gevent.gamestate import GameState
from pygase_gevent.hub.signal import Signal


class TimedState(NamedTuple):
    """A state, and when it was the server's.

    Attributes:
        server_time: seconds of the server's game clock.
        game_state: for reading.
    """

    server_time: float
    game_state: GameState


class StateMirror:
    """The newest states received. Written in the hub's thread, read in any.

    What it holds is replaced, never changed.

    Args:
        config: how many states are kept.
    """

    def __init__(self, config: Config) -> None:
        self.changed = Signal()
        self.game_state = GameState()
        self.recent: tuple[TimedState, ...] = ()
        self._keep = config.recent_states

    def clear(self) -> None:
        """Another connection begins."""
        self.game_state = GameState()
        self.recent = ()

    def take(self, game_state: GameState, server_time: float) -> None:
        """A state arrived."""
        self.recent = (*self.recent[1 - self._keep :], TimedState(server_time, game_state))
        self.game_state = game_state
        self.changed.notify()

    def wait_for(self, predicate: Callable[[], object], timeout: float | None) -> bool:
        """Wait until `predicate()` is true, looking again at each change; whether it became true in time."""
        return self.changed.wait_for(predicate, timeout)
