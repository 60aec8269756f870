"""The state on the client's side, which a PyGaSe program may change for itself."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from greenlet import getcurrent

from pygase_gevent import gamestate
from pygase_gevent.legacy.gamestate import GameState
from pygase_gevent.legacy.utils import LockedRessource, wrapped
from pygase_gevent.legacy.values import carry_over, from_wire
from pygase_gevent.locks import allocate_rlock


class GameStateContext(LockedRessource):
    """`with context as game_state:` gives a state that nobody updates within the block.

    It takes in what arrived when a block begins, and never holds up the network. What the program
    changed in it stays until the server changes the same. Who begins a block while another is open
    shares its state, or gets a copy if something arrived meanwhile.

    Args:
        newest: returns the newest state received.
    """

    def __init__(self, newest: Callable[[], gamestate.GameState]) -> None:
        self._guard = allocate_rlock()  # held for moments, never while a block runs
        self._newest = newest
        self._seen = gamestate.GameState()
        self._blocks: dict[int, list[GameState]] = {}  # open ones, by greenlet
        super().__init__(GameState())

    @property
    def ressource(self) -> GameState:
        """The state: the newest, unless it is in use in a block."""
        with self._guard:
            if not self._is_in_use():
                self._take_in()
            return self._state

    @ressource.setter
    def ressource(self, state: GameState) -> None:
        self._state = state

    def __enter__(self) -> Any:
        with self._guard:
            if self._is_in_use() and self._newest() is not self._seen:
                copied = GameState()
                copied.__dict__.update(from_wire(self._state.__dict__))
                self._state = copied
            self._take_in()
            self._blocks.setdefault(id(getcurrent()), []).append(self._state)
            return self._state

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._guard:
            stack = self._blocks[id(getcurrent())]
            stack.pop()
            if not stack:
                del self._blocks[id(getcurrent())]

    def _is_in_use(self) -> bool:
        return any(state is self._state for stack in self._blocks.values() for state in stack)

    def _take_in(self) -> None:
        seen, newest = self._seen, self._newest()
        if newest is seen:
            return
        self._seen = newest
        carry_over(self._state.__dict__, seen.to_dict(), newest.to_dict())
        self._state.game_status = int(newest.game_status)
        self._state.time_order = wrapped(newest.time_order)
