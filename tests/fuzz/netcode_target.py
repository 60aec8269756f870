"""netcode below and above its cipher: datagrams of strangers, of the half-open and of connected peers."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from pygase_gevent.config import Config
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.netcode import ClientState, ConnectToken, NetcodeClient, NetcodeServer
from pygase_gevent.protocol.netcode.crypto import packet_associated_data, seal_token
from pygase_gevent.protocol.netcode.packet import (
    PRIVATE_TOKEN_BYTES,
    PacketType,
    accepted_types,
    write_request,
)
from pygase_gevent.protocol.netcode.sealing import PacketCipher, ReplayWindow, read_packet, write_packet
from pygase_gevent.protocol.netcode.token import generate_connect_token
from tests.fuzz.parts_targets import check_limits
from tests.fuzz.source import Source

CONFIG = Config(max_clients=4, max_half_open=3, challenges_per_handshake=4, max_tracked_sources=4)
KEY = bytes(range(32))
PROTOCOL_ID = 7
UNIX_TIME = 1_700_000_000
SERVER: Address = ("192.0.2.1", 4000)
HONEST: Address = ("198.51.100.1", 5000)
MALICIOUS: Address = ("198.51.100.2", 5001)
ASSOCIATED_DATA = packet_associated_data(PROTOCOL_ID)
ALL_TYPES = accepted_types(*PacketType)


@dataclass
class _World:
    server: NetcodeServer
    honest: NetcodeClient
    malicious: NetcodeClient
    token: ConnectToken
    now: float = 0.0

    @classmethod
    def make(cls) -> _World:
        entropy = Random(1).randbytes
        server = NetcodeServer(protocol_id=PROTOCOL_ID, private_key=KEY, config=CONFIG, entropy=entropy)
        server.start(0.0)
        tokens = [
            generate_connect_token(
                private_key=KEY,
                protocol_id=PROTOCOL_ID,
                client_id=client_id,
                server_addresses=[SERVER],
                unix_time=UNIX_TIME,
                expire_seconds=30,
                timeout_seconds=-1,
                entropy=entropy,
            )
            for client_id in (1, 2)
        ]
        honest, malicious = (NetcodeClient(token, config=CONFIG, now=0.0) for token in tokens)
        return cls(server, honest, malicious, tokens[1])

    def carry(self, client: NetcodeClient, address: Address, rounds: int = 4) -> None:
        for _ in range(rounds):
            for data, _ in client.datagrams_to_send():
                self.server.receive_datagram(data, address, self.now, UNIX_TIME)
            for data, receiver in self.server.datagrams_to_send():
                if receiver == address:
                    client.receive_datagram(data, SERVER, self.now)


def netcode(data: bytes) -> None:
    """Forged, mutated, replayed and authentic datagrams at server and client. An honest client goes on."""
    source = Source(data)
    _check_packet(Source(data))
    world = _World.make()
    world.carry(world.honest, HONEST)
    assert world.honest.state is ClientState.CONNECTED
    rounds = source.below(4)  # how far the malicious one gets by itself
    world.carry(world.malicious, MALICIOUS, rounds)
    recorded = [data for data, _ in world.malicious.datagrams_to_send()]
    to_server = PacketCipher(world.token.client_to_server_key, ASSOCIATED_DATA)
    to_client = PacketCipher(world.token.server_to_client_key, ASSOCIATED_DATA)
    for _ in range(64):
        if not source:
            break
        world.now += source.number() / 100 if source.below(4) == 0 else 0.0
        if source.flag():
            _to_server(source, world, to_server, recorded)
        else:
            datagram = _datagram(source, to_client, recorded)
            world.malicious.receive_datagram(datagram, SERVER, world.now)
            world.malicious.handle_timer(world.now)
            assert len(world.malicious.datagrams_to_send()) <= 2
        world.server.handle_timer(world.now)
        recorded += [answer for answer, _ in world.server.datagrams_to_send()]
        del recorded[:-32]
        while world.server.next_event() is not None:
            pass
    check_limits(world.server, CONFIG)
    check_limits(world.malicious, CONFIG)
    _check_honest(world)


def _to_server(source: Source, world: _World, cipher: PacketCipher, recorded: list[bytes]) -> None:
    address = MALICIOUS if source.below(4) else (f"203.0.113.{source.below(8)}", 6000)
    is_proven = address in world.server.peers
    world.server.datagrams_to_send()
    datagram = _datagram(source, cipher, recorded)
    world.server.receive_datagram(datagram, address, world.now, UNIX_TIME)
    answers = [answer for answer, receiver in world.server.datagrams_to_send() if receiver == address]
    recorded += answers
    if not is_proven and address not in world.server.peers:
        assert sum(map(len, answers)) <= len(datagram), "an answer larger than the question"


def _datagram(source: Source, cipher: PacketCipher, recorded: list[bytes]) -> bytes:
    way = source.below(5)
    if way == 0:
        return source.blob(1400)
    if way == 1 and recorded:
        return recorded[source.below(len(recorded))]
    if way == 2 and recorded:
        return source.mutated(recorded[source.below(len(recorded))])
    if way == 3:
        plain = source.blob(PRIVATE_TOKEN_BYTES - 16).ljust(PRIVATE_TOKEN_BYTES - 16, b"\0")
        expire = UNIX_TIME + source.number()
        sealed = seal_token(plain, protocol_id=PROTOCOL_ID, expire_timestamp=expire, nonce=bytes(24), key=KEY)
        return write_request(
            protocol_id=PROTOCOL_ID, expire_timestamp=expire, nonce=bytes(24), private_data=sealed
        )
    sequence = source.number(8 if source.flag() else 1)
    size = (0, 0, 308, 308, 8, 20, 0, 5)[kind := source.below(8)]
    body = source.blob(1300) if source.flag() else source.take(size).ljust(size, b"\0")
    return write_packet(kind, sequence, body, cipher)


def _check_packet(source: Source) -> None:
    """What is written is read; anything else is refused with a reason, and moves no replay window."""
    cipher = PacketCipher(KEY, ASSOCIATED_DATA)
    replay = ReplayWindow(256)
    sequence, kind = source.number(8), 1 + source.below(6)
    body = source.blob(1200)
    size = (0, 0, 308, 308, 8, max(1, min(len(body), 1200)), 0)[kind]
    body = body.ljust(size, b"\0")[:size]
    written = write_packet(kind, sequence, body, cipher)
    forged = source.mutated(written)
    if forged != written:
        assert isinstance(read_packet(forged, cipher, ALL_TYPES, replay), str)
    assert isinstance(read_packet(source.left, cipher, ALL_TYPES, replay), str)
    assert read_packet(written, cipher, ALL_TYPES, replay) == (kind, sequence, body)
    if kind >= PacketType.KEEP_ALIVE:
        assert isinstance(read_packet(written, cipher, ALL_TYPES, replay), str)


def _check_honest(world: _World) -> None:
    world.honest.last_receive_time = world.now
    world.honest.datagrams_to_send()
    world.server.datagrams_to_send()
    peer = world.server.peers[HONEST]
    world.honest.send_payload(b"to the server", world.now)
    received = []
    for datagram, _ in world.honest.datagrams_to_send():
        if world.server.receive_datagram(datagram, HONEST, world.now, UNIX_TIME) is not None:
            received.append(world.server.payload)
    assert received == [b"to the server"]
    world.server.send_payload(peer, b"to the client", world.now)
    answers = [
        world.honest.receive_datagram(datagram, SERVER, world.now)
        for datagram, receiver in world.server.datagrams_to_send()
        if receiver == HONEST
    ]
    assert [it[1] for it in answers if it is not None] == [b"to the client"]
