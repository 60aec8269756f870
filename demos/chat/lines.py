"""The chat line by line, for pipes and scripts."""

from __future__ import annotations

import sys
import time

from demos.chat.client import ChatClient
from demos.chat.commands import Commands
from demos.chat.shared import PRIVATE, Line

MAX_AHEAD = 50
"""Lines read that the server has not heard yet; then reading waits."""
PATIENCE_S = 30.0
"""How long the last lines may take to be heard, after the end of input."""


class LineByLine:
    """Says each line of the input, and prints each line that is said.

    What was said before one came is not printed, unless `/history` asks for it: it is no news to a script.

    Attributes:
        client: the user's connection.
    """

    def __init__(self, name: str) -> None:
        self.client = ChatClient(name, self._show)
        self._commands = Commands(self.client, self._print)

    def run(self, host: str, port: int) -> None:
        """Chats between standard input and output until `/quit`, the end of input or of the connection.

        Raises:
            ConnectionError: there is no connection, or it ended before everything was said.
        """
        try:
            self.client.connect(host, port)
            for line in sys.stdin:
                while self.client.unsent > MAX_AHEAD and not self.client.is_over.is_set():
                    time.sleep(0.05)
                if self.client.is_over.is_set() or line.strip() == "/quit":
                    break
                self._commands.do(line)
            if not self.client.quit(PATIENCE_S):
                raise ConnectionError(f"{self.client.unsent} lines were not heard by the server")
        finally:
            self.client.disconnect()

    def _show(self, line: Line, is_old: bool) -> None:
        if not is_old:
            self._print(line)

    def _print(self, line: Line) -> None:
        place = "" if line.room in ("", PRIVATE, self._commands.place) else f"#{line.room} "
        print(place + formatted(line), flush=True)


def formatted(line: Line) -> str:
    """`<ann> hello`, `<ann to ben> hello`, `~ ann waves` or, what nobody can say, `* ann left`."""
    if line.kind == "notice":
        return f"* {line.text}"
    to = f" to {line.to}" if line.to else ""
    return f"~ {line.author}{to} {line.text}" if line.kind == "me" else f"<{line.author}{to}> {line.text}"
