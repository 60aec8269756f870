"""Pong against clients that keep to no rule: written directly on the library, in virtual time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from demos.pong import rules
from demos.pong.server import PongServer
from demos.pong.shared import DELIVERIES, GAME, STEP_S
from pygase_gevent import Client
from pygase_gevent.testing import VirtualNetwork


@pytest.fixture
def server(virtual_network: VirtualNetwork) -> Iterator[PongServer]:
    pong_server = PongServer()
    pong_server.backend.run_in_thread(interval=STEP_S)
    yield pong_server
    pong_server.backend.shutdown()


def connected(server: PongServer) -> Client:
    client = Client(game=GAME, deliveries=DELIVERIES)
    client.connect_in_thread(server.backend.server.port or 0)
    client.wait_connected()
    return client


def join(client: Client, secret: object, name: object = "mallory") -> None:
    client.dispatch_event("JOIN", secret, name, False, False)
    time.sleep(0.5)


def names(server: PongServer) -> list[str]:
    return [player["name"] for player in server.backend.game_state_store.get_game_state().players.values()]


def test_a_client_is_one_player_whatever_secrets_it_knows(server: PongServer) -> None:
    for each in range(3):
        one, other = connected(server), connected(server)
        join(one, f"one {each}")
        join(other, f"other {each}")
        join(other, f"one {each}")  # it is somebody already
        assert len(names(server)) == 2
        one.disconnect()
        other.disconnect()
        time.sleep(0.5)
        assert names(server) == []
    ann = connected(server)
    join(ann, "ann", "ann")
    game = server.backend.game_state_store.get_game_state()
    assert rules.name_at(game, "left") == "ann"


def test_who_knows_the_secret_is_the_player_also_on_another_connection(server: PongServer) -> None:
    one, other = connected(server), connected(server)
    join(one, "secret")
    for _ in range(3):
        join(other, "secret")
    one.disconnect()
    time.sleep(0.5)
    assert names(server) == ["mallory"]
    other.disconnect()
    time.sleep(0.5)
    assert names(server) == []


@pytest.mark.parametrize("name", [["x"] * 1000, 7, None, b"x", {"x": [1]}])
def test_a_name_that_is_no_text_is_none(server: PongServer, name: object) -> None:
    client = connected(server)
    join(client, "secret", name)
    assert names(server) == []
    join(client, "secret", "ann")
    assert names(server) == ["ann"]


def test_of_a_huge_name_only_the_beginning_is_read() -> None:
    class Letters(str):
        """Counts those that were looked at."""

        seen = 0

        def __getitem__(self, key: Any) -> str:
            part = super().__getitem__(key)
            Letters.seen += len(part)
            return part

        def __iter__(self) -> Iterator[str]:
            Letters.seen += len(self)
            return super().__iter__()

    assert rules.clean_name(Letters("x" * 1_000_000)) == "x" * rules.NAME_LENGTH
    assert Letters.seen < 1000
