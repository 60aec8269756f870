"""Whatever is thrown at a server or a client, it is counted and dropped, and the game goes on."""

from __future__ import annotations

import contextlib
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from pygase_gevent.tokens import issue_connect_token

from .game import Game, Player
from .support import client_drops, eventually, server_drops
from .tap import HOST, Tap

COUNT = 5000
BATCH = 50
"""Datagrams thrown at once: fewer than the smallest socket buffer holds, so that none is lost uncounted."""

REQUEST_BYTES = 1078

Drops = Callable[[], Counter[str]]
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
        return client_drops(self.player.client)

    def throw(
        self,
        send: Callable[[bytes], object],
        forge: Forge,
        captured: list[bytes],
        drops: Drops,
    ) -> Counter[str]:
        """Throws `COUNT` forged datagrams and waits until each was counted; by reason."""
        rng = random.Random(forge.__name__)
        before = drops()
        for thrown in range(BATCH, COUNT + 1, BATCH):
            for _ in range(BATCH):
                send(forge(rng, captured))
            eventually(partial(self.counts, drops, before, thrown), lambda: drops() - before)
        return drops() - before

    def counts(self, drops: Drops, before: Counter[str], thrown: int) -> bool:
        """Whether so many were dropped since."""
        return (drops() - before).total() >= thrown

    def check_unharmed(self) -> None:
        """The one client is there as ever: its events go there and back, and its state moves."""
        first = len(self.player.pongs)
        for number in range(first, first + 100):
            self.player.client.dispatch_event("PING", number)
        eventually(lambda: len(self.player.pongs) >= first + 100)
        assert sorted(self.player.pongs) == list(range(first + 100))
        self.player.next_state(ticks=5)
        assert list(self.game.hooks) == [("join", self.game.only_client)]
        assert self.player.hooks == ["connect"]


@pytest.fixture(scope="module")
def abuse() -> Iterator[Abuse]:
    """One for all tests: it has to stand all of it."""
    game = Game()
    game.run_in_thread()
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind((HOST, 0))
    stranger.setblocking(False)
    with stranger, Tap(game.server.port or 0) as tap, Player(tap.port) as player:
        player.wait_playing()
        for number in range(200):  # so that there is real traffic to forge
            player.send_line(number)
        eventually(lambda: len(game.lines[game.only_client]) == 200)
        player.next_state(ticks=20)
        yield Abuse(game, player, tap, stranger)
    game.backend.shutdown()


@FORGES
def test_server_drops_what_seems_to_come_from_its_client(abuse: Abuse, forge: Forge) -> None:
    captured = list(abuse.tap.to_server)
    counted = abuse.throw(abuse.tap.send_to_server, forge, captured, abuse.server_drops)
    abuse.check_unharmed()
    assert counted.total() == COUNT, counted


@FORGES
def test_server_drops_what_strangers_send(abuse: Abuse, forge: Forge) -> None:
    """Of all they send only a connection request that nobody used would be answered."""
    server = (HOST, abuse.game.server.port)
    captured = list(abuse.tap.to_server)
    counted = abuse.throw(
        lambda datagram: abuse.stranger.sendto(datagram, server), forge, captured, abuse.server_drops
    )
    abuse.check_unharmed()
    assert counted.total() == COUNT, counted
    assert len(abuse.game.server.connections) == 1
    with pytest.raises(BlockingIOError):
        abuse.stranger.recv(2048)


@FORGES
def test_client_drops_what_seems_to_come_from_its_server(abuse: Abuse, forge: Forge) -> None:
    captured = list(abuse.tap.to_client)
    counted = abuse.throw(abuse.tap.send_to_client, forge, captured, abuse.client_drops)
    abuse.check_unharmed()
    assert counted.total() == COUNT, counted


def test_client_drops_what_strangers_send(abuse: Abuse) -> None:
    client = (HOST, abuse.tap.client_port)
    captured = list(abuse.tap.to_client)
    counted = abuse.throw(
        lambda datagram: abuse.stranger.sendto(datagram, client), replayed, captured, abuse.client_drops
    )
    abuse.check_unharmed()
    assert counted.total() == COUNT, counted


@pytest.mark.parametrize("forge", [truncated, bit_flipped, lengthened])
def test_forged_datagrams_overtake_the_real_ones(abuse: Abuse, forge: Forge) -> None:
    """So their sequence is a new one, and nothing but the cipher tells them from what is real."""
    tap, rng = abuse.tap, random.Random(5)
    server_before, client_before = abuse.server_drops(), abuse.client_drops()
    to_server, to_client = tap.forged_to_server + COUNT, tap.forged_to_client + COUNT
    thrown_before = tap.forged_to_server, tap.forged_to_client
    tap.forge_ahead = lambda datagram: [forge(rng, [datagram]) for _ in range(60)]
    while tap.forged_to_server < to_server or tap.forged_to_client < to_client:
        abuse.check_unharmed()
    tap.forge_ahead = lambda datagram: []
    abuse.check_unharmed()
    for side, thrown, dropped in (
        ("server", tap.forged_to_server - thrown_before[0], abuse.server_drops() - server_before),
        ("client", tap.forged_to_client - thrown_before[1], abuse.client_drops() - client_before),
    ):
        assert dropped.total() == thrown, f"{side}: {dropped}"
        assert dropped["not authentic"] > 0, f"{side}: {dropped}"


def test_playing_back_a_whole_session_gets_nobody_in(abuse: Abuse) -> None:
    """The first one's datagrams, in order, from the request to the last event, from another socket."""
    server = (HOST, abuse.game.server.port)
    recorded = list(abuse.tap.to_server)
    before = abuse.server_drops()
    for number, datagram in enumerate(recorded, 1):
        abuse.stranger.sendto(datagram, server)
        if number % BATCH == 0:
            eventually(partial(abuse.counts, abuse.server_drops, before, number))
    eventually(partial(abuse.counts, abuse.server_drops, before, len(recorded)))
    abuse.check_unharmed()
    assert len(abuse.game.server.connections) == 1
    with pytest.raises(BlockingIOError):
        abuse.stranger.recv(2048)


def test_strangers_who_ask_and_never_answer(abuse: Abuse) -> None:
    """Good requests by the thousand: some get a challenge, smaller than the request; the rest is counted."""
    server = (HOST, abuse.game.server.port or 0)
    before = abuse.server_drops()
    challenges: list[bytes] = []

    def receive() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                challenges.append(abuse.stranger.recv(2048))

    def all_answered_or_counted(asked: int) -> bool:
        receive()
        return len(challenges) + (abuse.server_drops() - before).total() >= asked

    for asked in range(BATCH, COUNT + 1, BATCH):
        for _ in range(BATCH):
            token = issue_connect_token(key=bytes(32), server_addresses=[server])
            abuse.stranger.sendto(request_with(token), server)
        eventually(partial(all_answered_or_counted, asked))
    assert len(challenges) + (abuse.server_drops() - before).total() == COUNT
    assert 0 < len(challenges) < COUNT
    assert max(map(len, challenges)) < REQUEST_BYTES
    abuse.check_unharmed()
    assert len(abuse.game.server.connections) == 1


def request_with(token: bytes) -> bytes:
    """netcode's connection request (STANDARD.md): what of a connect token a client shows to a server."""
    version, protocol_id, expiry, nonce, private = (
        token[:13],
        token[13:21],
        token[29:37],
        token[37:61],
        token[61:1085],
    )
    request = b"\0" + version + protocol_id + expiry + nonce + private
    assert len(request) == REQUEST_BYTES
    return request
