"""The server's state as a client has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from pygase_gevent.config import Config
from pygase_gevent.errors import WaitTimeoutError
from pygase_gevent.gamestate import GameState
from pygase_gevent.hub.signal import Signal

T = TypeVar("T")


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

    def wait_until(self, condition: Callable[[GameState], object], timeout: float | None) -> None:
        """Wait until a condition on the state holds. Raises `WaitTimeoutError`."""
        if not self.wait_for(lambda: condition(self.game_state), timeout):
            raise WaitTimeoutError(f"the condition did not hold within {timeout} s")

    def try_to(self, function: Callable[[GameState], T | None], timeout: float | None) -> T:
        """Call a function with the state until it works.

        Raises:
            WaitTimeoutError: in time it raised `KeyError` or `AttributeError`, or returned `None`, only.
        """
        result: T | None = None
        last_error: Exception | None = None

        def works() -> bool:
            nonlocal result, last_error
            try:
                result = function(self.game_state)
            except (KeyError, AttributeError) as error:
                last_error = error
                return False
            return result is not None

        self.wait_for(works, timeout)
        if result is None:
            raise WaitTimeoutError(f"the function did not work within {timeout} s") from last_error
        return result
