"""The match in a small file, so that a server that was killed goes on where it stood."""

from __future__ import annotations

import json
import logging
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demos.pong import rules
from pygase_gevent import GameState

logger = logging.getLogger(__name__)

MAX_BYTES = 1 << 14
MAX_NUMBER = 1 << 31
MAX_SECRET = 64
# Names of the file may be guessed, and others may have put something there: a link is not followed, and
# nothing is waited for. Windows has none of these.
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY


@dataclass(frozen=True)
class Match:
    """What is kept: the score, who sat where, and how they are known again."""

    score: dict[str, int]
    seats: dict[str, int]
    players: dict[int, dict[str, Any]]
    secrets: dict[int, str]


class SaveFile:
    """Written whenever somebody scores or sits down, by replacing it: it is whole or not there.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: tuple[Any, ...] = ()

    def load(self) -> Match | None:
        """The match that was saved last; None if there is none, or none that can be gone on with."""
        try:
            return _match(json.loads(_read(self._path)))
        except FileNotFoundError:
            return None
        # Too deep to be read is a RecursionError.
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            logger.warning("no saved match in %s: %s", self._path, f"{error!r:.200}")
            return None

    def save(self, game: GameState, secrets: dict[int, str]) -> None:
        """Writes the match if it is another one than last time."""
        if self._saved == (game.score, game.seats):
            return
        self._saved = (game.score, game.seats)
        seated = [player for player in game.seats.values() if player in secrets]
        match = Match(
            score=dict(game.score) if not game.winner else dict.fromkeys(rules.SIDES, 0),
            seats={side: player if player in seated else 0 for side, player in game.seats.items()},
            players={player: _player(game.players[player]) for player in seated},
            secrets={player: secrets[player] for player in seated},
        )
        try:
            self._write(json.dumps(asdict(match)).encode())
        except OSError as error:
            logger.warning("the match cannot be saved: %s", error)

    def _write(self, data: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.path.lexists(self._path):
            _check_is_file(self._path.lstat())
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        new.unlink(missing_ok=True)
        with open(os.open(new, _NEW, 0o600), "wb") as file:
            file.write(data)
        os.replace(new, self._path)


def _read(path: Path) -> bytes:
    with open(os.open(path, os.O_RDONLY | _SAFELY), "rb") as file:
        _check_is_file(os.fstat(file.fileno()))
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    return data


def _check_is_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError("there is something else than a file")


def _match(data: Any) -> Match:
    """Raises many kinds of errors if it is none that `save` may have written."""
    match = Match(
        score={side: _number(data["score"][side], rules.WINNING_SCORE) for side in rules.SIDES},
        seats={side: _number(data["seats"][side]) for side in rules.SIDES},
        players={_number(int(player)): _player(entry) for player, entry in data["players"].items()},
        secrets={_number(int(player)): _secret(secret) for player, secret in data["secrets"].items()},
    )
    seated = sorted(player for player in match.seats.values() if player)
    if not seated == sorted(match.players) == sorted(match.secrets):
        raise ValueError("its players are not those who sit")
    return match


def _player(entry: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(entry["name"], str):
        raise TypeError("a name is a text")
    name = rules.clean_name(entry["name"])
    return {"name": name, "is_bot": bool(entry["is_bot"]), "wins": _number(entry["wins"])}


def _secret(secret: object) -> str:
    if not isinstance(secret, str) or not 0 < len(secret) <= MAX_SECRET:
        raise ValueError("no secret")
    return secret


def _number(number: object, limit: int = MAX_NUMBER) -> int:
    if not isinstance(number, int) or not 0 <= number < limit:
        raise ValueError("a number that cannot be")
    return number
