"""Pong on a terminal, drawn with curses: two places to a character, sixty pictures a second."""

from __future__ import annotations

import curses
import locale
import time

from demos.pong import rules
from demos.pong.bot import Bot
from demos.pong.captions import announcement, audience
from demos.pong.meter import Meter
from demos.pong.network import PongClient
from demos.pong.scene import Scene
from pygase_gevent import ConnectionStatus, GameState

FRAME_MS = 16
UP_KEYS = {ord("w"), ord("W"), ord("k"), curses.KEY_UP}
DOWN_KEYS = {ord("s"), ord("S"), ord("j"), curses.KEY_DOWN}
QUIT_KEYS = {ord("q"), ord("Q")}
PANEL_KEYS = {curses.KEY_F1, ord("n"), ord("N")}
KEY_STEP = rules.PADDLE_HEIGHT / 3
"""How far one key press sends the paddle: a terminal says when a key goes down, but not when it goes up."""
MIN_ROWS, MIN_COLUMNS = 12, 40
HELP = "w/s or arrows move, n or F1 shows the network, q quits"
LEFT, RIGHT, BALL, DIM, GREEN = range(1, 6)
COLOUR_OF = {"left": LEFT, "right": RIGHT}


def play(player: PongClient, hint: str = "", bot: Bot | None = None, seconds: float = 0.0) -> None:
    """Shows the game until q is pressed or the connection is over.

    Args:
        player: a connected one.
        hint: a line to show below the field.
        bot: plays in place of the keyboard.
        seconds: if not 0, it ends after so long.
    """
    locale.setlocale(locale.LC_ALL, "")
    curses.wrapper(Terminal(player, hint, bot).run, seconds)


class Terminal:
    """The screen, and the keys."""

    def __init__(self, player: PongClient, hint: str, bot: Bot | None) -> None:
        self._player = player
        self._hint = hint
        self._bot = bot
        self._scene = Scene(player)
        self._meter = Meter(self._scene)
        self._target: float | None = None
        self._shows_panel = False
        # Upper half, lower half and both; a terminal of another age gets letters.
        has_blocks = locale.getpreferredencoding(False).lower().replace("-", "") == "utf8"
        self._blocks = "\u2580\u2584\u2588" if has_blocks else "###"

    def run(self, window: curses.window, seconds: float) -> None:
        curses.curs_set(0)
        if curses.has_colors():
            curses.use_default_colors()
            names = ("CYAN", "MAGENTA", "YELLOW", "BLUE", "GREEN")
            for number, name in enumerate(names, LEFT):
                curses.init_pair(number, getattr(curses, f"COLOR_{name}"), -1)
        window.timeout(FRAME_MS)
        started = last = time.monotonic()
        while self._player.status != ConnectionStatus.DISCONNECTED:
            key = window.getch()
            now = time.monotonic()
            if key in QUIT_KEYS or (seconds and now - started > seconds):
                return
            self._shows_panel ^= key in PANEL_KEYS
            self._scene.advance(self._way(key), now - last)
            self._meter.look(now)
            last = now
            self._draw(window)

    def _way(self, key: int) -> float:
        """How far down the paddle should go: a press sends it some way, and it goes as fast as it may."""
        if self._bot is not None:
            return self._bot.way(self._player)
        if self._scene.side is None:
            self._target = None
            return 0.0
        y = self._scene.paddles[self._scene.side]
        pressed = (key in DOWN_KEYS) - (key in UP_KEYS)
        if pressed:
            start = y if self._target is None or (self._target - y) * pressed < 0 else self._target
            self._target = min(max(start + pressed * KEY_STEP, 0.0), rules.HEIGHT)
        return 0.0 if self._target is None else self._target - y

    def _draw(self, window: curses.window) -> None:
        window.erase()
        rows, columns = window.getmaxyx()
        game = self._scene.game
        if rows < MIN_ROWS or columns < MIN_COLUMNS:
            _put(window, 0, 0, f"please make the window at least {MIN_COLUMNS} x {MIN_ROWS}")
        elif game is not None:
            self._draw_headline(window, game, columns)
            self._draw_field(window.derwin(rows - 4, columns, 1, 0), game)
            _put(window, rows - 3, 1, audience(game, self._player.player_id))
            _put(window, rows - 2, 1, HELP, curses.color_pair(DIM))
            _put(window, rows - 1, 1, self._hint, curses.color_pair(DIM))
        window.refresh()

    def _draw_headline(self, window: curses.window, game: GameState, columns: int) -> None:
        shown = self._scene.shown or game
        names = {side: rules.name_at(game, side) or "free" for side in rules.SIDES}
        if self._scene.side is not None:
            names[self._scene.side] = f"[{names[self._scene.side]}]"
        left, right = names.values()
        score = f"{shown.score['left']} : {shown.score['right']}"
        middle = (columns - len(score)) // 2
        _put(window, 0, middle, score, curses.A_BOLD)
        _put(window, 0, max(0, middle - 2 - len(left)), left, curses.color_pair(LEFT) | curses.A_BOLD)
        _put(window, 0, middle + len(score) + 2, right, curses.color_pair(RIGHT) | curses.A_BOLD)

    def _draw_field(self, field: curses.window, game: GameState) -> None:
        scene = self._scene
        field.border()
        rows, columns = field.getmaxyx()
        for row in range(1, rows - 1, 2):
            _put(field, row, columns // 2, ":", curses.color_pair(DIM))
        half = rules.PADDLE_HEIGHT / 2
        for side in rules.SIDES:
            if game.seats[side]:
                y, style = scene.paddles[side], curses.color_pair(COLOUR_OF[side])
                self._draw_bar(field, rules.PADDLE_X[side], y - half, y + half, style)
        large, small = announcement(scene)
        if all(game.seats.values()) and not large:
            x, y = scene.ball
            self._draw_bar(field, x, y, y, curses.color_pair(BALL) | curses.A_BOLD)
        for row, text, style in ((-1, large, curses.A_BOLD), (1, small, curses.A_NORMAL)):
            _put(field, rows // 2 + row, (columns - len(text)) // 2, text, style)
        if self._shows_panel:
            for row, line in enumerate(self._meter.lines(), 2):
                _put(field, row, 12, f" {line} ", curses.color_pair(GREEN))

    def _draw_bar(self, field: curses.window, x: float, top: float, bottom: float, style: int) -> None:
        """An upright bar, half a character exact."""
        rows, columns = field.getmaxyx()
        column = 1 + round(x * (columns - 3) / rules.WIDTH)
        scale = (2 * (rows - 2) - 1) / rules.HEIGHT
        first, last = round(max(0.0, top) * scale), round(min(bottom, rules.HEIGHT) * scale)
        for row in range(first // 2, last // 2 + 1):
            has_upper, has_lower = first <= 2 * row, last >= 2 * row + 1
            _put(field, 1 + row, column, self._blocks[2 if has_upper and has_lower else not has_upper], style)


def _put(window: curses.window, row: int, column: int, text: str, style: int = curses.A_NORMAL) -> None:
    rows, columns = window.getmaxyx()
    if 0 <= row < rows and 0 <= column < columns - 1:
        window.addnstr(row, column, text, columns - column - 1, style)
