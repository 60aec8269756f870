"""Whatever is thrown at a server or a client, it is counted and dropped, and the game goes on."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from .game import Game, Player
from .support import eventually, server_drops
from .tap import HOST, Tap

COUNT = 5000
BATCH = 50
"""Datagrams thrown at once: fewer than the smallest socket buffer holds, so that none is lost uncounted."""

Forge = Callable[[random.Random, list[bytes]], bytes]


def random_bytes(rng: random.Random, captured: list[bytes]) -> bytes:
    return rng.randbytes(rng.choice([1, 2, 17, 18, 20, 300, 1078, 1200, 1400]))


def truncated(rng: random.Random, captured: list[bytes]) -> bytes:
    datagram = rng.choice(captured)
    return datagram[: rng.randrange(len(datagram))]


def bit_flipped(rng: random.Random, captured: list[bytes]) -> bytes:
    forged = bytearray(rng.choice(captured))
    forged[rng.randrange(len(forged))] ^= 1 << rng.randrange(8)
    return bytes(forged)


def lengthened(rng: random.Random, captured: list[bytes]) -> bytes:
    return rng.choice(captured) + rng.randbytes(rng.randint(1, 200))


def replayed(rng: random.Random, captured: list[bytes]) -> bytes:
    return rng.choice(captured)


FORGES = pytest.mark.parametrize("forge", [random_bytes, truncated, bit_flipped, lengthened, replayed])


@dataclass
class Abuse:
    """A game, a player, and whoever listens between them."""

    game: Game
    player: Player
    tap: Tap
    stranger: socket.socket

    def server_drops(self) -> Counter[str]:
        return server_drops(self.game.server)

    def client_drops(self) -> Counter[str]:
        return Counter(self.player.client.connection.stats.drops)

    def throw(
        self,
        send: Callable[[bytes], object],
        forge: Forge,
        captured: list[bytes],
        drops: Callable[[], Counter[str]],
    ) -> Counter[str]:
        """Throws `COUNT` forged datagrams and waits until each was counted; by reason."""
        rng = random.Random(forge.__name__)
        before = drops()
        for thrown in range(BATCH, COUNT + 1, BATCH):
            for _ in range(BATCH):
                send(forge(rng, captured))
            eventually(lambda thrown=thrown: (drops() - before).total() >= thrown, lambda: drops() - before)  # type: ignore[misc]
        return drops() - before

    def ping(self) -> None:
        """A hundred reliable events there and back, of the one client."""
        first = len(self.player.pongs)
        for number in range(first, first + 100):
            self.player.client.dispatch_event("PING", number)
        eventually(lambda: len(self.player.pongs) >= first + 100)
        assert sorted(self.player.pongs) == list(range(first + 100))


@pytest.fixture
def abuse() -> Iterator[Abuse]:
    game = Game()
    game.run_in_thread()
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind((HOST, 0))
    with stranger, Tap(game.server.port or 0) as tap, Player(tap.port) as player:
        player.wait_playing()
        abuse = Abuse(game, player, tap, stranger)
        for number in range(200):  # so that there is real traffic to forge
            player.send_line(number)
        eventually(lambda: len(game.lines[game.only_client]) == 200)
        player.client.wait_until(lambda state: state.tick > 20, timeout=30)
        yield abuse
        abuse.ping()
        assert list(game.hooks) == [("join", game.only_client)]
        assert player.hooks == ["connect"]
        player.next_state(ticks=5)
    game.backend.shutdown()


@FORGES
def test_server_drops_what_seems_to_come_from_its_client(abuse: Abuse, forge: Forge) -> None:
    captured = list(abuse.tap.to_server)
    counted = abuse.throw(abuse.tap.send_to_server, forge, captured, abuse.server_drops)
    abuse.ping()
    assert counted.total() == COUNT, counted


@FORGES
def test_server_drops_what_strangers_send(abuse: Abuse, forge: Forge) -> None:
    """Of all they send only a connection request that nobody used would be answered."""
    server = (HOST, abuse.game.server.port)
    captured = list(abuse.tap.to_server)
    counted = abuse.throw(
        lambda datagram: abuse.stranger.sendto(datagram, server), forge, captured, abuse.server_drops
    )
    abuse.ping()
    assert counted.total() == COUNT, counted
    assert len(abuse.game.server.connections) == 1
    abuse.stranger.setblocking(False)
    with pytest.raises(BlockingIOError):
        abuse.stranger.recv(2048)


@FORGES
def test_client_drops_what_seems_to_come_from_its_server(abuse: Abuse, forge: Forge) -> None:
    captured = list(abuse.tap.to_client)
    counted = abuse.throw(abuse.tap.send_to_client, forge, captured, abuse.client_drops)
    abuse.ping()
    assert counted.total() == COUNT, counted


def test_client_drops_what_strangers_send(abuse: Abuse) -> None:
    client = (HOST, abuse.tap.client_port)
    captured = list(abuse.tap.to_client)
    counted = abuse.throw(
        lambda datagram: abuse.stranger.sendto(datagram, client), replayed, captured, abuse.client_drops
    )
    abuse.ping()
    assert counted.total() == COUNT, counted


def test_playing_back_a_whole_session_gets_nobody_in(abuse: Abuse) -> None:
    """The first one's datagrams, in order, from the request to the last event, from another socket."""
    server = (HOST, abuse.game.server.port)
    recorded = list(abuse.tap.to_server)
    before = abuse.server_drops()
    for number, datagram in enumerate(recorded, 1):
        abuse.stranger.sendto(datagram, server)
        if number % BATCH == 0:
            eventually(lambda number=number: (abuse.server_drops() - before).total() >= number)  # type: ignore[misc]
    eventually(lambda: (abuse.server_drops() - before).total() >= len(recorded))
    assert len(abuse.game.server.connections) == 1
    abuse.stranger.setblocking(False)
    with pytest.raises(BlockingIOError):
        abuse.stranger.recv(2048)
