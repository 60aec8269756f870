"""Pong on a terminal: the newest state drawn with curses, 60 times a second."""

from __future__ import annotations

import curses

from demos.pong import rules
from demos.pong.client import Bot, PongClient
from pygase_gevent import GameState

FRAME_MS = 16
UP_KEYS = {ord("w"), ord("W"), ord("k"), curses.KEY_UP}
DOWN_KEYS = {ord("s"), ord("S"), ord("j"), curses.KEY_DOWN}
QUIT_KEYS = {ord("q"), ord("Q")}
KEY_STEP = rules.PADDLE_HEIGHT / 3
"""How far one key press sends the paddle; a held key repeats it."""
MIN_ROWS, MIN_COLUMNS = 12, 40
HELP = "w/s or arrows move, q quits"


def play(player: PongClient, hint: str, bot: Bot | None = None) -> None:
    """Shows the game until q is pressed or the connection ends.

    Args:
        player: a connected one.
        hint: a line to show below the field.
        bot: plays in place of the keyboard.
    """
    curses.wrapper(_Screen(player, hint, bot).run)


class _Screen:
    def __init__(self, player: PongClient, hint: str, bot: Bot | None) -> None:
        self._player = player
        self._hint = hint
        self._bot = bot
        self._target = rules.HEIGHT / 2

    def run(self, window: curses.window) -> None:
        curses.curs_set(0)
        window.timeout(FRAME_MS)
        while not self._player.is_over:
            key = window.getch()
            if key in QUIT_KEYS:
                return
            if self._bot is not None:
                self._bot.move(self._player)
            else:
                self._move(key)
            self._draw(window)

    def _move(self, key: int) -> None:
        way = (key in DOWN_KEYS) - (key in UP_KEYS)
        if way:
            self._target = rules.clamp_paddle(self._target + way * KEY_STEP)
            self._player.aim(self._target)

    def _draw(self, window: curses.window) -> None:
        window.erase()
        rows, columns = window.getmaxyx()
        if rows < MIN_ROWS or columns < MIN_COLUMNS:
            _put(window, 0, 0, f"please make the window at least {MIN_COLUMNS} x {MIN_ROWS}")
        else:
            game = self._player.game()
            _put(window, 0, 0, _headline(game, self._player.player_id).center(columns), curses.A_BOLD)
            _draw_field(window.derwin(rows - 4, columns, 1, 0), game)
            _put(window, rows - 3, 1, self._player.network_line())
            _put(window, rows - 2, 1, HELP, curses.A_DIM)
            _put(window, rows - 1, 1, self._hint, curses.A_DIM)
        window.refresh()


def _headline(game: GameState, player_id: int) -> str:
    left, right = (
        f"[{rules.name_at(game, side)}]" if game.seats[side] == player_id else rules.name_at(game, side)
        for side in rules.SIDES
    )
    watching = len(game.players) - sum(1 for player in game.seats.values() if player)
    spectators = f"   ({watching} watching)" if watching else ""
    return f"{left}  {game.score['left']} : {game.score['right']}  {right}{spectators}"


def _draw_field(field: curses.window, game: GameState) -> None:
    field.border()
    rows, columns = field.getmaxyx()
    scale_x = (columns - 3) / rules.WIDTH
    scale_y = (rows - 3) / rules.HEIGHT
    for row in range(1, rows - 1, 2):
        _put(field, row, columns // 2, ":", curses.A_DIM)
    for side in rules.SIDES:
        middle = game.paddles[side]["y"]
        top = round((middle - rules.PADDLE_HEIGHT / 2) * scale_y)
        bottom = round((middle + rules.PADDLE_HEIGHT / 2) * scale_y)
        for row in range(top, bottom + 1):
            _put(field, 1 + row, 1 + round(rules.PADDLE_X[side] * scale_x), " ", curses.A_REVERSE)
    ball = game.ball
    _put(field, 1 + round(ball["y"] * scale_y), 1 + round(ball["x"] * scale_x), "O", curses.A_BOLD)


def _put(window: curses.window, row: int, column: int, text: str, style: int = curses.A_NORMAL) -> None:
    rows, columns = window.getmaxyx()
    if 0 <= row < rows and 0 <= column < columns - 1:
        window.addnstr(row, column, text, columns - column - 1, style)
