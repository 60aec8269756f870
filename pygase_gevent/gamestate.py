"""The state of a game, and how it changes.

A `GameStateUpdate` applied to a `GameState` makes a new state that shares all parts that did not change
(path copying). Nothing here ever changes a value that it was given, so states and updates may be read
in any thread without a lock.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from pygase_gevent.changes import apply_changes, combine_all, combine_changes, reduce_changes
from pygase_gevent.codec import DELETE, copy_value, pack
from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError, MessageTooLargeError
from pygase_gevent.gamestatus import GameStatus
from pygase_gevent.locks import allocate_lock
from pygase_gevent.schema import StateSchema

__all__ = ["TO_DELETE", "GameState", "GameStateStore", "GameStateUpdate", "GameStatus", "check_names"]

logger = logging.getLogger(__name__)

TO_DELETE = DELETE
"""As a value in a `GameStateUpdate`: remove this key."""

_Self = TypeVar("_Self", bound="_Attributes")

_Part = tuple[int, dict[str, Any]]
"""An update as a part of a combined one: its `time_order` and changes."""


class _Attributes:
    """A `time_order` and any attributes: what states and updates have in common.

    The attributes are the instance's `__dict__`, so several read-only states can share one.
    """

    __slots__ = ("__dict__", "_is_read_only", "_time_order")

    _time_order: int
    _is_read_only: bool

    @property
    def time_order(self) -> int:
        """Grows by one with each update of a store: higher means more recent."""
        return self._time_order

    @time_order.setter
    def time_order(self, value: int) -> None:
        object.__setattr__(self, "_time_order", _check_time_order(value))

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, without `time_order`, in a new dict (the values are not copied)."""
        return dict(self.__dict__)

    @classmethod
    def from_dict(cls: type[_Self], time_order: int, attributes: dict[str, Any]) -> _Self:
        """Make a read-only one around a dict, which is not copied and must never change again."""
        made = cls.__new__(cls)
        object.__setattr__(made, "_time_order", time_order)
        object.__setattr__(made, "_is_read_only", True)
        object.__setattr__(made, "__dict__", attributes)
        return made

    @property
    def is_read_only(self) -> bool:
        """Whether the library handed it out; its attributes cannot be assigned then."""
        return self._is_read_only

    def _set_up(self, time_order: int, attributes: dict[str, Any]) -> None:
        check_names(attributes)
        object.__setattr__(self, "_time_order", _check_time_order(time_order))
        object.__setattr__(self, "_is_read_only", False)
        object.__setattr__(self, "__dict__", attributes)

    def _check_writable(self) -> None:
        if self._is_read_only:
            raise AttributeError(
                f"this {type(self).__name__} was handed out by the library and is for reading: "
                "return the change from time_step or a handler, push a GameStateUpdate, "
                "or change a copy (copy.deepcopy)"
            )

    def __setattr__(self, name: str, value: Any) -> None:
        self._check_writable()
        if name != "time_order":
            check_names((name,))
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._check_writable()
        object.__delattr__(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _make_copy, (type(self), self._time_order, self.to_dict())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Attributes) or type(self) is not type(other):
            return NotImplemented
        return self._time_order == other._time_order and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: _Attributes) -> bool:
        if not isinstance(other, _Attributes):
            return NotImplemented
        return self._time_order < other._time_order

    def __gt__(self, other: _Attributes) -> bool:
        if not isinstance(other, _Attributes):
            return NotImplemented
        return self._time_order > other._time_order

    def __le__(self, other: _Attributes) -> bool:
        if not isinstance(other, _Attributes):
            return NotImplemented
        return self._time_order <= other._time_order

    def __ge__(self, other: _Attributes) -> bool:
        if not isinstance(other, _Attributes):
            return NotImplemented
        return self._time_order >= other._time_order

    def __repr__(self) -> str:
        attributes = "".join(f", {name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({self._time_order}{attributes})"


class GameState(_Attributes):
    """The state of a game: a tree of values under names of your choice.

    Attributes hold any tree of `None`, `bool`, `int`, `float`, `str`, `bytes`, lists, tuples and dicts with
    `str` or `int` keys. Assign to a state that you made as you like; one that the library handed out
    is for reading (assigning raises `AttributeError`).

    Args:
        time_order: which update made it; higher means more recent.
        game_status: whether the game loop is running.
        **attributes: the state itself.

    Raises:
        ArgumentError: an attribute has the name of a method, or `game_status` is none.

    Example:
        >>> state = GameState(ball={"x": 0.5, "y": 0.5}, score=[0, 0])
        >>> (state + GameStateUpdate(1, ball={"x": 0.6})).ball
        {'x': 0.6, 'y': 0.5}
    """

    __slots__ = ()

    def __init__(self, time_order: int = 0, game_status: int = GameStatus.PAUSED, **attributes: Any) -> None:
        self._set_up(time_order, {"game_status": GameStatus.check(game_status), **attributes})

    def is_paused(self) -> bool:
        """Whether the game loop is not running."""
        return bool(self.__dict__["game_status"] == GameStatus.PAUSED)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this GameState has no attribute {name!r}", name=name, obj=self)


class GameStateUpdate(_Attributes):
    """A change of a game state.

    Dicts merge deeply into what is there, any other value replaces it, and `TO_DELETE` removes its key.
    `update + update` combines two, `state + update` makes the changed state; both leave their
    operands as they are. Applying a combined update to any state equals applying its parts one after the
    other, in the order of their `time_order` (parts of the same `time_order` count as one). So that this
    holds for a state between them, too, a combined update remembers its parts until it is assigned to.

    Args:
        time_order: which state it leads to. An update never changes a state of the same or a
            higher `time_order`; a store gives every pushed update the next one by itself.
        **changes: new values by attribute name.

    Raises:
        ArgumentError: a change has the name of a method.
    """

    __slots__ = ("_parts",)

    _parts: tuple[_Part, ...]

    def __init__(self, time_order: int, **changes: Any) -> None:
        self._set_up(time_order, changes)
        object.__setattr__(self, "_parts", ())

    @classmethod
    def from_dict(cls, time_order: int, attributes: dict[str, Any]) -> GameStateUpdate:
        """As for any of its base class."""
        made = super().from_dict(time_order, attributes)
        object.__setattr__(made, "_parts", ())
        return made

    @classmethod
    def copy_of(cls, changes: dict[str, Any], config: Config) -> GameStateUpdate:
        """Check and copy a dict of changes; the store gives the (read-only) update its `time_order`.

        Raises:
            ArgumentTypeError: a name is no `str`.
            ArgumentError: a name belongs to `GameState` itself, or `game_status` is none.
            SerializationError: something in it cannot travel; the message names the place.
        """
        return cls.from_dict(0, copy_changes(changes, config))

    def __add__(self, other: GameStateUpdate) -> GameStateUpdate:
        """Combine two updates; the one with the higher `time_order` comes last."""
        if not isinstance(other, GameStateUpdate):
            return NotImplemented
        first, second = (self, other) if other >= self else (other, self)
        earlier, later = first._split(), second._split()
        if earlier[-1][0] <= later[0][0]:
            combined = combine_changes(first.__dict__, second.__dict__)
            parts = earlier + later
        else:  # combinations that overlap
            parts = tuple(sorted(earlier + later, key=_time_order_of))
            combined = _combine_parts(parts)
        return _make_combination(GameStateUpdate, parts, combined)

    @overload
    def __radd__(self, other: GameState) -> GameState: ...

    @overload
    def __radd__(self, other: int) -> GameStateUpdate: ...

    def __radd__(self, other: GameState | int) -> GameState | GameStateUpdate:
        """Apply to a state. Zero is accepted too, so that `sum` combines a list of updates."""
        if isinstance(other, GameState):
            if self > other:
                changed = apply_changes(other.__dict__, self._changes_after(other.time_order))
                return _make_copy(GameState, self.time_order, dict(changed))
            return _make_copy(GameState, other.time_order, other.to_dict())
        if isinstance(other, int) and other == 0:
            return _make_combination(GameStateUpdate, self._split(), self.to_dict())
        return NotImplemented

    def _split(self) -> tuple[_Part, ...]:
        """The parts that this is a combination of, or itself."""
        return self._parts or ((self.time_order, self.to_dict()),)

    def _changes_after(self, time_order: int) -> dict[str, Any]:
        """What changes a state of this `time_order`."""
        parts = self._parts
        if not parts or time_order < parts[0][0]:
            return self.__dict__
        return _combine_parts(tuple(part for part in parts if part[0] > time_order))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        object.__setattr__(self, "_parts", ())

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        object.__setattr__(self, "_parts", ())

    def __reduce__(self) -> tuple[Any, ...]:
        return _make_combination, (type(self), self._split(), self.to_dict())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this GameStateUpdate changes no attribute {name!r}", name=name, obj=self)


class GameStateStore:
    """The current state of a game, and the latest updates that led to it.

    Every method may be called from any thread. What `get_game_state` returned stays as it was; an
    update makes a new state.

    Args:
        initial_game_state: copied; an empty paused state if not given.
        state_schema: what precision numbers of the state need; see `schema`.
        config: for `update_cache_size`, `max_state_bytes` and the limits of data.

    Attributes:
        snapshot: the current state and its content version, a number that grows when content changes.

    Raises:
        ArgumentTypeError: the initial state is no `GameState`, or the schema none.
        ArgumentError: the schema has what cannot be.
        SerializationError: something in the initial state cannot travel, or does not fit the schema.
        MessageTooLargeError: the initial state is too large.
    """

    def __init__(
        self,
        initial_game_state: GameState | None = None,
        *,
        state_schema: dict[str, Any] | None = None,
        config: Config | None = None,
    ) -> None:
        self._config = config or Config()
        self.schema = StateSchema({} if state_schema is None else state_schema)
        state = GameState() if initial_game_state is None else initial_game_state
        if not isinstance(state, GameState):
            raise ArgumentTypeError(f"initial_game_state must be a GameState, not {type(state).__name__}")
        content = copy_value(state.to_dict(), config=self._config)
        content["game_status"] = GameStatus.check(content.get("game_status"))
        content = self.schema.conform(content)
        self._lock = allocate_lock()
        self._size_bound_bytes = 0
        self._check_size(content, len(pack(content)))
        # One tuple, replaced as a whole, so that readers need no lock. Compiled, one that is declared as such
        # would be made anew each time it is read; hence `Any`.
        self.snapshot: Any = (GameState.from_dict(state.time_order, content), 0)
        self._updates: deque[GameStateUpdate] = deque(maxlen=self._config.update_cache_size)
        self._callbacks: tuple[Callable[[], object], ...] = ()
        # Merges made for the newest state: its time_order, and changes by base.
        self._merges: tuple[int, dict[int, dict[str, Any]]] = (state.time_order, {})

    def get_game_state(self) -> GameState:
        """Return the current state. It is for reading, and stays as it is."""
        state: GameState = self.snapshot[0]
        return state

    def get_update_cache(self) -> list[GameStateUpdate]:
        """Return the latest updates, oldest first, without the parts of them that changed nothing."""
        with self._lock:
            return list(self._updates)

    def push_update(self, update: GameStateUpdate) -> None:
        """Apply an update. It is copied, and gets the next `time_order` whatever its own says.

        Raises:
            ArgumentTypeError: `update` is no `GameStateUpdate`.
            ArgumentError: it changes `game_status` to something that is none.
            SerializationError: something in it cannot travel, or does not fit `state_schema`; the message
                names the place.
            MessageTooLargeError: the state would become too large to be sent to a new client.
        """
        if not isinstance(update, GameStateUpdate):
            raise ArgumentTypeError(f"a store takes a GameStateUpdate, not {type(update).__name__}")
        if not update.is_read_only:
            update = GameStateUpdate.copy_of(update.to_dict(), self._config)
        changes = self.schema.conform(update.__dict__)
        size_bytes = len(pack(changes))
        with self._lock:
            state, version = self.snapshot
            time_order = state.time_order + 1
            content, effective = reduce_changes(state.__dict__, changes)
            # An update can also make the headers of dicts larger, by no more than its own size.
            self._check_size(content, 2 * size_bytes)
            self._updates.append(GameStateUpdate.from_dict(time_order, effective))
            self.snapshot = (
                GameState.from_dict(time_order, content),
                version + (content is not state.__dict__),
            )
        for callback in self._callbacks:
            try:
                callback()
            except Exception:
                logger.exception("a subscriber of the game state store raised")

    def merged_update(self, base: int, newest: int) -> GameStateUpdate | None:
        """Return the merge of the updates after `base` up to `newest`; they lead from one state to the other.

        Returns:
            The merge, or `None` if the cache no longer (or not yet) holds all of these updates.
        """
        with self._lock:
            updates = list(self._updates)
        state: GameState = self.snapshot[0]
        if base == newest == state.time_order:
            return GameStateUpdate.from_dict(newest, {})
        if not updates or not updates[0].time_order - 1 <= base <= newest <= updates[-1].time_order:
            return None
        known = self._merges
        if known[0] != newest:
            known = self._merges = (newest, {})
        merges = known[1]
        first = base - updates[0].time_order + 1
        last = newest - updates[0].time_order
        # Clients mostly wait for the same newest state: start from what was merged for another.
        start = next((i for i in range(first, last + 1) if updates[i].time_order - 1 in merges), last + 1)
        changes: dict[str, Any] = {} if start > last else merges[updates[start].time_order - 1]
        for i in range(start - 1, first - 1, -1):
            changes = combine_changes(updates[i].__dict__, changes)
        merges[base] = changes
        return GameStateUpdate.from_dict(newest, changes)

    def subscribe(self, callback: Callable[[], object]) -> None:
        """Have `callback` called after each push, in the thread that pushed. It must not block."""
        with self._lock:
            self._callbacks = (*self._callbacks, callback)

    def unsubscribe(self, callback: Callable[[], object]) -> None:
        """End a subscription; one that does not exist is no error."""
        with self._lock:
            self._callbacks = tuple(known for known in self._callbacks if known != callback)

    def after_fork(self) -> None:
        """In the child of a fork: the lock may have been held, and subscribers are the parent's."""
        self._lock = allocate_lock()
        self._callbacks = ()

    def _check_size(self, content: dict[str, Any], growth_bytes: int) -> None:
        """Refuse content over the limit. Measured only where the sum of growths since could reach it."""
        bound_bytes = self._size_bound_bytes + growth_bytes
        if bound_bytes > self._config.max_state_bytes:
            bound_bytes = len(pack(content))
            if bound_bytes > self._config.max_state_bytes:
                raise MessageTooLargeError(
                    f"the game state would have {bound_bytes} bytes, "
                    f"and Config.max_state_bytes is {self._config.max_state_bytes}"
                )
        self._size_bound_bytes = bound_bytes


def copy_changes(changes: dict[str, Any], config: Config) -> dict[str, Any]:
    """Check and copy a dict of changes; raises as `GameStateUpdate.copy_of` does."""
    check_names(changes)
    copied: dict[str, Any] = copy_value(changes, config=config, marks=True)
    if "game_status" in copied:
        copied["game_status"] = GameStatus.check(copied["game_status"])
    return copied


_RESERVED_NAMES = frozenset(
    name
    for cls in (GameState, GameStateUpdate)
    for name in (*dir(cls), *dir(type(cls)))
    if hasattr(cls, name)
)


def check_names(names: Iterable[object]) -> None:
    """Check that these can name attributes of a state.

    Raises:
        ArgumentTypeError: a name is no `str`.
        ArgumentError: a name belongs to `GameState` itself.
    """
    for name in names:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"the attributes of a state have names of type str, not {name!r}")
        if name in _RESERVED_NAMES:
            raise ArgumentError(f"{name!r} belongs to the library and cannot name an attribute of a state")


def _check_time_order(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"time_order is an int, not {type(value).__name__}")
    if value < 0:
        raise ArgumentError(f"time_order must not be negative: {value}")
    return int(value)


def _make_copy(cls: type[_Self], time_order: int, attributes: dict[str, Any]) -> _Self:
    """Make one that its user may change, around a dict that nobody else holds."""
    made = cls.from_dict(time_order, attributes)
    object.__setattr__(made, "_is_read_only", False)
    return made


def _time_order_of(part: _Part) -> int:
    return part[0]


def _combine_parts(parts: tuple[_Part, ...]) -> dict[str, Any]:
    return combine_all([changes for _, changes in parts])


def _make_combination(
    cls: type[GameStateUpdate], parts: tuple[_Part, ...], changes: dict[str, Any]
) -> GameStateUpdate:
    made = _make_copy(cls, parts[-1][0], changes)
    if len(parts) > 1:
        object.__setattr__(made, "_parts", parts)
    return made
