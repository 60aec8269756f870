"""Handlers and time steps that hold a hub are named with their stack; what waits cooperatively is not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import gevent
import pytest
from conftest import eventually
from native import native_sleep
from shell_pair import QUICK, Party, address_of, party

from pygase_gevent import Backend, GameState

pytestmark = pytest.mark.crosses_threads


@pytest.fixture
def net() -> Iterator[Party]:
    with party() as made:
        yield made


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING)

    def read() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.name == "pygase_gevent.hub"]
        return [message for message in found if "held the hub" in message]

    return read


def save_game() -> str:
    native_sleep(0.3)  # the line that holds up everybody
    return "saved"


def test_a_handler_of_a_server(net: Party, warnings: Callable[[], list[str]]) -> None:
    server = net.server()
    server.register_event_handler("SAVE", save_game)
    server.register_event_handler("WAIT", lambda: gevent.sleep(0.3))
    clients = [net.client(server) for _ in range(2)]
    for client in clients:
        for _ in range(2):
            assert client.call("SAVE") == "saved"
            client.call("WAIT")
    name = "handler of call 'SAVE'"
    assert server.stats.blocked == {name: 4}
    assert [connection.stats.blocked for connection in server.connections.values()] == [{name: 2}] * 2
    eventually(warnings)
    (message,) = warnings()  # once a minute, whoever called
    assert message.startswith(f"{name} of the client ")
    assert "in save_game\n    native_sleep(0.3)  # the line that holds up everybody" in message
    server.shutdown()
    assert server.stats.blocked == {name: 4}  # over its runs


def test_a_handler_of_a_client(net: Party, warnings: Callable[[], list[str]]) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("SAVE", save_game)
    client.register_event_handler("WAIT", lambda: gevent.sleep(0.3))
    server.dispatch_event("SAVE", retries=5)
    server.dispatch_event("WAIT", retries=5)
    name = "handler of event 'SAVE'"
    eventually(lambda: client.connection.stats.blocked == {name: 1})
    eventually(warnings)
    (message,) = warnings()
    assert message.startswith(f"{name} of the server held the hub for")
    assert "in save_game\n" in message
    assert server.connections[address_of(server)].stats.blocked == {}


def test_a_time_step_and_a_handler_of_a_game_loop(net: Party, warnings: Callable[[], list[str]]) -> None:
    steps: list[float] = []

    def time_step(game_state: GameState, dt: float) -> dict[str, object]:
        steps.append(dt)
        if len(steps) == 3:
            save_game()
        return {}

    backend = Backend(GameState(), time_step, {"SAVE": lambda: save_game() and None}, config=QUICK)
    net.at_end(backend.shutdown)
    backend.run_in_thread()
    machine = backend.game_state_machine
    eventually(lambda: machine.blocked == {"time_step": 1})
    net.client(backend.server).dispatch_event("SAVE", retries=5)
    eventually(lambda: machine.blocked == {"time_step": 1, "handler of event SAVE": 1})
    eventually(lambda: len(warnings()) == 2)
    assert all("in save_game\n" in message for message in warnings())
    assert backend.server.stats.blocked == {}
