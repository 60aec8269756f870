"""Makes docs/chat.svg: four people chat in real terminals (tmux), and one's screen is drawn as SVG.

python docs/capture_chat.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path

COLUMNS, ROWS = 92, 24
CELL_WIDTH, CELL_HEIGHT, MARGIN = 9, 18, 16
TARGET = Path(__file__).with_name("chat.svg")
PEOPLE = ("ada", "grace", "linus", "zoë")
PATIENCE_S = 20.0
# Who types what; a name alone waits a moment, so that all see the lines in this order.
SCRIPT = (
    ("zoë", "/join pong-league"),
    ("grace", "hello! is this thing on?"),
    ("ada", "loud and clear, grace"),
    ("linus", "I am on a train: 20 % loss, and nobody notices"),
    ("grace", "so that is why you wait for the tunnel to end before you win"),
    ("linus", "/me has resumed his session since, twice"),
    ("zoë", "league table is up in #pong-league"),
    ("grace", "who restarted the server? my line went out all the same"),
    ("ada", "that was me, with kill -9. It is numbered, so it is neither lost nor said twice: 42 はい"),
    ("zoë", "/join pong-league"),
    ("zoë", "round one: ada against linus"),
    ("zoë", "round two: whoever wins"),
    ("grace", "/msg ada do not tell linus, but his paddle is slow"),
    ("linus", "ada, a game?"),
)
COLOURS = ("#3b4252", "#e06c75", "#7ec16e", "#d8a657", "#6c9ef8", "#c586c0", "#56b6c2", "#c8ccd4")
BRIGHT = ("#6b7280", "#ff7b85", "#98e088", "#f2c97d", "#8db4ff", "#e0a3dc", "#7fd7e3", "#ffffff")
TOKEN = re.compile(r"\x1b\[(?P<codes>[\d;:]*)m|\x1b\(.|[\x0e\x0f]|(?P<text>[^\x1b\x0e\x0f]+)")
PLAIN, BACKGROUND = "#d7e3f4", "#10141c"


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(
            [sys.executable, "-m", "demos.chat", "--server", "--port", "0"],  # keeps no transcript
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            address = server.stdout.readline().removeprefix("listening on ").strip()
            screen = chat(address, f"{directory}/tmux")
        finally:
            server.terminate()
            server.wait()
    TARGET.write_text(svg(screen.splitlines()), encoding="utf-8")
    print(f"wrote {TARGET}")


def chat(address: str, socket: str) -> str:
    """Lets the people chat, and returns ada's screen."""

    def tmux(*arguments: str) -> str:
        command = ["tmux", "-S", socket, "-f", "/dev/null", "-u", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def wait_for(name: str, text: str) -> None:
        ends_at = time.monotonic() + PATIENCE_S
        while text not in tmux("capture-pane", "-p", "-t", name):
            assert time.monotonic() < ends_at, f"{name} never saw {text!r}"
            time.sleep(0.1)

    try:
        for name in PEOPLE:
            command = f"{sys.executable} -m demos.chat --join {address} --name {name}"
            tmux("new-session", "-d", "-s", name, "-x", str(COLUMNS), "-y", str(ROWS), command)
            wait_for(name, "connected")
        tmux("send-keys", "-t", "ada", "/join pong-league", "Enter")
        wait_for("ada", "in pong-league")
        tmux("send-keys", "-t", "ada", "/join lobby", "Enter")
        wait_for("ada", "#lobby  4 people")
        for name, typed in SCRIPT:
            tmux("send-keys", "-t", name, "-l", typed)
            time.sleep(0.3)
            tmux("send-keys", "-t", name, "Enter")
            time.sleep(0.7)
        tmux("send-keys", "-t", "grace", "-l", "popc")
        tmux("send-keys", "-t", "ada", "-l", "with pleas")
        wait_for("ada", "grace is typing")
        return tmux("capture-pane", "-p", "-e", "-N", "-t", "ada")
    finally:
        subprocess.run(["tmux", "-S", socket, "kill-server"], capture_output=True, check=False)


def svg(lines: list[str]) -> str:
    width = COLUMNS * CELL_WIDTH + 2 * MARGIN
    height = ROWS * CELL_HEIGHT + 2 * MARGIN
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
        '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="15" xml:space="preserve">',
    ]
    style = Style()  # goes on from row to row
    for row, line in enumerate(lines[:ROWS]):
        column = 0
        for found in TOKEN.finditer(line):
            if found["codes"] is not None:
                style = style.after(found["codes"])
            elif found["text"]:
                columns = sum(1 + (character > "\u2fff") for character in found["text"])
                drawn += style.drawn(found["text"], column, row, columns)
                column += columns
    return "\n".join([*drawn, "</g>", "</svg>", ""])


class Style:
    """Colours and weight of a piece of text, as SGR codes set them."""

    def __init__(self, fill: str = PLAIN, back: str = "", attributes: frozenset[str] = frozenset()) -> None:
        self.fill, self.back, self.attributes = fill, back, attributes

    def after(self, codes: str) -> Style:
        fill, back, attributes = self.fill, self.back, self.attributes
        for code in (int(code or 0) for code in codes.replace(":", ";").split(";")):
            if code == 0:
                fill, back, attributes = PLAIN, "", frozenset()
            elif code in (1, 3, 7):
                attributes |= {{1: 'font-weight="bold"', 3: 'font-style="italic"', 7: "reverse"}[code]}
            elif 30 <= code <= 37 or 90 <= code <= 97:
                fill = (COLOURS if code < 90 else BRIGHT)[code % 10]
            elif 40 <= code <= 47 or 100 <= code <= 107:
                back = (COLOURS if code < 100 else BRIGHT)[code % 10]
            elif code in (39, 49):
                fill, back = (PLAIN, back) if code == 39 else (fill, "")
        return Style(fill, back, attributes)

    def drawn(self, text: str, column: int, row: int, columns: int) -> list[str]:
        fill, back = (BACKGROUND, self.fill) if "reverse" in self.attributes else (self.fill, self.back)
        x, y = MARGIN + column * CELL_WIDTH, MARGIN + row * CELL_HEIGHT
        box = f'<rect x="{x}" y="{y}" width="{columns * CELL_WIDTH}" height="{CELL_HEIGHT}" fill="{back}"/>'
        font = " ".join(sorted(self.attributes - {"reverse"}))
        words = (
            f'<text x="{x}" y="{y + 0.75 * CELL_HEIGHT}" textLength="{columns * CELL_WIDTH}" '
            f'fill="{fill}" {font}>{escape(text)}</text>'
        )
        return [box] * bool(back) + [words] * bool(text.strip())


if __name__ == "__main__":
    main()
