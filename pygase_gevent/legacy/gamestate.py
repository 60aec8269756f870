"""`pygase.gamestate`: states and updates that are changed in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pygase_gevent.legacy.utils import NamedEnum, Sendable, Sqn
from pygase_gevent.legacy.values import TO_DELETE, merge_in

__all__ = ["TO_DELETE", "GameState", "GameStateUpdate", "GameStatus"]


class GameStatus(NamedEnum):
    """`"Paused"` or `"Active"`: whether the game loop runs."""


GameStatus.register("Paused")
GameStatus.register("Active")


class _Ordered(Sendable):
    """Attributes, and a `time_order` by which states and updates compare."""

    time_order: Sqn

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __lt__(self, other: _Ordered) -> bool:
        return self.time_order < other.time_order

    def __gt__(self, other: _Ordered) -> bool:
        return self.time_order > other.time_order


class GameState(_Ordered):
    """The state of a game: any attributes, which may be assigned to.

    Args:
        time_order: higher means more recent.
        game_status: `GameStatus.get("Active")` while the game loop runs.
        **kwargs: the attributes.
    """

    def __init__(
        self, time_order: int = 0, game_status: int = GameStatus.get("Paused"), **kwargs: Any
    ) -> None:
        self.__dict__ = kwargs
        self.game_status = game_status
        self.time_order = Sqn(time_order)

    def is_paused(self) -> bool:
        """Whether the game loop is not running."""
        return bool(self.game_status == GameStatus.get("Paused"))


class GameStateUpdate(_Ordered):
    """A change of a game state; a value of `TO_DELETE` removes its key.

    `state += update` changes the state in place, if the update is the more recent one.

    Args:
        time_order: the time order of the state that it leads to.
        **kwargs: new values by attribute name.
    """

    def __init__(self, time_order: int, **kwargs: Any) -> None:
        self.__dict__ = kwargs
        self.time_order = Sqn(time_order)

    @classmethod
    def from_bytes(cls, bytepack: bytes) -> GameStateUpdate:
        """As for any `Sendable`; the time order is a `Sqn` again."""
        update = super().from_bytes(bytepack)
        update.time_order = Sqn(update.time_order)
        return update

    def __add__(self, other: GameStateUpdate) -> GameStateUpdate:
        """Combine two updates into a new one; the more recent one comes last."""
        first, second = (self, other) if other > self else (other, self)
        combined = GameStateUpdate(first.time_order)
        merge_in(combined.__dict__, first.__dict__, delete=False)
        merge_in(combined.__dict__, second.__dict__, delete=False)
        return combined

    def __radd__(self, other: Any) -> Any:
        """Apply to a state; zero is taken too, so that `sum` combines updates."""
        if isinstance(other, int):
            return self
        if self > other:
            merge_in(other.__dict__, self.__dict__, delete=True)
        return other
