"""The rules of pong, as pure functions from a game state to the changes of it.

Time goes in ticks of `TICK_S`, so a client that plays on from the server's state gets what the server
gets. The state's attributes:

    tick       ticks that have passed: the game's clock
    ball       {x, y, vx, vy}                      field units, and field units per second
    serve      counts the balls: another number is another ball
    starts_at  the tick from which on the ball moves; 0 while somebody is missing
    paddles    {left: {y, reach, applied}, right}  the middle, how far it may still go, the last move made
    score      {left, right}
    winner     the side that has just won the match, or ""
    seats      {left: player id or 0, right}
    players    {id: {name, is_bot, is_watching, since, wins, back_by}}
               since: place in the queue; back_by: until this tick a dropped one's seat is kept, 0: is here
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from pygase_gevent import TO_DELETE, GameState

TICK_S = 1 / 120
WIDTH, HEIGHT = 160.0, 90.0
SIDES = ("left", "right")
PADDLE_X = {"left": 6.0, "right": WIDTH - 6.0}
PADDLE_HEIGHT = 18.0
PADDLE_SPEED = 110.0
MOVES_PER_UNIT = 100
"""Moves are whole numbers of hundredths of a field unit: short on the wire, and the same on both sides."""
MAX_REACH = 0.4 * PADDLE_SPEED
"""Moves that come late come together; so much of them is made at once."""
REACH_PER_TICK = 1.1 * PADDLE_SPEED * TICK_S
"""A tenth more than a paddle's speed: the clocks of two machines differ."""
BALL_SPEED, MAX_BALL_SPEED, SPEED_UP = 85.0, 220.0, 1.06
MAX_BOUNCE_ANGLE = math.radians(55)
PADDLE_TOLERANCE = 1.1
"""A ball that only touches the paddle's end is returned, too."""
WINNING_SCORE = 7
COUNTDOWN = round(3 / TICK_S)
SERVE_PAUSE = round(1 / TICK_S)
CELEBRATION = round(4 / TICK_S)
SEAT_KEPT = round(10 / TICK_S)
MAX_TICKS = round(0.25 / TICK_S)
"""What is played of a long stall."""
NAME_LENGTH = 16

Tree = dict[str, Any]


class Ball(NamedTuple):
    x: float
    y: float
    vx: float
    vy: float


def new_game() -> GameState:
    """A game that nobody has joined."""
    return GameState(tick=0, seats=dict.fromkeys(SIDES, 0), players={}, paddles=_paddles(), **_kick_off(0))


def continued_game(score: Tree, players: dict[int, Tree], seats: Tree) -> GameState:
    """A match that was interrupted: its players, and only they, have some time to come back to it.

    Args:
        players: those who sat, with `name`, `is_bot` and `wins`.
    """
    here_soon = {"is_watching": False, "back_by": SEAT_KEPT}
    players = {player: {**entry, **here_soon, "since": player} for player, entry in players.items()}
    rest = {**_kick_off(0), "score": dict(score), "ball": _served_ball(score)}
    return GameState(tick=0, seats=dict(seats), players=players, paddles=_paddles(), **rest)


# --- time ---------------------------------------------------------------------------------------------


def step(game: GameState, ticks: int) -> Tree:
    """Lets `ticks` pass; of a long stall only the last quarter of a second is played."""
    ticks = min(ticks, MAX_TICKS)
    now = game.tick + ticks
    changes: Tree = {"tick": now, "paddles": {side: _rested(game.paddles[side], ticks) for side in SIDES}}
    if any(0 < player["back_by"] <= now for player in _seated(game)):
        changes |= _fill_seats(game, game.players, now)
    elif not all(game.seats.values()) or any(player["back_by"] for player in _seated(game)):
        changes["starts_at"] = 0
    elif not game.starts_at:
        changes["starts_at"] = now + COUNTDOWN
    elif game.winner:
        changes |= _next_match(game, now) if now >= game.starts_at else {}
    else:
        changes |= _play(game, now)
    return changes


def fly(ball: Ball, left_y: float, right_y: float) -> Ball:
    """The ball one tick later, given where the paddles are."""
    x, y, vx, vy = ball
    x += vx * TICK_S
    y += vy * TICK_S
    if y < 0.0 or y > HEIGHT:
        y, vy = (-y if y < 0.0 else 2 * HEIGHT - y), -vy
    # Up to the edge of the field a paddle that comes late still saves the ball.
    if vx < 0.0 and 0.0 <= x <= PADDLE_X["left"]:
        return _returned(x, y, vx, vy, left_y)
    if vx > 0.0 and PADDLE_X["right"] <= x <= WIDTH:
        return _returned(x, y, vx, vy, right_y)
    return Ball(x, y, vx, vy)


def is_flying(game: GameState, tick: int) -> bool:
    """Whether the ball moves in that tick, as far as this state knows."""
    return 0 < game.starts_at <= tick and not game.winner


# --- moves --------------------------------------------------------------------------------------------


def move(game: GameState, side: str, first: int, ways: list[int]) -> Tree:
    """Makes the moves of a paddle that have not been made yet.

    Args:
        first: the number of the first one.
        ways: how far down each goes, in hundredths of a field unit.
    """
    paddle = dict(game.paddles[side])
    for number, way in enumerate(ways, first):
        if number > paddle["applied"]:
            limit = int(paddle["reach"] * MOVES_PER_UNIT)
            way = max(-limit, min(limit, way))
            paddle["y"] = moved(paddle["y"], way)
            paddle["reach"] -= abs(way) / MOVES_PER_UNIT
            paddle["applied"] = number
    return {"paddles": {side: paddle}}


def moved(y: float, way: int) -> float:
    """Where a paddle at `y` is after a move: a whole paddle stays on the field."""
    return min(max(y + way / MOVES_PER_UNIT, PADDLE_HEIGHT / 2), HEIGHT - PADDLE_HEIGHT / 2)


def crossing(game: GameState, side: str) -> float | None:
    """Where the ball will cross a paddle's line; None if it flies the other way."""
    ball = game.ball
    distance = PADDLE_X[side] - ball["x"]
    if ball["vx"] * distance <= 0:
        return None
    y: float = abs(ball["y"] + ball["vy"] * distance / ball["vx"]) % (2 * HEIGHT)  # walls mirror the path
    return 2 * HEIGHT - y if y > HEIGHT else y


# --- people -------------------------------------------------------------------------------------------


def join(game: GameState, player_id: int, name: str, is_bot: bool, is_watching: bool) -> Tree:
    """Lets somebody in: onto a free seat, or a bot's, or else to the end of the queue."""
    player = {"name": clean_name(name), "is_bot": is_bot, "is_watching": is_watching}
    player |= {"since": _end_of_queue(game.players), "wins": 0, "back_by": 0}
    players = {**game.players, player_id: player}
    return {"players": {player_id: player}, **_fill_seats(game, players, game.tick)}


def drop(game: GameState, player_id: int) -> Tree:
    """Somebody's line is gone: the game waits for him, if he plays, and his seat is kept."""
    return {"players": {player_id: {"back_by": game.tick + SEAT_KEPT}}}


def come_back(game: GameState, player_id: int) -> Tree:
    """Somebody's line is back; he has his seat if it was in time, and else the queue."""
    changes = {"players": {player_id: {"back_by": 0}}}
    players = {**game.players, player_id: {**game.players[player_id], "back_by": 0}}
    return {**changes, **_fill_seats(game, players, game.tick)}


def leave(game: GameState, player_id: int) -> Tree:
    """Lets somebody go; who waits for a seat gets it."""
    others = {player: entry for player, entry in game.players.items() if player != player_id}
    return {"players": {player_id: TO_DELETE}, **_fill_seats(game, others, game.tick)}


def clean_name(name: str) -> str:
    """What is left of a name that may be drawn on anybody's terminal; of a huge one the end is not read."""
    name = "".join(char for char in name[: 4 * NAME_LENGTH] if char.isprintable())
    return name[:NAME_LENGTH].strip() or "nobody"


def side_of(game: GameState, player_id: int) -> str | None:
    """Where a player sits; None for all others."""
    return next((side for side in SIDES if player_id and game.seats[side] == player_id), None)


def name_at(game: GameState, side: str) -> str:
    player = game.players.get(game.seats[side])
    return player["name"] if player else ""


def queue(game: GameState) -> list[int]:
    """Who waits for a seat, the next one first: people before bots."""
    return _queue(game.players, game.seats)


# --- inside -------------------------------------------------------------------------------------------


def _play(game: GameState, now: int) -> Tree:
    """The ball flies, until now or until somebody scores."""
    ball = Ball(**game.ball)
    left_y, right_y = (game.paddles[side]["y"] for side in SIDES)
    for tick in range(max(game.tick, game.starts_at), now):
        ball = fly(ball, left_y, right_y)
        if not 0.0 <= ball.x <= WIDTH:
            return _point(game, "right" if ball.x < 0 else "left", tick + 1)
    return {"ball": ball._asdict()}


def _returned(x: float, y: float, vx: float, vy: float, paddle_y: float) -> Ball:
    """The ball after it met a paddle's line: returned the steeper the further out it was hit, or missed."""
    offset = (y - paddle_y) / (PADDLE_HEIGHT / 2)
    if abs(offset) > PADDLE_TOLERANCE:
        return Ball(x, y, vx, vy)
    speed = min(math.hypot(vx, vy) * SPEED_UP, MAX_BALL_SPEED)
    angle = max(-1.0, min(1.0, offset)) * MAX_BOUNCE_ANGLE
    return Ball(x, y, math.copysign(speed * math.cos(angle), -vx), speed * math.sin(angle))


def _point(game: GameState, side: str, now: int) -> Tree:
    score = {**game.score, side: game.score[side] + 1}
    changes: Tree = {"score": score, "serve": game.serve + 1, "ball": _served_ball(score)}
    if score[side] < WINNING_SCORE:
        return {**changes, "starts_at": now + SERVE_PAUSE}
    winner = game.seats[side]
    wins = {"players": {winner: {"wins": game.players[winner]["wins"] + 1}}}
    return {**changes, **wins, "winner": side, "starts_at": now + CELEBRATION}


def _next_match(game: GameState, now: int) -> Tree:
    """The winner stays; the loser goes to the end of the queue if a person waits there."""
    loser = game.seats["right" if game.winner == "left" else "left"]
    is_wanted = any(not game.players[player]["is_bot"] for player in queue(game))
    if not is_wanted:
        return _kick_off(game.serve + 1, now)
    last = {"since": _end_of_queue(game.players), "wins": 0}
    players = {**game.players, loser: {**game.players[loser], **last}}
    seats = {side: 0 if player == loser else player for side, player in game.seats.items()}
    changes = _sit_down(game, _assigned(players, seats))
    return {"players": {loser: last}, **changes, **_kick_off(game.serve + 1, now)}


def _fill_seats(game: GameState, players: dict[int, Tree], now: int) -> Tree:
    """Who sits where among `players`, and a new match if somebody sat down."""
    seats = {
        side: player if player in players and not 0 < players[player]["back_by"] <= now else 0
        for side, player in game.seats.items()
    }
    changes = _sit_down(game, _assigned(players, seats))
    return {**changes, **(_kick_off(game.serve + 1) if "paddles" in changes else {})}


def _sit_down(game: GameState, seats: dict[str, int]) -> Tree:
    """Others on the seats: where somebody is new, the moves are counted from the first one again."""
    new = [side for side in SIDES if seats[side] not in (0, game.seats[side])]
    return {"seats": seats, **({"paddles": {side: {"applied": 0} for side in new}} if new else {})}


def _assigned(players: dict[int, Tree], seats: dict[str, int]) -> dict[str, int]:
    """Seats after the queue was asked: free ones are taken, and a bot gives way to a person."""
    seats = dict(seats)
    for player in _queue(players, seats):
        free = [side for side in SIDES if not seats[side]]
        if not free and not players[player]["is_bot"]:
            free = [side for side in SIDES if players[seats[side]]["is_bot"]]
        if free:
            seats[free[0]] = player
    return seats


def _queue(players: dict[int, Tree], seats: dict[str, int]) -> list[int]:
    waiting = [
        player
        for player, entry in players.items()
        if player not in seats.values() and not entry["is_watching"] and not entry["back_by"]
    ]
    return sorted(waiting, key=lambda player: (players[player]["is_bot"], players[player]["since"]))


def _seated(game: GameState) -> list[Tree]:
    return [game.players[player] for player in game.seats.values() if player]


def _end_of_queue(players: dict[int, Tree]) -> int:
    return 1 + max((player["since"] for player in players.values()), default=0)


def _kick_off(serve: int, now: int = 0) -> Tree:
    """A new match, from a tick on or as soon as everybody is there."""
    score = dict.fromkeys(SIDES, 0)
    return {
        "serve": serve,
        "ball": _served_ball(score),
        "starts_at": now + COUNTDOWN if now else 0,
        "score": score,
        "winner": "",
    }


def _paddles() -> Tree:
    return {side: {"y": HEIGHT / 2, "reach": MAX_REACH, "applied": 0} for side in SIDES}


def _served_ball(score: Tree) -> Tree:
    # Chance would be no fairer than this: sides take turns, and the angle differs from point to point.
    points = score["left"] + score["right"]
    angle = math.radians(10 + 25 * (points * 0.618 % 1)) * (1 if points % 3 else -1)
    toward = 1 if points % 2 else -1
    vx, vy = toward * BALL_SPEED * math.cos(angle), BALL_SPEED * math.sin(angle)
    return {"x": WIDTH / 2, "y": HEIGHT / 2, "vx": vx, "vy": vy}


def _rested(paddle: Tree, ticks: int) -> Tree:
    return {"reach": min(MAX_REACH, paddle["reach"] + ticks * REACH_PER_TICK)}
