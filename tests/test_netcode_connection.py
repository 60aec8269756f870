"""A netcode connection that stands: payloads, keep-alives, and abuse from the wire."""

from __future__ import annotations

import random

from netcode_pair import SERVER, Wire, client_address, packet_type

from pygase_gevent.config import Config
from pygase_gevent.protocol.netcode import ClientState, DropReason
from pygase_gevent.protocol.netcode.packet import PacketType

HERE = client_address(1)
STRANGER = ("203.0.113.66", 6666)
ABUSES = 5000


def test_payloads_travel_with_their_sequences() -> None:
    wire = Wire()
    client, peer = wire.connected()
    sent_up, sent_down = [], []
    for number in range(200):
        payload = bytes((number,)) * (1 + number * 6)
        sent_up.append((peer, client.send_payload(payload, wire.now), payload))
        sent_down.append((HERE, wire.server.send_payload(peer, payload, wire.now), payload))
        wire.carry()
    assert wire.received == sent_up
    assert wire.client_received == sent_down
    assert wire.server.drops == client.drops == {}


def test_reordered_payloads_pass_and_duplicates_do_not() -> None:
    wire = Wire()
    client, _ = wire.connected()
    for number in range(100):
        client.send_payload(b"%d" % number, wire.now)
    datagrams = [data for data, _ in client.datagrams_to_send()] * 3
    random.Random(5).shuffle(datagrams)
    accepted = [wire.to_server(data, HERE) for data in datagrams]
    payloads = [received[2] for received in accepted if received is not None]
    assert sorted(payloads, key=int) == [b"%d" % number for number in range(100)]
    assert wire.server.drops == {DropReason.REPLAYED: 200}


def test_a_payload_older_than_the_window_is_lost() -> None:
    wire = Wire(Config(replay_window=32))
    client, _ = wire.connected()
    client.send_payload(b"late", wire.now)
    ((late, _),) = client.datagrams_to_send()
    for _ in range(32):
        client.send_payload(b"x", wire.now)
    wire.carry()
    assert wire.to_server(late, HERE) is None
    assert wire.server.drops == {DropReason.REPLAYED: 1}


def test_keep_alives_hold_an_idle_connection() -> None:
    wire = Wire()
    client, peer = wire.connected()
    wire.sent.clear()
    wire.run(20.0)
    assert client.state is ClientState.CONNECTED and peer.is_connected
    assert {packet_type(data) for data, _, _ in wire.sent} == {PacketType.KEEP_ALIVE}
    for sender in (HERE, SERVER):
        count = len([1 for _, by, _ in wire.sent if by == sender])
        assert 130 <= count <= 201


def test_payloads_take_the_place_of_keep_alives() -> None:
    wire = Wire()
    client, peer = wire.connected()
    wire.sent.clear()
    for _ in range(40):
        client.send_payload(b"x", wire.now)
        wire.server.send_payload(peer, b"y", wire.now)
        wire.run(0.05)
    assert {packet_type(data) for data, _, _ in wire.sent} == {PacketType.PAYLOAD}


def test_payloads_to_an_unconfirmed_client_follow_a_keep_alive() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: sender == HERE and packet_type(data) >= PacketType.KEEP_ALIVE
    client = wire.client()
    wire.carry()
    peer = wire.server.peers[HERE]
    assert not peer.is_confirmed
    wire.sent.clear()
    wire.server.send_payload(peer, b"x", wire.now)
    wire.server.send_payload(peer, b"y", wire.now)
    wire.carry()
    kinds = [packet_type(data) for data, sender, _ in wire.sent if sender == SERVER]
    assert kinds == [PacketType.KEEP_ALIVE, PacketType.PAYLOAD] * 2
    wire.lost = lambda data, sender, receiver: False
    client.send_payload(b"I know", wire.now)
    wire.carry()
    assert peer.is_confirmed
    wire.sent.clear()
    wire.server.send_payload(peer, b"z", wire.now)
    wire.carry()
    assert [packet_type(data) for data, _, _ in wire.sent] == [PacketType.PAYLOAD]


def test_a_client_comes_back_with_a_new_token() -> None:
    wire = Wire()
    for round_number in range(5):
        client, peer = wire.connected()
        client.send_payload(b"round %d" % round_number, wire.now)
        wire.carry()
        client.disconnect(wire.now)
        wire.carry()
        assert not peer.is_connected
    assert [payload for _, _, payload in wire.received] == [b"round %d" % n for n in range(5)]


def test_abuse_raises_nothing_disconnects_nobody_and_is_counted() -> None:
    wire = Wire(seed=11)
    client, peer = wire.connected()
    dice = random.Random(11)
    for number in range(40):
        client.send_payload(bytes((number,)) * (1 + number * 29), wire.now)
        wire.server.send_payload(peer, bytes((number,)) * (1 + number * 29), wire.now)
    wire.carry()
    to_server = [data for data, sender, _ in wire.sent if sender == HERE]
    to_client = [data for data, sender, _ in wire.sent if sender == SERVER]
    wire.received.clear()
    wire.server.drops.clear()

    def truncated(data: bytes) -> bytes:
        return data[: dice.randrange(len(data))]

    def flipped(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        return bytes(changed)

    accepted = []
    for number in range(ABUSES):
        wire.now += 0.001
        noise = dice.randbytes(dice.randrange(1400))
        real = to_server[number % len(to_server)]
        for data in (noise, bytes((dice.randrange(7) | 0x10,)) + noise, truncated(real), flipped(real)):
            accepted.append(wire.to_server(data, HERE))
            accepted.append(wire.to_server(data, STRANGER))
        accepted.append(wire.to_server(real, STRANGER))  # replayed from elsewhere
        accepted.append(wire.to_server(real, HERE))  # and from its own address
        real = to_client[number % len(to_client)]
        for data in (noise, bytes((dice.randrange(7) | 0x10,)) + noise, truncated(real), flipped(real), real):
            assert client.receive_datagram(data, SERVER, wire.now) is None
            assert client.receive_datagram(data, STRANGER, wire.now) is None
    assert accepted == [None] * (ABUSES * 10)
    assert sum(wire.server.drops.values()) == ABUSES * 10
    assert sum(client.drops.values()) == ABUSES * 10
    assert wire.server.datagrams_to_send() == [] and client.datagrams_to_send() == []
    assert list(wire.server.peers) == [HERE]
    client.send_payload(b"unharmed", wire.now)
    wire.server.send_payload(peer, b"unharmed", wire.now)
    wire.carry()
    assert wire.received[-1][2] == wire.client_received[-1][2] == b"unharmed"


def test_abuse_of_a_handshake_under_way() -> None:
    wire = Wire(Config(handshakes_per_source_per_s=1e6, handshakes_per_s=1e6), seed=12)
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    client = wire.client()
    wire.carry()
    recorded = [data for data, sender, _ in wire.sent if sender == HERE]
    dice = random.Random(12)
    for number in range(ABUSES):
        changed = bytearray(recorded[number % len(recorded)])
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        wire.to_server(bytes(changed), HERE)
        client.receive_datagram(bytes(changed), SERVER, wire.now)
    assert sum(wire.server.drops.values()) == ABUSES
    assert not wire.server.peers
    wire.lost = lambda data, sender, receiver: False
    wire.run(0.2)
    assert client.state is ClientState.CONNECTED
