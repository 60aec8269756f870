"""The rules of pong, as pure functions from a game state to the changes of it.

The state's attributes:

    ball:     {x, y, vx, vy}                        in field units and units per second
    paddles:  {left: {y, target}, right: ...}       the paddle's middle, and where it is going
    score:    {left, right}
    seats:    {left: player id or 0, right: ...}
    players:  {id: {name, is_bot, is_watching}}     all who are there, spectators too
    serve_in: seconds until the ball moves          0 while it does
"""

from __future__ import annotations

import math
from typing import Any

from pygase_gevent import TO_DELETE, GameState

WIDTH, HEIGHT = 160.0, 90.0
PADDLE_HEIGHT = 18.0
PADDLE_SPEED = 110.0
PADDLE_X = {"left": 6.0, "right": WIDTH - 6.0}
BALL_SPEED, MAX_BALL_SPEED, SPEED_UP = 85.0, 220.0, 1.06
SERVE_DELAY_S = 1.0
MAX_BOUNCE_ANGLE = math.radians(55)
SUBSTEP_S = 1 / 120
MAX_STEP_S = 0.25
SIDES = ("left", "right")
NAME_LENGTH = 16

Tree = dict[str, Any]


def new_game() -> GameState:
    """A game that nobody has joined."""
    return GameState(seats=dict.fromkeys(SIDES, 0), players={}, **_kick_off())


def step(game: GameState, dt: float) -> Tree:
    """Lets `dt` seconds pass.

    Args:
        dt: seconds; after a long stall only the last quarter of a second is played.

    Returns:
        What changed; empty while a seat is.
    """
    if not all(game.seats.values()):
        return {}
    ball, serve_in = dict(game.ball), game.serve_in
    paddles = {side: dict(game.paddles[side]) for side in SIDES}
    score = dict(game.score)
    left_s = min(dt, MAX_STEP_S)
    while left_s > 1e-9:
        slice_s = min(left_s, SUBSTEP_S)
        left_s -= slice_s
        for side in SIDES:
            _move_paddle(paddles[side], slice_s)
        if serve_in > 0:
            serve_in = max(0.0, serve_in - slice_s)
            if serve_in == 0:
                ball = _served_ball(score)
            continue
        winner = _move_ball(ball, paddles, slice_s)
        if winner:
            score[winner] += 1
            ball, serve_in = _resting_ball(), SERVE_DELAY_S
    return {"ball": ball, "paddles": paddles, "score": score, "serve_in": serve_in}


def aim(side: str, y: float) -> Tree:
    """Sends a paddle toward `y`, as far as the field goes."""
    return {"paddles": {side: {"target": clamp_paddle(y)}}}


def clamp_paddle(y: float) -> float:
    """The nearest place where a whole paddle is on the field."""
    return min(max(y, PADDLE_HEIGHT / 2), HEIGHT - PADDLE_HEIGHT / 2)


def side_of(game: GameState, player_id: int) -> str | None:
    """Where a player sits; None for a spectator."""
    return next((side for side in SIDES if player_id and game.seats[side] == player_id), None)


def name_at(game: GameState, side: str) -> str:
    player = game.players.get(game.seats[side])
    return player["name"] if player else "(free)"


def join(game: GameState, player_id: int, name: str, is_bot: bool, is_watching: bool) -> Tree:
    """Lets somebody in: onto a free seat, or a bot's, or else among the spectators."""
    player = {"name": clean_name(name), "is_bot": is_bot, "is_watching": is_watching}
    return {"players": {player_id: player}, **_seat_changes(game, {**game.players, player_id: player})}


def leave(game: GameState, player_id: int) -> Tree:
    """Lets somebody go; whoever waits for a seat gets it."""
    others = {player: entry for player, entry in game.players.items() if player != player_id}
    return {"players": {player_id: TO_DELETE}, **_seat_changes(game, others)}


def clean_name(name: str) -> str:
    """What is left of a name that may be drawn on anybody's terminal."""
    return "".join(char for char in name if char.isprintable())[:NAME_LENGTH].strip() or "nobody"


def bot_target(game: GameState, side: str, error: float) -> float:
    """Where a bot sends its paddle: to where the ball will cross its line, missed by `error`."""
    ball = game.ball
    distance = PADDLE_X[side] - ball["x"]
    if ball["vx"] * distance <= 0:
        return HEIGHT / 2
    y = ball["y"] + ball["vy"] * distance / ball["vx"]
    y = abs(y) % (2 * HEIGHT)  # unfold the bounces: walls mirror the path
    return clamp_paddle((2 * HEIGHT - y if y > HEIGHT else y) + error)


def _seat_changes(game: GameState, players: dict[int, Tree]) -> Tree:
    """Who sits where among `players`, and a new match if somebody sat down.

    Those seated stay; free seats go to people in order of arrival, then to bots; a person without a
    seat takes a bot's.
    """
    seats = {side: player if player in players else 0 for side, player in game.seats.items()}
    waiting = [
        player
        for player, entry in players.items()
        if player not in seats.values() and not entry["is_watching"]
    ]
    for player in sorted(waiting, key=lambda player: (players[player]["is_bot"], player)):
        free = [side for side in SIDES if not seats[side]]
        if not free and not players[player]["is_bot"]:
            free = [side for side in SIDES if players[seats[side]]["is_bot"]]
        if free:
            seats[free[0]] = player
    has_newcomer = any(seats[side] not in (0, game.seats[side]) for side in SIDES)
    return {"seats": seats, **(_kick_off() if has_newcomer else {})}


def _kick_off() -> Tree:
    return {
        "ball": _resting_ball(),
        "paddles": {side: {"y": HEIGHT / 2, "target": HEIGHT / 2} for side in SIDES},
        "score": dict.fromkeys(SIDES, 0),
        "serve_in": SERVE_DELAY_S,
    }


def _resting_ball() -> Tree:
    return {"x": WIDTH / 2, "y": HEIGHT / 2, "vx": 0.0, "vy": 0.0}


def _served_ball(score: Tree) -> Tree:
    # Chance would be no fairer than this: sides take turns, and the angle differs from point to point.
    points = score["left"] + score["right"]
    angle = math.radians(10 + 25 * (points * 0.618 % 1)) * (1 if points % 3 else -1)
    toward = 1 if points % 2 else -1
    return {
        "x": WIDTH / 2,
        "y": HEIGHT / 2,
        "vx": toward * BALL_SPEED * math.cos(angle),
        "vy": BALL_SPEED * math.sin(angle),
    }


def _move_paddle(paddle: Tree, dt: float) -> None:
    way = paddle["target"] - paddle["y"]
    paddle["y"] += max(-PADDLE_SPEED * dt, min(PADDLE_SPEED * dt, way))


def _move_ball(ball: Tree, paddles: Tree, dt: float) -> str | None:
    """Moves the ball in place and returns the side that scored, if one did."""
    before = ball["x"]
    ball["x"] += ball["vx"] * dt
    ball["y"] += ball["vy"] * dt
    if ball["y"] < 0 or ball["y"] > HEIGHT:
        ball["y"] = -ball["y"] if ball["y"] < 0 else 2 * HEIGHT - ball["y"]
        ball["vy"] = -ball["vy"]
    side = "left" if ball["vx"] < 0 else "right"
    line = PADDLE_X[side]
    if (before - line) * (ball["x"] - line) <= 0 and before != line:
        offset = (ball["y"] - paddles[side]["y"]) / (PADDLE_HEIGHT / 2)
        if abs(offset) <= 1.05:
            _bounce(ball, side, offset)
    if ball["x"] < 0:
        return "right"
    return "left" if ball["x"] > WIDTH else None


def _bounce(ball: Tree, side: str, offset: float) -> None:
    speed = min(math.hypot(ball["vx"], ball["vy"]) * SPEED_UP, MAX_BALL_SPEED)
    angle = max(-1.0, min(1.0, offset)) * MAX_BOUNCE_ANGLE
    toward = 1 if side == "left" else -1
    ball["x"] = PADDLE_X[side]
    ball["vx"] = toward * speed * math.cos(angle)
    ball["vy"] = speed * math.sin(angle)
