"""The basic path of the whole library in one process, each step checked; the last line says that all held.

    python -m tests.integration.programs.acceptance threads|greenlets

The same program runs plain and under `gevent.monkey.patch_all()`. With `threads`, server and client have
native threads and hubs of their own; with `greenlets` both run in the hub of the main thread.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import gevent

from pygase_gevent import (
    Client,
    ConnectionStatus,
    Delivery,
    GameState,
    GameStateMachine,
    GameStateStore,
    GameStatus,
    RemoteError,
    Server,
)

LIMIT_S = 30.0
DELIVERIES = {
    "SEQUENCED": Delivery.SEQUENCED,
    "RELIABLE": Delivery.RELIABLE,
    "ORDERED": Delivery.RELIABLE_ORDERED,
}


class Program:
    """One server, one client, and every promise tried once."""

    def __init__(self, *, in_threads: bool) -> None:
        self.in_threads = in_threads
        self.sleep: Callable[[float], Any] = time.sleep if in_threads else gevent.sleep
        self.store = GameStateStore(GameState(steps=0, players={}, world={"size": [3, 4]}))
        self.machine = GameStateMachine(self.store)
        self.machine.time_step = self.time_step  # type: ignore[method-assign]
        self.machine.register_event_handler("MOVE", self.move)
        self.server = Server(self.store, deliveries=DELIVERIES)
        self.client = Client(deliveries=DELIVERIES)
        self.at_server: list[Any] = []
        self.at_client: list[Any] = []

    def run(self) -> None:
        self.server.register_event_handler("RELIABLE", lambda value: self.at_server.append(value))
        self.server.register_event_handler("DOUBLE", lambda value: 2 * value)
        self.client.register_event_handler("ORDERED", self.at_client.append)
        self.client.register_event_handler("NAME", lambda: "Ada")
        self.start_server()
        client_runs = self.start_client()
        self.state_arrives()
        self.events_arrive()
        self.calls_return()
        self.server_runs_again()
        self.client.disconnect()
        self.wait(lambda: not self.server.connections, "the server knows of the goodbye")
        self.wait(lambda: not client_runs(), "connect has returned")
        self.server.shutdown()
        self.wait(lambda: self.server.port is None, "the server is down")
        assert self.machine.stop(timeout=LIMIT_S)
        assert self.store.get_game_state().game_status == GameStatus.PAUSED
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("pygase")]
        self.wait(lambda: not any(map(is_running, threads)), f"all of {threads} have ended")

    # --- the steps ------------------------------------------------------------------------------

    def start_server(self) -> None:
        if self.in_threads:
            self.machine.run_game_loop_in_thread()
        else:
            gevent.spawn(self.machine.run_game_loop)
        self.run_server(0)

    def run_server(self, port: int) -> None:
        if self.in_threads:
            thread = self.server.run_in_thread(port, event_wire=self.machine)
            assert thread.is_alive()
        else:
            gevent.spawn(self.server.run, port, event_wire=self.machine)
            self.wait(lambda: self.server.port is not None, "the server listens")

    def start_client(self) -> Callable[[], bool]:
        assert self.server.port is not None
        self.client.dispatch_event("RELIABLE", "before the connection")
        if self.in_threads:
            thread = self.client.connect_in_thread(self.server.port)
            is_alive: Callable[[], bool] = thread.is_alive
        else:
            greenlet = gevent.spawn(self.client.connect, self.server.port)
            is_alive = lambda: not greenlet.ready()  # noqa: E731
            self.wait(lambda: self.client.connection.status != ConnectionStatus.DISCONNECTED, "it connects")
        self.client.wait_connected(LIMIT_S)
        assert self.client.connection.status == ConnectionStatus.CONNECTED
        self.wait(lambda: self.at_server == ["before the connection"], "an event from before")
        return is_alive

    def state_arrives(self) -> None:
        self.client.wait_until(lambda state: state.steps > 20, timeout=LIMIT_S)
        with self.client.access_game_state() as state:
            first = state.steps
            self.sleep(0.05)
            assert state.steps == first, "a state changed in the hands of its reader"
            assert state.world == {"size": [3, 4]}
            assert not state.is_paused()
        self.client.dispatch_event("MOVE", "ada", x=1.5, retries=5)
        assert self.client.try_to(lambda state: state.players["ada"]["x"], timeout=LIMIT_S) == 1.5

    def events_arrive(self) -> None:
        acknowledged: list[str] = []
        (address,) = self.server.connections
        assert self.server.host_client == address
        self.client.dispatch_event("RELIABLE", "up", ack_callback=lambda: acknowledged.append("up"))
        for number in range(50):
            self.server.dispatch_event("ORDERED", number, target_client=address)
        self.server.dispatch_event("ORDERED", 50, ack_callback=lambda client: acknowledged.append("down"))
        self.wait(lambda: self.at_server == ["before the connection", "up"], "one event up")
        self.wait(lambda: self.at_client == list(range(51)), "fifty-one events down, in order")
        self.wait(lambda: sorted(acknowledged) == ["down", "up"], "both acknowledged")

    def calls_return(self) -> None:
        (address,) = self.server.connections
        assert self.client.call("DOUBLE", 21, timeout=LIMIT_S) == 42
        assert self.server.call(address, "NAME", timeout=LIMIT_S) == "Ada"
        try:
            self.client.call("NOBODY HERE", timeout=LIMIT_S)
        except RemoteError:
            pass
        else:
            raise AssertionError("a call that nobody answers returned")

    def server_runs_again(self) -> None:
        port, session_id = self.server.port, self.client.connection.session_id
        assert port is not None
        self.server.shutdown()
        self.wait(lambda: self.server.port is None, "the server is down")
        self.wait(lambda: self.client.connection.status == ConnectionStatus.CONNECTING, "the client was told")
        self.client.dispatch_event("RELIABLE", "while away")
        self.run_server(port)
        self.wait(lambda: self.client.connection.status == ConnectionStatus.CONNECTED, "the client is back")
        self.wait(lambda: self.at_server[-1] == "while away", "what was sent meanwhile")
        assert self.client.connection.session_id == session_id
        with self.client.access_game_state() as state:
            steps = state.steps
        self.client.wait_until(lambda state: state.steps > steps + 5, timeout=LIMIT_S)

    # --- helpers --------------------------------------------------------------------------------

    def time_step(self, game_state: GameState, dt: float) -> dict[str, Any]:
        return {"steps": game_state.steps + 1}

    def move(self, name: str, x: float) -> dict[str, Any]:
        return {"players": {name: {"x": x}}}

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}"
            self.sleep(0.002)


def is_running(name: str) -> bool:
    return any(thread.name == name and thread.is_alive() for thread in threading.enumerate())


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    Program(in_threads=sys.argv[1] == "threads").run()
    print("all of it works")
