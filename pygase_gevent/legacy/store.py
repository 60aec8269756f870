"""PyGaSe's store of a state that is changed in place, and this library's store that is kept like it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

from pygase_gevent import gamestate
from pygase_gevent.config import Config
from pygase_gevent.legacy.gamestate import GameState, GameStateUpdate
from pygase_gevent.legacy.utils import Sqn, logger
from pygase_gevent.legacy.values import difference, from_wire, merge_in, to_wire
from pygase_gevent.locks import allocate_rlock

_CONFIG = Config()

_MAX_HELD = _CONFIG.max_queued_events
"""Events that one step holds back until it is pushed: as many as one client's queue takes."""


class GameStateStore:
    """The state of a game and the latest updates.

    The state is the very object that was given, changed in place by updates, as in PyGaSe. What changed
    since, by updates or by assignment, goes to the clients with the next update.

    Args:
        initial_game_state: an empty paused state if not given.

    Attributes:
        underlying: this library's store, which the clients get.

    Raises:
        TypeError: the initial state is no `GameState`, or something in it cannot travel.
    """

    _update_cache_size: int = 100

    def __init__(self, initial_game_state: GameState | None = None) -> None:
        state = GameState() if initial_game_state is None else initial_game_state
        if not isinstance(state, GameState):
            raise TypeError(
                f"'initial_game_state' should be of type 'GameState', not '{type(state).__name__}'."
            )
        self._game_state = state
        self._game_state_update_cache = [GameStateUpdate(0)]
        self._lock = allocate_rlock()
        self._stepping: greenlet | None = None
        self._after_step: list[Callable[[], object]] = []
        self._is_sync_due = False
        self.underlying = _SyncedStore(self)

    def get_update_cache(self) -> list[GameStateUpdate]:
        """The latest updates, oldest first."""
        return self._game_state_update_cache.copy()

    def get_game_state(self) -> GameState:
        """The current state."""
        return self._game_state

    def push_update(self, update: GameStateUpdate) -> None:
        """Apply an update, if it is more recent than the state.

        Raises:
            TypeError: something in it cannot travel; nothing was applied.
        """
        with self._lock:
            check_travels(update.__dict__)
            self._cache(update)
            if update > self._game_state:
                logger.debug("Updating game state to time order %s.", update.time_order)
                self._game_state += update
            self.sync()

    def sync(self) -> None:
        """Give the clients what was changed in the state.

        While another thread or greenlet works on a step, that is left to the step's end: what stands in
        the state until then is half done, and changes under the hands of who reads it.
        """
        with self._lock:
            if self._stepping not in (None, getcurrent()):
                self._is_sync_due = True
                return
            changes = self.changes_since(self.underlying.get_game_state())
            self.underlying.push_changes(changes)

    def changes_since(self, state: gamestate.GameState) -> dict[str, Any]:
        """What changed in the state since it was like this one of the underlying store's."""
        with self._lock:
            return difference(state.to_dict(), content_of(self._game_state))

    def change(self, changes: dict[str, Any]) -> None:
        """Apply changes in place, as part of a step that is going to be pushed.

        Raises:
            TypeError: something in them cannot travel; nothing was applied.
        """
        with self._lock:
            check_travels(changes)
            merge_in(self._game_state.__dict__, without_time_order(changes), delete=True)

    def begin_step(self) -> None:
        """The calling thread or greenlet works on a step; it ends with `take_step`, or `end_step`."""
        with self._lock:  # nobody is comparing
            self._stepping = getcurrent()

    def after_step(self, function: Callable[[], object]) -> None:
        """Call a function when the step that this thread works on is pushed; at once if it works on none."""
        if self._stepping != getcurrent():
            function()
            return
        if len(self._after_step) >= _MAX_HELD:
            self._release()  # too early for all of them, and in their order
        self._after_step.append(function)

    def take_step(self, changes: dict[str, Any], push: Callable[[], object]) -> None:
        """The game loop pushes these to the underlying store; all but the status stands in the state.

        Args:
            changes: what is pushed.
            push: does it. Nobody may compare the two stores before both have it: it would be undone.
        """
        with self._lock:
            state = self._game_state
            status = state.game_status
            state.game_status = int(changes.get("game_status", status))
            try:
                push()
            except BaseException:
                state.game_status = status
                raise
            state.time_order = Sqn(state.time_order) + 1
            update = GameStateUpdate(state.time_order)
            update.__dict__.update(from_wire(changes))
            self._cache(update)
        self.end_step()

    def end_step(self) -> None:
        """The step is over, also if it pushed nothing."""
        try:
            with self._lock:
                self._stepping = None
                is_sync_due, self._is_sync_due = self._is_sync_due, False
                if is_sync_due:
                    self.sync()
        finally:
            self._release()

    def after_fork(self) -> None:
        """In the child of a fork: the thread that worked on a step is not there."""
        self._lock = allocate_rlock()
        self._stepping = None
        self._after_step = []

    def _release(self) -> None:
        held, self._after_step = self._after_step, []
        for function in held:
            function()

    def _cache(self, update: GameStateUpdate) -> None:
        self._game_state_update_cache.append(update)
        if len(self._game_state_update_cache) > self._update_cache_size:
            del self._game_state_update_cache[0]


class _SyncedStore(gamestate.GameStateStore):
    """What the game loop pushes here is told to the PyGaSe store that owns it.

    Attributes:
        content_time_order: the time order of the last update that changed something.
    """

    def __init__(self, owner: GameStateStore) -> None:
        # A weak reference: who holds the owner holds both, and there is no cycle to collect.
        self._owner = weakref.ref(owner)
        self.content_time_order = 0
        super().__init__(gamestate.GameState(**content_of(owner.get_game_state())))

    def push_update(self, update: gamestate.GameStateUpdate) -> None:
        owner = self._owner()
        if owner is None:
            self._push(update)
        else:
            owner.take_step(update.to_dict(), lambda: self._push(update))

    def push_changes(self, changes: dict[str, Any]) -> None:
        """The same, without telling the owner, from whom they come."""
        self._push(gamestate.GameStateUpdate(0, **changes))

    def after_fork(self) -> None:
        """In the child of a fork: the same for the owner."""
        super().after_fork()
        owner = self._owner()
        if owner is not None:
            owner.after_fork()

    def _push(self, update: gamestate.GameStateUpdate) -> None:
        before = self.snapshot[1]
        super().push_update(update)
        state, version = self.snapshot
        if version != before:
            self.content_time_order = state.time_order


def content_of(state: GameState) -> dict[str, Any]:
    """A PyGaSe state's attributes as this library's tree of values."""
    content: dict[str, Any] = to_wire(without_time_order(state.__dict__))
    return content


def without_time_order(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes without the one that is no part of a game."""
    return {name: value for name, value in dict(attributes).items() if name != "time_order"}


def check_travels(changes: dict[str, Any]) -> None:
    """Raises `SerializationError`, a `TypeError`, where something in these changes cannot travel."""
    gamestate.GameStateUpdate.copy_of(to_wire(without_time_order(changes)), _CONFIG)
