"""What a typed line means: something to say, or a command. The same for screen and pipe."""

from __future__ import annotations

from collections.abc import Callable

from demos.chat import rules
from demos.chat.client import ChatClient
from demos.chat.rules import Refused
from demos.chat.shared import Line
from pygase_gevent import CallTimeoutError, PygaseError

HELP = {
    "/join ROOM": "enter a room, or go back to one",
    "/leave [ROOM]": "leave it",
    "/rooms": "rooms with people in them",
    "/who [ROOM]": "who is in it",
    "/msg NAME TEXT": "say something to one person only",
    "/me TEXT": "say what you do",
    "/nick NAME": "change your name",
    "/history": "the room's last lines",
    "/help": "this list",
    "/quit": "say goodbye",
}


PATIENCE_S = 5.0


class Commands:
    """Does what a user types. Asking the server blocks, so a screen does it in a thread of its own.

    Args:
        client: the user's connection.
        show_history: shows lines of `/history`.
        go: called with the place that the user goes to.
        close: called with the room that the user left.

    Attributes:
        place: where typed lines go: a room, or `@name`.
    """

    def __init__(
        self,
        client: ChatClient,
        show_history: Callable[[Line], None],
        go: Callable[[str], None] = lambda _: None,
        close: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.place = rules.LOBBY
        self._client = client
        self._show_history = show_history
        self._go, self._close = go, close
        self._commands: dict[str, Callable[[str], None]] = {
            "/join": self._join,
            "/leave": self._leave,
            "/rooms": self._rooms,
            "/who": self._who,
            "/msg": self._message,
            "/me": lambda text: client.say(self.place, text, "me"),
            "/nick": client.rename,
            "/history": self._history,
            "/help": self._help,
        }

    def do(self, typed: str, place: str = "") -> None:
        """Says or does one typed line; what cannot be done is told to the user.

        Args:
            typed: the line.
            place: where the user was when typing it, if the user may have moved on.
        """
        self.place = place or self.place
        command, _, argument = typed.strip().partition(" ")
        try:
            if not command:
                return
            if not command.startswith("/"):
                self._client.say(self.place, typed.strip())
            elif command in self._commands:
                self._client.wait_until_heard(PATIENCE_S)  # what was said before happens before
                self._commands[command](argument.strip())
            else:
                self._tell(f"no such command: {command}; /help lists them")
        except Refused as why:
            self._tell(str(why))
        except CallTimeoutError:
            self._tell(f"{command}: the server does not answer")
        except PygaseError:
            self._tell(f"{command}: not connected at this moment")

    def _tell(self, text: str) -> None:
        self._client.notice(text, self.place)

    def _join(self, room: str) -> None:
        self.place, names, is_new = self._client.join(room)
        self._go(self.place)
        if is_new:
            self._tell(f"{self._client.name} joined {self.place}")
        self._tell(f"in {self.place}: {', '.join(names)}")

    def _leave(self, room: str) -> None:
        room = (room or self.place).casefold()
        if not room.startswith("@"):
            self._client.leave(room)
        if room == self.place.casefold():
            self.place = rules.LOBBY
        self._close(room)
        self._tell(f"you left {room}")

    def _rooms(self, _: str) -> None:
        counts = sorted(self._client.rooms().items(), key=lambda item: (-item[1], item[0]))
        self._tell("rooms: " + ", ".join(f"{rules.clean(room)} ({count})" for room, count in counts))

    def _who(self, room: str) -> None:
        room = room or (rules.LOBBY if self.place.startswith("@") else self.place)
        self._tell(f"in {room}: {', '.join(map(rules.clean, self._client.who(room)))}")

    def _message(self, argument: str) -> None:
        name, _, text = argument.partition(" ")
        if not name:
            raise Refused("/msg NAME TEXT says something to one person only")
        if text.strip():
            self._client.say(f"@{name}", text.strip())
        else:
            self._go(f"@{name}")

    def _history(self, _: str) -> None:
        room = "@" if self.place.startswith("@") else self.place
        for line in self._client.history(room):
            self._show_history(line)

    def _help(self, _: str) -> None:
        for usage, text in HELP.items():
            self._tell(f"{usage}: {text}")
