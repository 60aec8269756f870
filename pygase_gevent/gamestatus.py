"""Whether a game runs."""

from __future__ import annotations

import enum

from pygase_gevent.errors import ArgumentError, ArgumentTypeError


class GameStatus(enum.IntEnum):
    """Whether the game loop is running."""

    PAUSED = 0
    ACTIVE = 1

    @classmethod
    def get(cls, name_or_value: str | int) -> GameStatus | str:
        """Return the value for a name (`'Paused'`, `'Active'`), or the name for a value.

        Raises:
            ArgumentError: there is no such status.
            ArgumentTypeError: neither `str` nor `int`.
        """
        if isinstance(name_or_value, str) and name_or_value.upper() in cls.__members__:
            return cls[name_or_value.upper()]
        if isinstance(name_or_value, int):
            return cls.check(name_or_value).name.capitalize()
        if isinstance(name_or_value, str):
            raise ArgumentError(f"{name_or_value!r} is no game status")
        raise ArgumentTypeError(f"a game status is a str or an int, not {type(name_or_value).__name__}")

    @classmethod
    def check(cls, value: object) -> GameStatus:
        """Return the status of this value.

        Raises:
            ArgumentError: there is no such status.
        """
        if isinstance(value, int) and not isinstance(value, bool) and value in (cls.PAUSED, cls.ACTIVE):
            return cls(value)
        raise ArgumentError(f"game_status must be a GameStatus, not {value!r}")
