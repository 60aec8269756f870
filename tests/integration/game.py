"""A game that checks itself, with everything that happens to it and to its players written down.

Each of its states can be told right from wrong by itself: in the state of tick `t`, entity `i` stands
at `t * i`. So any mixture of two states shows, whoever looks at it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from pygase_gevent import Backend, Client, Config, Delivery, GameState

Address = tuple[str, int]

DELIVERIES = {
    "LINE": Delivery.RELIABLE_ORDERED,  # a number, from a player to the game
    "TOLD": Delivery.RELIABLE_ORDERED,  # a number, from the game to a player
    "NOTE": Delivery.RELIABLE,
    "PING": Delivery.RELIABLE,
    "PONG": Delivery.RELIABLE,
}
ENTITIES = 50


def entities_at(tick: int, count: int = ENTITIES) -> dict[int, dict[str, Any]]:
    """Where every entity stands in the state of a tick."""
    return {i: {"x": tick * i, "y": -tick * i} for i in range(count)}


def is_consistent(state: GameState) -> bool:
    """Whether all of a state belongs to one and the same tick."""
    return bool(state.entities == entities_at(state.tick, len(state.entities)))


class Game:
    """A backend whose entities move, 50 times a second, until it is told to stand still.

    Attributes:
        hooks: what its hooks said, in order: `("join", client address)` and so on. The names stand in the
            state too, for those who watch from another process.
        lines: numbers of the `LINE` events by client, in the order in which they came.
        notes: arguments of the `NOTE` events, likewise.
        is_moving: assign to hold the state still.
    """

    def __init__(self, *, config: Config | None = None, entities: int = ENTITIES, **attributes: Any) -> None:
        self.hooks: list[tuple[str, Address]] = []
        self.lines: defaultdict[Address, list[int]] = defaultdict(list)
        self.notes: defaultdict[Address, list[Any]] = defaultdict(list)
        self.is_moving = True
        self._entities = entities
        self.backend = Backend(
            GameState(tick=0, entities=entities_at(0, entities), hooks=[], lines=0, **attributes),
            self._time_step,
            {"LINE": self._take_line, "NOTE": self._take_note},
            deliveries=DELIVERIES,
            config=config or Config(),
            on_join=self._hook("join"),
            on_drop=self._hook("drop"),
            on_reconnect=self._hook("reconnect"),
            on_leave=self._hook("leave"),
        )
        self.server = self.backend.server
        self.server.register_event_handler("PING", self._answer_ping)

    def run_in_thread(self, port: int = 0) -> threading.Thread:
        return self.backend.run_in_thread("localhost", port)

    @property
    def state(self) -> GameState:
        return self.backend.game_state_store.get_game_state()

    @property
    def only_client(self) -> Address:
        """The address of the one client there is."""
        (address,) = self.server.connections
        return address

    def hooks_of(self, client: Address) -> list[str]:
        return [name for name, address in list(self.hooks) if address == client]

    def _time_step(self, game_state: GameState, dt: float) -> dict[str, Any]:
        if not self.is_moving:
            return {}
        tick = game_state.tick + 1
        return {"tick": tick, "entities": entities_at(tick, self._entities)}

    def _take_line(self, number: int, client_address: Address, game_state: GameState) -> dict[str, Any]:
        self.lines[client_address].append(number)
        return {"lines": game_state.lines + 1}

    def _take_note(self, note: Any, client_address: Address) -> None:
        self.notes[client_address].append(note)

    def _answer_ping(self, number: int, client_address: Address) -> None:
        self.server.dispatch_event("PONG", number, target_client=client_address)

    def _hook(self, name: str) -> Any:
        def hook(client_address: Address) -> dict[str, Any]:
            self.hooks.append((name, client_address))
            return {"hooks": [name for name, _ in self.hooks]}

        return hook


class Player:
    """A client that plays, in a thread of its own; as a context manager it says goodbye at the end.

    Attributes:
        hooks: what its hooks said, in order: `"connect"`, `"drop"`, `"resume"`, `"close"`.
        told: numbers of the `TOLD` events.
        notes: arguments of the `NOTE` events.
        pongs: numbers of the `PONG` events.
    """

    def __init__(self, port: int, *, config: Config | None = None) -> None:
        self.hooks: list[str] = []
        self.told: list[int] = []
        self.notes: list[Any] = []
        self.pongs: list[int] = []
        self.client = Client(deliveries=DELIVERIES, config=config or Config())
        self.client.register_event_handler("TOLD", self.told.append)
        self.client.register_event_handler("NOTE", self.notes.append)
        self.client.register_event_handler("PONG", self.pongs.append)
        self.client.on_connect = self._hook("connect")
        self.client.on_drop = self._hook("drop")
        self.client.on_resume = self._hook("resume")
        self.client.on_close = self._hook("close")
        self.thread = self.client.connect_in_thread(port, "127.0.0.1")

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.disconnect()
        self.thread.join(30)

    def wait_playing(self) -> Player:
        """Waits until it is connected and has a state."""
        self.client.wait_connected(30)
        self.client.try_to(lambda state: state.tick, timeout=30)
        return self

    def next_state(self, *, ticks: int = 1) -> GameState:
        """Waits for a state that is so many ticks newer than the one it has, and returns it."""
        tick = self.state().tick
        self.client.wait_until(lambda state: state.tick >= tick + ticks, timeout=30)
        return self.state()

    def state(self) -> GameState:
        with self.client.access_game_state() as state:
            return state

    def send_line(self, number: int) -> None:
        self.client.dispatch_event("LINE", number)

    def _hook(self, name: str) -> Any:
        def hook(*_: object) -> None:
            self.hooks.append(name)

        return hook
