"""The network side of one user of the chat: stays connected, and misses and repeats nothing."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent

from demos.chat import rules
from demos.chat.numbering import Inbox, Outbox
from demos.chat.rules import Refused
from demos.chat.shared import DELIVERIES, GAME, PRIVATE, Line, cleaned
from pygase_gevent import CallTimeoutError, Client, ConnectionStatus, DisconnectReason, PygaseError

CONNECT_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 5.0
RETRY_S = 1.0
TYPING_AGAIN_S = 2.0
FINAL = {
    DisconnectReason.GOODBYE,
    DisconnectReason.KICKED,
    DisconnectReason.BANNED,
    DisconnectReason.PROTOCOL_MISMATCH,
}

Show = Callable[[Line, bool], None]


class ChatClient:
    """Says what is typed, and hands each line to `show`, in an order that is the same for all.

    Args:
        name: as one wants to be called; the server may know somebody of that name already.
        show: called as `show(line, is_old)`, from several threads, one at a time; old lines are a room's
            history from before one came.

    Attributes:
        name: what the server calls this user.
        is_over: set when the connection has ended for good, by either side.
    """

    def __init__(self, name: str, show: Show) -> None:
        self.name = name
        self.is_over = threading.Event()
        self._secret = secrets.token_bytes(16)
        self._show = show
        self._has_entered = threading.Event()
        self._is_leaving = threading.Event()
        self._refusal, self._is_slowed_down = "", False
        self._typing: tuple[str, float] = ("", 0.0)
        self._lock = threading.Lock()  # over both boxes, and over showing what comes out of them
        self._inbox, self._outbox = Inbox(), Outbox()
        self._client = Client(game=GAME, deliveries=DELIVERIES)
        self._client.on_connect = self._enter
        self._client.on_drop = lambda: self.notice("connection lost, trying to get it back")
        self._client.on_resume = lambda: self.notice("connected again")
        self._client.register_event_handler("LINE", self._take_line)
        self._client.register_event_handler("HEARD", self._take_heard)

    # --- the life of the connection -------------------------------------------------------------------------

    def connect(self, host: str, port: int) -> None:
        """Connects and enters the lobby; from then on the connection is kept, whatever happens to it.

        Raises:
            ConnectionError: the server is full, closed the connection, or does not answer.
        """
        threading.Thread(target=self._stay_connected, args=(host, port), daemon=True).start()
        ends_at = time.monotonic() + CONNECT_TIMEOUT_S
        self._client.wait_connected(CONNECT_TIMEOUT_S)
        self._has_entered.wait(max(0.1, ends_at - time.monotonic()))
        if not self._has_entered.is_set():
            raise ConnectionError(self._refusal or "the server does not let anybody in")

    def disconnect(self) -> None:
        self._is_leaving.set()
        self._client.disconnect()

    def quit(self, timeout_s: float) -> bool:
        """Says goodbye when everything said before was heard, or after the timeout; whether it was."""
        self.wait_until_heard(timeout_s)
        self.disconnect()
        return not self.unsent

    def wait_until_heard(self, timeout_s: float) -> None:
        """Returns when everything said was heard, or after the timeout."""
        ends_at = time.monotonic() + timeout_s
        while self.unsent and not self.is_over.is_set() and time.monotonic() < ends_at:
            time.sleep(0.01)

    def _stay_connected(self, host: str, port: int) -> None:
        while not self._is_leaving.is_set():
            self._client.connect_in_thread(port, host).join()
            end = self._client.connection.disconnect_reason
            if self._is_leaving.is_set() or (end is not None and end.reason in FINAL):
                break
            self._is_leaving.wait(RETRY_S)
        if not self._is_leaving.is_set():
            self.notice(f"disconnected: {end}")
        self.is_over.set()

    def _enter(self) -> None:
        """A session begins: of a server that may be another process, so everything is told and asked anew.

        Lines that arrive meanwhile wait behind this handler.
        """
        is_done = False
        while not is_done and not self._is_leaving.is_set():
            try:
                self._enter_once()
                is_done = True
            except Refused as why:
                self._refusal, is_done = str(why), True
                self.notice(self._refusal)
            except PygaseError as error:  # if not of time, there will be another session, or none
                is_done = not isinstance(error, CallTimeoutError)

    def _enter_once(self) -> None:
        is_new = not self._has_entered.is_set()
        rooms = [room for room in self._inbox.rooms() if room != PRIVATE]
        answer = self._ask("ENTER", self._secret, self.name, rooms, self._outbox.heard)
        for room in (*answer["rooms"], PRIVATE):
            self._read_history(room)
        if answer["name"] != self.name:
            self.notice(f"the name {self.name} is taken, or not allowed: you are {answer['name']}")
            self.name = answer["name"]
        if is_new:
            self.notice(f"{self.name} joined {rules.LOBBY}")
            self.notice(f"in {rules.LOBBY}: {', '.join(self.who(rules.LOBBY))}")
        else:
            self.notice("connected again")
        with self._lock:
            self._outbox.was_heard(answer["heard"])
            self._outbox.send_again()
        self._has_entered.set()
        self._send_next()

    # --- what a user does: any thread -----------------------------------------------------------------------

    def say(self, target: str, text: str, kind: str = "said") -> None:
        """Says something in a room, or to `@name`; while the server is away it waits.

        Raises:
            Refused: too much waits already.
        """
        with self._lock:
            self._outbox.add(target, kind, text)
        self._typing = ("", 0.0)
        self._send_next()

    def type(self, room: str) -> None:
        """This user types into a room, or stopped typing: `""`."""
        (last_room, last_at), now = self._typing, time.monotonic()
        if room == last_room and (not room or now - last_at < TYPING_AGAIN_S):
            return
        self._typing = (room, now)
        self._dispatch("TYPING", room)

    def join(self, room: str) -> tuple[str, list[str], bool]:
        """Enters a room and shows its history; its name, the names in it, and whether it is new."""
        answer = self._ask("JOIN", room)
        is_new = self._inbox.last(answer["room"]) is None
        if is_new:
            self._read_history(answer["room"])
        return answer["room"], answer["names"], is_new

    def leave(self, room: str) -> None:
        self._ask("LEAVE", room)
        with self._lock:
            self._inbox.forget(room.casefold())

    def rename(self, name: str) -> None:
        self.name = self._ask("NICK", name)["name"]

    def who(self, room: str) -> list[str]:
        """The names in a room."""
        return list(self._ask("WHO", room)["names"])

    def rooms(self) -> dict[str, int]:
        """How many are in each room."""
        return dict(self._ask("ROOMS")["rooms"])

    def history(self, room: str) -> list[Line]:
        """The last lines of a room."""
        return [cleaned(line) for line in self._ask("HISTORY", room, None)["lines"]]

    def _ask(self, what: str, *args: Any) -> dict[str, Any]:
        """Calls the server.

        Raises:
            Refused: the server will not, and says why.
            PygaseError: no answer.
        """
        while True:
            answer: dict[str, Any] = self._client.call(what, *args, timeout=CALL_TIMEOUT_S)
            if "wait_s" not in answer:
                break
            gevent.sleep(answer["wait_s"])  # this may be the network's thread
        if "refused" in answer:
            raise Refused(rules.clean(answer["refused"]))
        return answer

    # --- what is there --------------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Lines that the server is not known to have heard."""
        return len(self._outbox)

    def users(self) -> rules.Users:
        """Who is there, by id, from the synchronized state."""
        with self._client.access_game_state() as state:
            return dict(getattr(state, "users", {}))

    def status(self) -> tuple[str, float, float]:
        """The connection's state in a word, the round trip in seconds, and the share of packets lost."""
        connection = self._client.connection
        if connection.status == ConnectionStatus.CONNECTED:
            word = "connected"
        elif self.is_over.is_set():
            word = "disconnected"
        else:
            word = "connecting" if connection.session_id is None else "resuming"
        return word, connection.latency, connection.stats.loss

    @property
    def is_looking_for_server(self) -> bool:
        """Whether the connection is away, and wanted."""
        is_connected = self._client.connection.status == ConnectionStatus.CONNECTED
        return not is_connected and not self._is_leaving.is_set()

    def notice(self, text: str, room: str = "") -> None:
        """Shows a line of this program's own, in a room or where the user is looking."""
        with self._lock:
            self._show(Line(room, 0, time.time(), "notice", "", rules.clean(text)), False)

    # --- what the server says: the network thread -----------------------------------------------------------

    def _take_line(self, *fields: Any) -> None:
        line = cleaned(fields)
        with self._lock:
            for ready in self._inbox.take(line):
                self._show(ready, False)
            self._outbox.was_heard(line.said)
        if line.said:
            self._send_next()
        if self._inbox.has_gap(line.room):
            with suppress(Refused, PygaseError):  # the next line tries again
                self._read_history(line.room)

    def _read_history(self, room: str) -> None:
        """Shows what was said in a room since the last line seen there, or its end to a newcomer."""
        is_old = self._inbox.last(room) is None
        while True:
            answer = self._ask("HISTORY", room, self._inbox.last(room))
            lines, last = [cleaned(line) for line in answer["lines"]], answer["last"]
            is_last_page = not lines or lines[-1].number >= last
            with self._lock:
                for line in self._inbox.take_history(room, lines, last if is_last_page else lines[-1].number):
                    self._show(line, is_old)
            if is_last_page:
                return

    def _take_heard(self, number: int, refused: str, wait_s: float) -> None:
        """The server's answer to what it did not say (again)."""
        if wait_s:
            timer = threading.Timer(wait_s, self._send_again)
            timer.daemon = True
            timer.start()
        else:
            with self._lock:
                self._outbox.was_heard(number)
            self._send_next()
        if refused and not (wait_s and self._is_slowed_down):
            self.notice(refused)
        self._is_slowed_down = bool(wait_s)

    def _send_again(self) -> None:
        with self._lock:
            self._outbox.send_again()
        self._send_next()

    def _send_next(self) -> None:
        if not self._has_entered.is_set():
            return
        with self._lock:
            line = self._outbox.next_to_send()
        if line is not None:
            self._dispatch("SAY", *line)

    def _dispatch(self, event_type: str, *args: Any) -> None:
        with suppress(PygaseError):  # not connected: what matters is sent again after entering anew
            self._client.dispatch_event(event_type, *args)
