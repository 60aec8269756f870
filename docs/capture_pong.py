"""Makes the pictures of pong in this directory: bots play, over a real server and a bad line.

python -m docs.capture_pong            pong.png, pong-network.png, pong.svg (the last one needs tmux)
python -m docs.capture_pong --window   only the PNGs
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from html import escape
from pathlib import Path

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")

import pygame

from demos.pong.bot import Bot
from demos.pong.network import PongClient
from demos.pong.server import PongServer
from demos.pong.shared import STEP_S
from demos.pong.window import Window
from pygase_gevent.testing import LinkOptions, Relay

HERE = Path(__file__).parent
SIZE = (960, 540)
LINE = LinkOptions(loss=0.1, delay_s=0.04, jitter_s=0.01)
SECONDS = 90.0
SESSION = "pong-capture"
COLUMNS, ROWS = 80, 24
CELL_WIDTH, CELL_HEIGHT, MARGIN = 9, 18, 16
TERMINAL_SECONDS = 12.0
TEXT = "#e2e9ff"
COLOURS = {"36": "#3dd6ff", "35": "#ff5e94", "33": "#fff4d6", "34": "#7887b4", "32": "#82ffaa"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--window", action="store_true", help="only the pictures of the window")
    parser.add_argument("--size", default="x".join(map(str, SIZE)), help="of the window")
    parser.add_argument("--to", type=Path, default=HERE, help="directory")
    arguments = parser.parse_args()
    width, _, height = arguments.size.partition("x")
    capture_window(arguments.to, (int(width), int(height)))
    if not arguments.window:
        capture_terminal(arguments.to / "pong.svg")


# --- the window ---------------------------------------------------------------------------------------


def capture_window(directory: Path, size: tuple[int, int]) -> None:
    """Two bots play over bad lines; one of them is looked at."""
    with ExitStack() as stack:
        backend = PongServer().backend
        backend.run_in_thread(interval=STEP_S)
        stack.callback(backend.shutdown)
        relay = stack.enter_context(Relay(("127.0.0.1", backend.server.port or 0), up=LINE, seed=1))
        for name, is_watching in (("Ada", False), ("Grace", False), ("Alan", True)):
            player = PongClient(name, is_bot=True, is_watching=is_watching)
            stack.callback(player.client.disconnect)
            player.connect("127.0.0.1", relay.port)
            if name == "Ada":
                ada = player
            elif not is_watching:
                threading.Thread(target=Bot(4).play, args=(player, 0.0), daemon=True).start()
        window = Window(ada, bot=Bot(2), size=size, is_muted=False)
        stack.callback(window.close)
        play_until(window, lambda: window.scene.shown and sum(window.scene.shown.score.values()) >= 3)
        play_until(window, lambda: is_fine_moment(window))
        save(window, directory / "pong.png")
        window.shows_panel = True
        window.run(4.0)
        play_until(window, lambda: is_fine_moment(window))
        save(window, directory / "pong-network.png")


def is_fine_moment(window: Window) -> bool:
    """A moment after a hit, the ball on its way."""
    x, y = window.scene.ball
    is_on_its_way = 18 < x < 32 and 30 < y < 65 and not window.scene.countdown_s
    return is_on_its_way and window.effects.has_sparks


def play_until(window: Window, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the moment to capture did not come"
        window.frame(STEP_S)
        time.sleep(STEP_S)


def save(window: Window, path: Path) -> None:
    pygame.image.save(window.surface, str(path))
    print(f"wrote {path}")


# --- the terminal -------------------------------------------------------------------------------------


def capture_terminal(target: Path) -> None:
    """Bots play in a real terminal (tmux), and the screen is drawn as SVG."""
    command = f"{sys.executable} -m demos.pong --view terminal --spectate"
    tmux("new-session", "-d", "-s", SESSION, "-x", str(COLUMNS), "-y", str(ROWS), command)
    try:
        time.sleep(TERMINAL_SECONDS)
        screen = tmux("capture-pane", "-p", "-e", "-t", SESSION)
    finally:
        tmux("send-keys", "-t", SESSION, "q")
        time.sleep(1.0)
        subprocess.run(["tmux", "kill-session", "-t", SESSION], capture_output=True, check=False)
    target.write_text(svg([spans(line) for line in screen.splitlines()]), encoding="utf-8")
    print(f"wrote {target}")


def tmux(*arguments: str) -> str:
    return subprocess.run(["tmux", "-u", *arguments], check=True, capture_output=True, text=True).stdout


def spans(line: str) -> list[tuple[str, str]]:
    """A captured line as texts and their colours."""
    found: list[tuple[str, str]] = []
    colour = TEXT
    for part in re.finditer(r"\x1b\[(?P<style>[\d;]*)m|\x1b\(.|[\x0e\x0f]|(?P<text>[^\x1b\x0e\x0f]+)", line):
        if part["style"] is not None:
            for code in part["style"].split(";"):
                colour = COLOURS.get(code, TEXT if code in ("", "0", "39") else colour)
        elif part["text"]:
            found.append((part["text"], colour))
    return found


def svg(lines: list[list[tuple[str, str]]]) -> str:
    width = COLUMNS * CELL_WIDTH + 2 * MARGIN
    height = ROWS * CELL_HEIGHT + 2 * MARGIN
    rows = []
    for row, line in enumerate(lines[:ROWS]):
        length = sum(len(text) for text, _ in line) * CELL_WIDTH
        y = MARGIN + (row + 0.75) * CELL_HEIGHT
        if length:
            rows.append(f'<text x="{MARGIN}" y="{y}" textLength="{length}" xml:space="preserve">')
            rows[-1] += "".join(f'<tspan fill="{colour}">{escape(text)}</tspan>' for text, colour in line)
            rows[-1] += "</text>"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
            f'<rect width="{width}" height="{height}" rx="8" fill="#11172c"/>',
            '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="15">',
            *rows,
            "</g>",
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    main()
