"""What the screen says in words, in the window and on a terminal alike."""

from __future__ import annotations

import math

from demos.pong import rules
from demos.pong.scene import Scene
from pygase_gevent import ConnectionStatus, GameState


def announcement(scene: Scene) -> tuple[str, str]:
    """What stands in the middle of the field, large and small; empty while the ball flies."""
    game, shown = scene.game, scene.shown
    if scene.player.status != ConnectionStatus.CONNECTED:
        return "line lost", "trying to get it back ..."
    if game is None or shown is None:
        return "", "joining ..."
    if not all(game.seats.values()):
        return "waiting", "for somebody to play against"
    for side in rules.SIDES:
        back_by = game.players[game.seats[side]]["back_by"]
        if back_by:
            left_s = max(0, math.ceil((back_by - game.tick) * rules.TICK_S))
            return f"{rules.name_at(game, side)} lost the line", f"the seat is kept for {left_s} s"
    if shown.winner:
        return f"{rules.name_at(shown, shown.winner)} wins", _after_match(game, shown)
    if scene.countdown_s > 0:
        return str(math.ceil(scene.countdown_s)), ""
    return "", ""


def audience(game: GameState, player_id: int) -> str:
    """Who waits, and who watches; empty if nobody does."""
    waiting = rules.queue(game)
    names = ", ".join("you" if each == player_id else game.players[each]["name"] for each in waiting[:3])
    if len(waiting) > 3:
        names += f" and {len(waiting) - 3} more"
    watching = sum(player["is_watching"] for player in game.players.values())
    parts = [f"next: {names}" if waiting else "", f"{watching} watching" if watching else ""]
    return ", ".join(part for part in parts if part)


def _after_match(game: GameState, shown: GameState) -> str:
    waiting = [player for player in rules.queue(game) if not game.players[player]["is_bot"]]
    if waiting:
        return f"the winner stays, {game.players[waiting[0]]['name']} is next"
    wins = shown.players[shown.seats[shown.winner]]["wins"]
    return "another match begins soon" if wins < 2 else f"{wins} in a row; another match begins soon"
