"""Makes docs/pong.svg: bots play pong in a real terminal (tmux), and the screen is drawn as SVG.

python docs/capture_pong.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from html import escape
from pathlib import Path

SESSION = "pong-capture"
COLUMNS, ROWS = 80, 24
CELL_WIDTH, CELL_HEIGHT, MARGIN = 9, 18, 16
SECONDS = 12.0
TARGET = Path(__file__).with_name("pong.svg")


def main() -> None:
    command = f"{sys.executable} -m demos.pong --spectate"
    tmux("new-session", "-d", "-s", SESSION, "-x", str(COLUMNS), "-y", str(ROWS), command)
    try:
        time.sleep(SECONDS)
        screen = tmux("capture-pane", "-p", "-e", "-t", SESSION)
    finally:
        tmux("send-keys", "-t", SESSION, "q")
        time.sleep(1.0)
        subprocess.run(["tmux", "kill-session", "-t", SESSION], capture_output=True, check=False)
    TARGET.write_text(svg([plain(line) for line in screen.splitlines()]), encoding="utf-8")
    print(f"wrote {TARGET}")


def tmux(*arguments: str) -> str:
    return subprocess.run(["tmux", *arguments], check=True, capture_output=True, text=True).stdout


def plain(line: str) -> str:
    """A captured line without its escape sequences; what is drawn reversed becomes full blocks."""
    text, is_reversed = [], False
    for found in re.finditer(r"\x1b\[(?P<style>[\d;]*)m|\x1b\(.|[\x0e\x0f]|(?P<character>.)", line):
        style, character = found["style"], found["character"]
        if style is not None:
            is_reversed = "7" in style.split(";")
        elif character is not None:
            text.append("\u2588" if is_reversed and character == " " else character)
    return "".join(text)


def svg(lines: list[str]) -> str:
    width = COLUMNS * CELL_WIDTH + 2 * MARGIN
    height = ROWS * CELL_HEIGHT + 2 * MARGIN
    rows = [
        f'<text x="{MARGIN}" y="{MARGIN + (row + 0.75) * CELL_HEIGHT}" textLength="{len(line) * CELL_WIDTH}" '
        f'xml:space="preserve">{escape(line)}</text>'
        for row, line in enumerate(lines[:ROWS])
        if line.strip()
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
            f'<rect width="{width}" height="{height}" rx="8" fill="#10141c"/>',
            '<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="15" fill="#d7e3f4">',
            *rows,
            "</g>",
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    main()
