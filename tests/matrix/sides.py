"""The two sides of the acceptance program. Each checks what it sees; together they try every promise.

The client's side leads: it tells the server's side what to do by calls, so the two may be in one
process or in two.
"""

from __future__ import annotations

import time
from typing import Any

from pygase_gevent import (
    Backend,
    Client,
    ConnectionStatus,
    Delivery,
    GameState,
    QueueFullError,
)

from .places import LIMIT_S, Place

EVENTS = 1000
"""Reliable ones, in order, each way."""
AWAY = 10
"""More of them, dispatched while the other side is away."""
DELIVERIES = {"UP": Delivery.RELIABLE_ORDERED, "DOWN": Delivery.RELIABLE_ORDERED}


class ServerSide:
    """A game, its server, and what it saw."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.received: list[int] = []
        self.wishes: list[str] = []
        self.backend = Backend(
            GameState(steps=0, marks={}, world={"size": [3, 4]}),
            lambda game_state, dt: {"steps": game_state.steps + 1},
            {"MARK": lambda name, x: {"marks": {name: x}}},
            deliveries=DELIVERIES,
        )
        self.server = self.backend.server
        self.server.register_event_handler("UP", self.received.append)
        self.server.register_event_handler("DOUBLE", lambda value: 2 * value)
        self.server.register_event_handler("WISH", self.wishes.append)

    def start(self, port: int = 0) -> int:
        """Serve where the place says; the port."""
        self.place.serve(self.backend, port)
        self.place.wait(lambda: self.server.port is not None, "the server listens")
        assert self.server.port is not None
        return self.server.port

    def drive(self) -> None:
        """From the first client to the end of everything."""
        place, server = self.place, self.server
        port = server.port
        assert port is not None
        place.wait(lambda: server.connections, "a client")
        (client,) = server.connections
        for number in range(EVENTS):
            persist(place, server.dispatch_event, "DOWN", number, target_client=client)
        assert server.call(client, "NAME", timeout=LIMIT_S) == "Ada"
        place.wait(lambda: len(self.received) >= EVENTS, lambda: f"{len(self.received)} events up")

        place.wait(lambda: self.wishes == ["restart"], "the wish for a restart")
        session_id = server.connections[client].session_id
        self.shut_down()
        assert self.backend.game_state_store.get_game_state().is_paused()
        for number in range(EVENTS, EVENTS + AWAY):
            server.dispatch_event("DOWN", number, target_client=client)
        place.pause(0.05)  # so that the client is told, and dispatches, while there is no server
        self.start(port)
        place.wait(
            lambda: server.connections[client].status is ConnectionStatus.CONNECTED, "the client is back"
        )
        assert list(server.connections) == [client]
        assert server.connections[client].session_id == session_id
        assert server.stats.resumed == 1

        place.wait(lambda: not server.connections, "the goodbye")
        assert self.received == list(range(EVENTS + AWAY))
        assert server.stats.left == 1
        self.shut_down()
        place.all_ended()

    def shut_down(self) -> None:
        """The end of a run. The call blocks until it is done, except in the hub that is to end."""
        self.backend.shutdown()
        if not self.place.is_in_the_same_hub:
            assert self.server.port is None
        self.place.server_ended()
        assert self.server.port is None


class ClientSide:
    """A player, and what it saw."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.received: list[int] = []
        self.hooks: list[str] = []
        self.client = Client(deliveries=DELIVERIES)
        self.client.register_event_handler("DOWN", self.received.append)
        self.client.register_event_handler("NAME", lambda: "Ada")
        for name in ("connect", "drop", "resume", "close"):
            setattr(self.client, f"on_{name}", lambda *_, name=name: self.hooks.append(name))

    def drive(self, port: int) -> None:
        """From connecting to the end of everything."""
        place, client = self.place, self.client
        place.connect(client, port)
        client.wait_connected(LIMIT_S)
        client.wait_until(lambda state: getattr(state, "steps", 0) > 5, timeout=LIMIT_S)
        with client.access_game_state() as state:
            steps = state.steps
            place.pause(0.05)
            assert state.steps == steps, "a state changed in the hands of its reader"
            assert state.world == {"size": [3, 4]}
        client.dispatch_event("MARK", "ada", x=1.5, retries=20)
        assert client.try_to(lambda state: state.marks["ada"], timeout=LIMIT_S) == 1.5
        for number in range(EVENTS):
            persist(place, client.dispatch_event, "UP", number)
        assert client.call("DOUBLE", 21, timeout=LIMIT_S) == 42
        place.wait(lambda: len(self.received) >= EVENTS, lambda: f"{len(self.received)} events down")

        session_id = client.connection.session_id
        client.call("WISH", "restart", timeout=LIMIT_S)
        place.wait(lambda: client.connection.status is ConnectionStatus.CONNECTING, "the shutdown is told")
        for number in range(EVENTS, EVENTS + AWAY):
            client.dispatch_event("UP", number)
        place.wait(lambda: client.connection.status is ConnectionStatus.CONNECTED, "the server is back")
        assert client.connection.session_id == session_id
        assert client.call("DOUBLE", 4, timeout=LIMIT_S) == 8
        with client.access_game_state() as state:
            steps = state.steps
        client.wait_until(lambda state: state.steps > steps + 5, timeout=LIMIT_S)
        place.wait(lambda: len(self.received) >= EVENTS + AWAY, "what was sent meanwhile")
        assert self.received == list(range(EVENTS + AWAY))

        client.disconnect()
        if not place.is_in_the_same_hub:
            assert client.connection.status is ConnectionStatus.DISCONNECTED
        place.wait(lambda: self.hooks == ["connect", "drop", "resume", "close"], lambda: self.hooks)
        assert client.connection.status is ConnectionStatus.DISCONNECTED
        place.all_ended()


def persist(place: Place, dispatch: Any, *args: Any, **kwargs: Any) -> None:
    """Dispatch, again and again while there is no room."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            return dispatch(*args, **kwargs)
        except QueueFullError:
            assert time.monotonic() < deadline, "no room"
            place.pause(0.005)
