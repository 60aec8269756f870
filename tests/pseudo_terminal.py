"""A program on a terminal that the test reads as a person does: what stands where, in which style."""

from __future__ import annotations

import os
import re
import sys
import time

import pexpect
from wcwidth import wcwidth

COLUMNS, ROWS = 100, 24
SECONDS = 30  # generous: these wait on conditions

_TOKEN = re.compile(
    r"\x1b\[(?P<private>[?>]?)(?P<numbers>[\d;]*)(?P<intermediate> ?)(?P<command>[A-Za-z])"
    r"|\x1b\][^\x07]*\x07|\x1b[()=>78].?|(?P<control>[\x00-\x1a\x1c-\x1f])|(?P<character>[^\x1b])",
    re.DOTALL,
)


class Screen:
    """As much of a VT100 as prompt_toolkit writes to.

    Attributes:
        strange: sequences that have no business there; hostile text would be one.
    """

    def __init__(self) -> None:
        self.row = self.column = 0
        self.strange: list[str] = []
        self._cells = [[" "] * COLUMNS for _ in range(ROWS)]
        self._waiting = ""

    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]

    def feed(self, text: str) -> None:
        text, at = self._waiting + text, 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:  # the rest of a sequence is still to come
                break
            at = token.end()
            if token["command"]:
                self._command(token)
            elif token["control"]:
                self._control(token["control"])
            elif token["character"]:
                self._put(token["character"])
        self._waiting = text[at:]

    def _put(self, character: str) -> None:
        width = wcwidth(character)
        if width < 0:
            self.strange.append(character)
        elif width == 0:
            self._cells[self.row][max(0, self.column - 1)] += character
        elif self.column + width <= COLUMNS:
            self._cells[self.row][self.column] = character
            self._cells[self.row][self.column + 1 : self.column + width] = [""] * (width - 1)
            self.column += width

    def _control(self, control: str) -> None:
        if control == "\r":
            self.column = 0
        elif control == "\n":
            self.row = min(self.row + 1, ROWS - 1)
        elif control == "\b":
            self.column = max(self.column - 1, 0)
        elif control != "\x07":
            self.strange.append(control)

    def _command(self, token: re.Match[str]) -> None:
        numbers = [int(number or 0) for number in token["numbers"].split(";")]
        first = max(1, numbers[0])
        match token["private"] + token["command"]:
            case "A":
                self.row = max(self.row - first, 0)
            case "B":
                self.row = min(self.row + first, ROWS - 1)
            case "C":
                self.column = min(self.column + first, COLUMNS)
            case "D":
                self.column = max(self.column - first, 0)
            case "H":
                self.row = min(first, ROWS) - 1
                self.column = min(max(1, numbers[-1]), COLUMNS) - 1 if len(numbers) > 1 else 0
            case "J":
                if numbers[0] == 0:
                    self._cells[self.row][self.column :] = [" "] * (COLUMNS - self.column)
                for row in range(0 if numbers[0] == 2 else self.row + 1, ROWS):
                    self._cells[row] = [" "] * COLUMNS
            case "K":
                self._cells[self.row][self.column :] = [" "] * (COLUMNS - self.column)
            case "m" | "?h" | "?l" | "q" | ">m":
                pass
            case _:
                self.strange.append(token[0])


class OnTerminal:
    """Runs `python *arguments` on a pseudo-terminal."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.screen = Screen()
        self._process = pexpect.spawn(
            sys.executable,
            list(arguments),
            env={**os.environ, "TERM": "xterm-256color", "TZ": "UTC", **environment},
            dimensions=(ROWS, COLUMNS),
            encoding="utf-8",
            codec_errors="replace",
        )

    def type(self, keys: str) -> None:
        self._process.send(keys)

    def wait_for(self, pattern: str, *, is_there: bool = True) -> str:
        """Reads until a row matches (or none does); returns it."""
        ends_at = time.monotonic() + SECONDS
        while True:
            found = next((line for line in self.screen.lines() if re.search(pattern, line)), None)
            if (found is not None) == is_there:
                return found or ""
            assert time.monotonic() < ends_at, f"no {pattern!r} in\n" + "\n".join(self.screen.lines())
            self._read()

    @property
    def is_alive(self) -> bool:
        alive: bool = self._process.isalive()
        return alive

    def signal(self, number: int) -> None:
        self._process.kill(number)

    def end(self) -> int | None:
        """Waits for the end of the program; its exit status, `None` if a signal ended it."""
        ends_at = time.monotonic() + SECONDS
        while self._read():
            assert time.monotonic() < ends_at, "does not end"
        self._process.close()
        status: int | None = self._process.exitstatus
        return status

    def kill(self) -> None:
        self._process.close(force=True)

    def _read(self) -> bool:
        try:
            self.screen.feed(self._process.read_nonblocking(65_536, timeout=0.2))
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        return True
