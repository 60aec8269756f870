"""The server of the chat: who is connected, what may be said, and who gets which line."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demos.chat import rules
from demos.chat.rules import Refused
from demos.chat.shared import DELIVERIES, GAME, PRIVATE, Line
from demos.chat.transcript import MAX_NUMBER, Transcript
from pygase_gevent import (
    TO_DELETE,
    Backend,
    GameState,
    GameStateUpdate,
    NotRunningError,
    QueueFullError,
    UnknownClientError,
)

Address = tuple[str, int]
Answer = dict[str, Any]
Handler = Callable[..., Answer]

ID_LENGTH = 16
RETURN_S, RETRY_S = 10.0, 0.5
"""When people come back to a new server, others may need so long; whoever writes to them tries again."""
ARRIVAL_S = 10.0
"""Whoever starts a server may take so long to come."""
TOO_FAST = "slow down a little: your lines are sent one by one"


class Seat:
    """What the server knows of a user, and nobody else needs to."""

    def __init__(self, address: Address) -> None:
        now = time.monotonic()
        self.address = address
        self.lines = rules.Allowance(rules.LINES_AT_ONCE, rules.LINES_PER_S, now)
        self.requests = rules.Allowance(rules.REQUESTS_AT_ONCE, rules.REQUESTS_PER_S, now)
        self.refusals = 0
        self.typed_at = 0.0


class ChatServer:
    """Events and hooks run in the game loop one after the other, so the order of lines is the same for all.

    Args:
        transcript: file of what was said, which outlives the server; `None`: it is forgotten with it.
        idle_s: the server ends after so long without anybody; `None`: never.
    """

    def __init__(self, transcript: Path | None = None, idle_s: float | None = None) -> None:
        self._path, self._idle_s = transcript, idle_s
        self._used_at: float | None = None
        self._seats: dict[str, Seat] = {}
        self._user_ids: dict[Address, str] = {}
        self._all_back_at = 0.0
        self._door = rules.Allowance(rules.ENTRIES_AT_ONCE, rules.ENTRIES_PER_S, time.monotonic())
        self.backend = Backend(
            GameState(users={}),
            self._step,
            {"SAY": self._say, "TYPING": self._type},
            on_drop=self._drop,
            on_reconnect=self._reconnect,
            on_leave=self._leave,
            game=GAME,
            deliveries=DELIVERIES,
        )
        self.backend.server.register_event_handler("ENTER", self._enter)
        seen: dict[str, Handler] = {"JOIN": self._join, "LEAVE": self._leave_room, "NICK": self._rename}
        unseen: dict[str, Handler] = {"WHO": self._who, "ROOMS": self._rooms, "HISTORY": self._history}
        for name, answer in {**seen, **unseen}.items():
            self.backend.server.register_event_handler(name, self._for_users(answer, name in seen))

    @functools.cached_property
    def _transcript(self) -> Transcript:
        # Read when it is first needed: the port is this server's then, and nobody else's file is written.
        return Transcript(self._path)

    @property
    def _users(self) -> rules.Users:
        users: rules.Users = self.backend.game_state_store.get_game_state().users
        return users

    # --- events: in the game loop, returning what changes ---------------------------------------------------

    def _say(
        self, number: int, target: str, kind: str, text: str, client_address: Address, game_state: GameState
    ) -> Answer:
        user_id, users = self._user_ids.get(client_address, ""), game_state.users
        if user_id not in users or not isinstance(number, int) or not 0 < number < MAX_NUMBER:
            return {}
        seat = self._seats[user_id]
        wait_s = self._wait_s(seat, seat.lines)
        if wait_s:
            self._send("HEARD", seat, number, TOO_FAST, wait_s)
            return {}
        try:
            if number > self._transcript.heard(user_id):
                self._publish(users, user_id, number, target, kind, text)
            else:  # said again, after the server that heard it died
                self._send("HEARD", seat, number, "", 0.0)
        except (Refused, OSError) as why:
            if isinstance(why, rules.Nobody) and time.monotonic() < self._all_back_at:
                self._send("HEARD", seat, number, f"{why} yet", RETRY_S)
            else:
                self._transcript.has_heard(user_id, number)
                self._send("HEARD", seat, number, str(why), 0.0)
        return {"users": {user_id: {"typing": ""}}} if users[user_id]["typing"] else {}

    def _publish(
        self, users: rules.Users, user_id: str, number: int, target: object, kind: object, text: object
    ) -> None:
        """Keeps what was said, and sends it to those whom it is for."""
        text = rules.check_text(text)
        name = users[user_id]["name"]
        line = Line("", 0, round(time.time(), 3), "me" if kind == "me" else "said", name, text)
        if isinstance(target, str) and target.startswith(PRIVATE):
            other_id = rules.find(users, target.removeprefix(PRIVATE))
            line = line._replace(room=PRIVATE, to=users[other_id]["name"])
            receivers = {PRIVATE + receiver_id: [receiver_id] for receiver_id in (other_id, user_id)}
        else:
            line = line._replace(room=rules.room_of(users, user_id, target))
            receivers = {line.room: rules.members(users, line.room)}
        numbered = self._transcript.add(user_id, number, [(log, line) for log in receivers])
        for receiver_ids, line in zip(receivers.values(), numbered, strict=True):
            for receiver_id in receiver_ids:
                said = number if receiver_id == user_id else 0
                self._send("LINE", self._seats[receiver_id], *line._replace(said=said))

    def _type(self, room: str, client_address: Address, game_state: GameState) -> Answer:
        user_id = self._user_ids.get(client_address, "")
        user = game_state.users.get(user_id)
        if user is None or not isinstance(room, str) or room not in ("", *user["rooms"]):
            return {}
        seat = self._seats[user_id]
        if user["typing"] != room and self._wait_s(seat, seat.requests):
            return {}
        seat.typed_at = time.monotonic()
        return {"users": {user_id: {"typing": room}}} if user["typing"] != room else {}

    def _step(self, game_state: GameState, dt: float) -> Answer:
        now = time.monotonic()
        if self._used_at is None:
            self._used_at = now + ARRIVAL_S
        elif self.backend.server.connections:
            self._used_at = now
        elif self._idle_s is not None and now - self._used_at > self._idle_s:
            self.backend.shutdown()
        stopped = [
            user_id
            for user_id, user in game_state.users.items()
            if user["typing"] and now - self._seats[user_id].typed_at > rules.TYPING_S
        ]
        return {"users": {user_id: {"typing": ""} for user_id in stopped}} if stopped else {}

    # --- hooks: in the game loop ----------------------------------------------------------------------------

    def _drop(self, client_address: Address, game_state: GameState) -> Answer:
        return self._be_here(client_address, game_state, False, "lost the connection")

    def _reconnect(self, client_address: Address, game_state: GameState) -> Answer:
        return self._be_here(client_address, game_state, True, "is back")

    def _be_here(self, client_address: Address, game_state: GameState, is_here: bool, what: str) -> Answer:
        user_id = self._user_ids.get(client_address, "")
        if user_id not in game_state.users:
            return {}
        for room in game_state.users[user_id]["rooms"]:
            self._notify(game_state.users, room, f"{game_state.users[user_id]['name']} {what}", but=user_id)
        return {"users": {user_id: {"is_here": is_here, "typing": ""}}}

    def _leave(self, client_address: Address, game_state: GameState) -> Answer:
        user_id = self._user_ids.pop(client_address, "")
        if user_id not in game_state.users:
            return {}  # never entered, or has entered anew since
        del self._seats[user_id]
        user = game_state.users[user_id]
        for room in user["rooms"]:
            self._notify(game_state.users, room, f"{user['name']} left", but=user_id)
        return {"users": {user_id: TO_DELETE}}

    # --- calls: each returns what the client asked for -----------------------------------------------------

    def _enter(
        self, secret: bytes, name: str, rooms: list[str], heard: int, client_address: Address
    ) -> Answer:
        """Lets a client in, also into a new session: whoever knows the secret is the same user."""
        if not isinstance(secret, bytes) or not isinstance(rooms, list) or not isinstance(heard, int):
            return {"refused": "that is no way to enter"}
        user_id = hashlib.sha256(secret).hexdigest()[:ID_LENGTH]
        if self._user_ids.get(client_address, user_id) != user_id:
            return {"refused": "you are somebody already"}
        seat = self._seats.get(user_id)  # who has one is charged for himself, and keeps nobody else out
        wait_s = self._wait_s(seat, seat.requests) if seat else self._door.wait_s(time.monotonic())
        if wait_s:
            return {"refused": TOO_FAST if seat else "many come in at this moment", "wait_s": wait_s}
        if client_address not in self._user_ids:
            self._let_in(user_id, name, rooms, client_address)
            self._transcript.has_heard(user_id, min(max(0, heard), MAX_NUMBER))
        name, rooms = self._users[user_id]["name"], list(self._users[user_id]["rooms"])
        return {"name": name, "rooms": rooms, "heard": self._transcript.heard(user_id)}

    def _let_in(self, user_id: str, name: str, rooms: list[str], address: Address) -> None:
        users = self._users
        changes = rules.enter(users, user_id, name, rooms)
        if rooms and user_id not in users:  # of another server, perhaps: so are those whom he writes to
            self._all_back_at = time.monotonic() + RETURN_S
        if user_id in users:  # has lost a session, and the server did not notice yet
            del self._user_ids[self._seats[user_id].address]
            self._seats[user_id].address = address
        else:
            self._seats[user_id] = Seat(address)
        self._user_ids[address] = user_id
        self._change(changes)
        name, lines = changes[user_id]["name"], self._seats[user_id].lines
        for room in changes[user_id]["rooms"]:
            if user_id in users and lines.wait_s(time.monotonic()):
                break  # comes back all the time: others need not know of each
            is_back = user_id in users or rooms
            self._notify(users, room, f"{name} is back" if is_back else f"{name} joined {room}", but=user_id)

    def _join(self, user_id: str, room: str) -> Answer:
        changes = rules.join(self._users, user_id, room)
        (joined,) = changes[user_id]["rooms"]
        if joined not in self._users[user_id]["rooms"]:
            self._notify(self._users, joined, f"{self._users[user_id]['name']} joined {joined}")
            self._change(changes)
        return {"room": joined, "names": rules.names_in(self._users, joined)}

    def _leave_room(self, user_id: str, room: str) -> Answer:
        self._change(rules.leave(self._users, user_id, room))
        self._notify(self._users, room.casefold(), f"{self._users[user_id]['name']} left {room.casefold()}")
        return {}

    def _rename(self, user_id: str, name: str) -> Answer:
        name, old = rules.check_name(self._users, user_id, name), self._users[user_id]["name"]
        self._change({user_id: {"name": name}})
        for room in self._users[user_id]["rooms"]:
            self._notify(self._users, room, f"{old} is now {name}")
        return {"name": name}

    def _who(self, user_id: str, room: str) -> Answer:
        return {"names": rules.names_in(self._users, rules.check_room(self._users, room))}

    def _rooms(self, user_id: str) -> Answer:
        return {"rooms": rules.rooms_with_people(self._users)}

    def _history(self, user_id: str, room: str, after: int | None) -> Answer:
        log = PRIVATE + user_id if room == PRIVATE else rules.room_of(self._users, user_id, room)
        lines = self._transcript.lines(log, after if isinstance(after, int) else None)
        return {"lines": [list(line) for line in lines], "last": self._transcript.last(log)}

    def _for_users(self, answer: Handler, is_seen: bool) -> Handler:
        """A call that only users may make, and not too many; one that others see counts as a line."""

        def handle(*args: Any, client_address: Address) -> Answer:
            user_id = self._user_ids.get(client_address, "")
            if user_id not in self._users:
                return {"refused": "enter first"}
            seat = self._seats[user_id]
            wait_s = self._wait_s(seat, seat.lines if is_seen else seat.requests)
            if wait_s:
                return {"refused": TOO_FAST, "wait_s": wait_s}
            try:
                return answer(user_id, *args)
            except Refused as why:
                return {"refused": str(why)}

        return handle

    # --- sending --------------------------------------------------------------------------------------------

    def _change(self, users: rules.Changes) -> None:
        self.backend.game_state_store.push_update(GameStateUpdate(0, users=users))

    def _notify(self, users: rules.Users, room: str, text: str, but: str = "") -> None:
        line = Line(room, 0, time.time(), "notice", "", text)
        for user_id in rules.members(users, room):
            if user_id != but:
                self._send("LINE", self._seats[user_id], *line)

    def _send(self, event_type: str, seat: Seat, *args: Any) -> None:
        # Unknown: leaves at this moment. Full: has been away for thousands of lines, and asks for them.
        with contextlib.suppress(UnknownClientError, QueueFullError):
            self.backend.server.dispatch_event(event_type, *args, target_client=seat.address)

    def _wait_s(self, seat: Seat, allowance: rules.Allowance) -> float:
        """How long this user has to wait; who never does is shown the door."""
        wait_s = allowance.wait_s(time.monotonic())
        seat.refusals = seat.refusals + 1 if wait_s else 0
        if seat.refusals > rules.PATIENCE:
            with contextlib.suppress(UnknownClientError, NotRunningError):
                self.backend.server.kick(seat.address, "too much at once")
        return wait_s
