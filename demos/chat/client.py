"""The network side of one user of the chat."""

from __future__ import annotations

import threading
from collections.abc import Callable

from demos.chat import rules
from demos.chat.shared import DELIVERIES, GAME
from pygase_gevent import Client

CONNECT_TIMEOUT_S = 5.0


class ChatClient:
    """Sends what is typed, and hands each line to show to `show`, on the network thread.

    Attributes:
        is_over: set when the connection has ended for good, by either side.
    """

    def __init__(self, name: str, show: Callable[[str], None]) -> None:
        self.is_over = threading.Event()
        self._name = name
        self._has_entered = threading.Event()
        self._is_leaving = False
        self._show = show
        self._client = Client(game=GAME, deliveries=DELIVERIES)
        self._client.on_connect = self._enter
        self._client.on_drop = lambda: show("* connection lost, trying to get it back")
        self._client.on_resume = lambda: show("* connected again")
        self._client.on_close = self._close
        self._client.register_event_handler("SHOW", self._show_line)

    def connect(self, host: str, port: int) -> None:
        """Connects and enters the lobby.

        Raises:
            ConnectionError: the server is full, closed the connection, or does not answer.
        """
        self._client.connect_in_thread(port, host)
        self._client.wait_connected(CONNECT_TIMEOUT_S)
        self._has_entered.wait(CONNECT_TIMEOUT_S)  # nothing may be said before the name

    def say(self, line: str) -> None:
        self._client.dispatch_event("SAY", line)

    def quit(self, timeout_s: float) -> None:
        """Says goodbye after everything said before has arrived and was shown, or after the timeout."""
        if not self.is_over.is_set():
            self.say("/quit")
            self.is_over.wait(timeout_s)
        self.disconnect()

    def disconnect(self) -> None:
        self._is_leaving = True
        self._client.disconnect()

    def _enter(self) -> None:
        # A new process of the server knows nobody: everybody enters again.
        self.say(f"/nick {self._name}")
        self._has_entered.set()

    def _show_line(self, kind: str, name: str, text: str) -> None:
        if kind == "bye":
            self.disconnect()
            return
        # The server cleans lines too; a terminal trusts no server.
        name, text = rules.clean(name), rules.clean(text)
        self._show(f"<{name}> {text}" if kind == "said" else f"* {text}")

    def _close(self, reason: object) -> None:
        if not self._is_leaving:
            self._show(f"* disconnected: {rules.clean(str(reason))}")
        self.is_over.set()
