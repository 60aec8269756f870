"""The match in a small file, so that a server that was killed goes on where it stood."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demos.pong import rules
from pygase_gevent import GameState

logger = logging.getLogger(__name__)


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
        path: the file; its directory exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: tuple[Any, ...] = ()

    def load(self) -> Match | None:
        """The match that was saved last; None if there is none, or none that can be read."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            match = Match(
                score={side: int(data["score"][side]) for side in rules.SIDES},
                seats={side: int(data["seats"][side]) for side in rules.SIDES},
                players={int(player): _player(entry) for player, entry in data["players"].items()},
                secrets={int(player): str(secret) for player, secret in data["secrets"].items()},
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("no match in %s: %r", self._path, error)
            return None
        seated = {player for player in match.seats.values() if player}
        is_whole = seated == set(match.players) == set(match.secrets)
        return match if is_whole and max(match.score.values()) < rules.WINNING_SCORE else None

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
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            private = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(private, "w", encoding="utf-8") as file:
                json.dump(asdict(match), file)
            os.replace(new, self._path)
        except OSError as error:
            logger.warning("the match cannot be saved: %s", error)


def _player(entry: dict[str, Any]) -> dict[str, Any]:
    name = rules.clean_name(str(entry["name"]))
    return {"name": name, "is_bot": bool(entry["is_bot"]), "wins": int(entry["wins"])}
