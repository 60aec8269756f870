"""What is drawn at this moment: own things ahead of the server's news, those of others behind them.

A message is under way for half a round trip, so there are three times on a screen:

* the own paddle is where the moves made here put it, which the server will see half a round trip from
  now: *ahead*;
* the other paddle is drawn between two states that have arrived: *behind*;
* the ball goes from one time to the other while it crosses the field. At the other paddle it is behind,
  as that is, so nobody has to guess what he does; at the own paddle it is ahead, as that is, so a hit is
  seen when it is made. On the way it only seems a little slower or faster.

Ahead of the newest state the ball flies by the rules. Where the server turns out to disagree, what is
drawn is not moved at once but drawn toward the truth, frame by frame.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from demos.pong import rules
from demos.pong.network import PongClient
from demos.pong.shared import STEP_S
from pygase_gevent import GameState

STATES_BEHIND = 2.5
"""Server steps between the newest state and what is drawn of others: one or two states may be lost."""
JITTER_BEHIND = 2.0
MAX_SLEW = 0.4
"""A time drawn runs at most this much faster or slower than time."""
SLEW_S = 0.07
JUMP_S = 0.5
"""Beyond that, it jumps: the server was started anew, or the machine slept."""
CORRECTION_S = 0.1
MAX_CORRECTION = 60.0
"""What is drawn approaches the truth at this speed at the most, in field units per second."""
MAX_PADDLE_CORRECTION = 1.5 * rules.PADDLE_SPEED
MAX_AHEAD = round(1 / rules.TICK_S)
OUTSIDE = 8.0
"""So far outside the field a missed ball waits for the server's word."""
REMEMBERED = 256


class Hit(NamedTuple):
    """Something to be heard, and seen, in this frame: a "paddle", a "wall" or a "point"."""

    kind: str
    x: float
    y: float
    side: str


class Scene:
    """Follows the game for one screen.

    Args:
        player: whose screen it is.

    Attributes:
        side: where the player sits; None: he only sees.
        game: the newest state.
        shown: the state that the ball is drawn from: score and countdown go with it.
        ball: where it is drawn.
        paddles: the middle of each.
        hits: what has happened since the last frame.
        behind, ahead, ball_tick: the times drawn, in ticks of the server's game clock.
    """

    def __init__(self, player: PongClient) -> None:
        self.player = player
        self.side: str | None = None
        self.game: GameState | None = None
        self.shown: GameState | None = None
        self.ball = (rules.WIDTH / 2, rules.HEIGHT / 2)
        self.paddles = dict.fromkeys(rules.SIDES, rules.HEIGHT / 2)
        self.hits: list[Hit] = []
        self.behind = self.ahead = self.ball_tick = 0.0
        self._states: list[GameState] = []
        self._path = rules.Ball(*self.ball, 0.0, 0.0)
        self._ball_error = (0.0, 0.0)
        self._own_y = 0.0
        self._own_error = 0.0
        self._own_track: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)  # when it was where

    def advance(self, way: float, dt: float) -> None:
        """A frame: makes the player's move, and finds out where everything is drawn.

        Args:
            way: how far down he wants his paddle, in field units.
            dt: seconds since the last frame.
        """
        self.hits = []
        states = [game for _, game in self.player.states()]
        if not states or not dt:
            return
        self.game = states[-1]
        self._pass_time(dt)
        self._place_paddles(states, way, dt)
        self._place_ball(states, dt)
        self._states = states

    @property
    def countdown_s(self) -> float:
        """Seconds until the ball flies; 0 while it does, or nobody can say."""
        starts_at = self.shown.starts_at if self.shown is not None else 0
        return max(0.0, (starts_at - self.ball_tick) * rules.TICK_S)

    @property
    def velocity(self) -> tuple[float, float]:
        """Of the ball that is drawn, in field units per second."""
        return self._path.vx, self._path.vy

    def _pass_time(self, dt: float) -> None:
        stats = self.player.client.connection.stats
        now, half_trip = self.player.game_tick(), stats.round_trip_s / 2
        late_s = half_trip + JITTER_BEHIND * stats.jitter_s + STATES_BEHIND * STEP_S
        self.behind = _slewed(self.behind, now - late_s / rules.TICK_S, dt)
        self.ahead = _slewed(self.ahead, now + (half_trip + STEP_S / 2) / rules.TICK_S, dt)
        share = 0.0
        if self.side is not None:
            x = min(max(self.ball[0], rules.PADDLE_X["left"]), rules.PADDLE_X["right"])
            share = (x - rules.PADDLE_X["left"]) / (rules.PADDLE_X["right"] - rules.PADDLE_X["left"])
            share = 1.0 - share if self.side == "left" else share
        target = self.behind + share * (self.ahead - self.behind)
        self.ball_tick = _slewed(self.ball_tick, target, dt)

    def _place_paddles(self, states: list[GameState], way: float, dt: float) -> None:
        game = states[-1]
        side = rules.side_of(game, self.player.player_id)
        for other in rules.SIDES:
            if other != side:
                reach = MAX_PADDLE_CORRECTION * dt
                y = _between(states, other, self.behind) - self.paddles[other]
                self.paddles[other] += max(-reach, min(reach, y))
        if side is None:
            self.player.move(0.0, dt)
        else:
            y = self.player.paddle_y()
            if side != self.side:
                self._own_error = 0.0
                self._own_track.clear()
            elif abs(y - self._own_y) > 1e-6:  # the server made something else of the moves
                self._own_error += self._own_y - y
            self._own_error -= _correction(self._own_error, MAX_PADDLE_CORRECTION, dt)
            self.player.move(way, dt)
            self._own_y = self.player.paddle_y()
            self._own_track.append((self.ahead, self._own_y))
            self.paddles[side] = self._own_y + self._own_error
        self.side = side

    def _place_ball(self, states: list[GameState], dt: float) -> None:
        tick, before = self.ball_tick, self._path
        base, path = self._path_at(states, tick)
        was, old_ball = self.shown, self.ball
        if was is not None and base.serve == was.serve:
            # What would be drawn now had nothing new arrived?
            _, expected = self._path_at(self._states, tick)
            error_x = self._ball_error[0] + expected.x - path.x
            error_y = self._ball_error[1] + expected.y - path.y
            size = math.hypot(error_x, error_y)
            rest = 1.0 - _correction(size, MAX_CORRECTION, dt) / size if size > 1e-6 else 0.0
            self._ball_error = (error_x * rest, error_y * rest)
            self._note_bounce(before, path)
        else:
            self._ball_error = (0.0, 0.0)
            if was is not None and sum(base.score.values()) > sum(was.score.values()):
                side = next(side for side in rules.SIDES if base.score[side] > was.score[side])
                self.hits.append(Hit("point", *old_ball, side))
        self.shown, self._path = base, path
        self.ball = (path.x + self._ball_error[0], path.y + self._ball_error[1])

    def _note_bounce(self, before: rules.Ball, after: rules.Ball) -> None:
        if before.vx * after.vx < 0:
            self.hits.append(Hit("paddle", after.x, after.y, "left" if after.vx > 0 else "right"))
        elif before.vy * after.vy < 0:
            self.hits.append(Hit("wall", after.x, 0.0 if after.vy > 0 else rules.HEIGHT, ""))

    def _path_at(self, states: list[GameState], tick: float) -> tuple[GameState, rules.Ball]:
        """The ball at a time: from the last state before it, and from there by the rules."""
        base = next((game for game in reversed(states) if game.tick <= tick), states[0])
        ball = next_ball = rules.Ball(**base.ball)
        ys = [base.paddles[side]["y"] for side in rules.SIDES]
        is_ahead = base is states[-1] and self.side is not None
        own = rules.SIDES.index(self.side or "left")
        for at in range(base.tick, min(math.ceil(tick), base.tick + MAX_AHEAD)):
            ball = next_ball
            is_inside = -OUTSIDE < ball.x < rules.WIDTH + OUTSIDE
            if is_inside and rules.is_flying(base, at):
                if is_ahead:
                    ys[own] = self._own_y_at(at, ys[own])
                next_ball = rules.fly(ball, *ys)
        part = 1.0 - (math.ceil(tick) - tick)
        x = ball.x + part * (next_ball.x - ball.x)
        return base, next_ball._replace(x=x, y=ball.y + part * (next_ball.y - ball.y))

    def _own_y_at(self, tick: float, otherwise: float) -> float:
        return next((y for at, y in reversed(self._own_track) if at <= tick), otherwise)


def _slewed(time: float, target: float, dt: float) -> float:
    """A time in ticks that follows another one, `dt` seconds later: smoothly, and never backwards."""
    ticks = dt / rules.TICK_S
    error = target - (time + ticks)
    if abs(error) > JUMP_S / rules.TICK_S:
        return target
    change = error * (1.0 - math.exp(-dt / SLEW_S))
    return time + ticks + max(-MAX_SLEW * ticks, min(MAX_SLEW * ticks, change))


def _correction(error: float, max_speed: float, dt: float) -> float:
    """How much of an error is made good in a frame."""
    change = error * (1.0 - math.exp(-dt / CORRECTION_S))
    return max(-max_speed * dt, min(max_speed * dt, change))


def _between(states: list[GameState], side: str, tick: float) -> float:
    """Where a paddle was at a time, between the states before and after it."""
    after = states[-1]
    for before in reversed(states):
        if before.tick <= tick:
            break
        after = before
    else:
        before = after
    y, next_y = before.paddles[side]["y"], after.paddles[side]["y"]
    span = after.tick - before.tick
    return float(y + (next_y - y) * min(1.0, (tick - before.tick) / span)) if span > 0 else float(next_y)
