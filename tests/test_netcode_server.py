"""The clients of a netcode server: slots, events, silence, restart."""

from __future__ import annotations

import pytest
from netcode_pair import Wire, client_address, dropped, request_of, sequence_of

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError
from pygase_gevent.protocol.netcode import (
    DropReason,
    NetcodeServer,
    PeerConnected,
    PeerDisconnected,
    PeerDisconnectReason,
)

HERE = client_address(1)


def test_events_tell_of_every_client() -> None:
    wire = Wire()
    client, peer = wire.connected()
    (connected,) = wire.events
    assert isinstance(connected, PeerConnected) and connected.peer is peer
    assert (peer.address, peer.client_id, peer.client_index) == (HERE, 1, 0)
    assert connected.token.user_data == b"user 1".ljust(256, b"\0")
    assert connected.token.client_id == 1
    client.disconnect(wire.now)
    wire.carry()
    assert wire.events[1:] == [PeerDisconnected(peer, PeerDisconnectReason.GOODBYE)]
    assert not peer.is_connected


def test_the_lowest_free_slot_is_taken() -> None:
    wire = Wire()
    indices = [wire.connected(number)[1].client_index for number in range(1, 5)]
    assert indices == [0, 1, 2, 3]
    for number in (3, 2):
        wire.server.disconnect(wire.server.peers[client_address(number)], wire.now)
    assert [wire.connected(number)[1].client_index for number in (5, 6, 7)] == [1, 2, 4]


def test_more_than_256_clients() -> None:
    wire = Wire(Config(handshakes_per_source_per_s=10_000))
    for number in range(300):
        wire.client(number=number)
    wire.carry()
    assert len(wire.server.peers) == 300
    assert {client.client_index for client in wire.clients.values()} == set(range(300))


@pytest.mark.parametrize("timeout_seconds", [1, 5])
def test_a_silent_client_is_disconnected(timeout_seconds: int) -> None:
    wire = Wire()
    _, peer = wire.connected(timeout_seconds=timeout_seconds)
    wire.clients.clear()
    wire.run(timeout_seconds - 0.1)
    assert peer.is_connected
    wire.run(0.2)
    assert wire.events[-1] == PeerDisconnected(peer, PeerDisconnectReason.TIMED_OUT)
    assert not wire.server.peers
    assert wire.server.next_timer() is None


@pytest.mark.parametrize("timeout_seconds", [-1, 0])
def test_a_token_may_disable_the_timeout(timeout_seconds: int) -> None:
    wire = Wire()
    client, peer = wire.connected(timeout_seconds=timeout_seconds)
    address = next(iter(wire.clients))
    wire.clients.clear()
    wire.run(60.0, step=0.5)
    assert peer.is_connected
    wire.clients[address] = client
    client.send_payload(b"still here", wire.now)
    wire.carry()
    assert wire.received[-1][2] == b"still here"


def test_a_restart_forgets_clients_but_not_tokens_and_the_global_sequence() -> None:
    wire = Wire()
    old_token = wire.token(client_id=3)
    wire.to_server(request_of(old_token), client_address(3))
    ((first_challenge, _),) = wire.server.datagrams_to_send()
    _, peer = wire.connected()
    wire.server.stop()
    assert not wire.server.peers and not peer.is_connected
    assert wire.to_server(request_of(wire.token()), HERE) is None
    assert dropped(wire) == {DropReason.NOT_RUNNING: 1}
    assert wire.server.next_timer() is None and wire.server.next_event() is None

    wire.server.start(wire.now)
    # A handshake that was under way begins anew with its token, whose key has seen the first sequences.
    wire.to_server(request_of(old_token), client_address(3))
    ((challenge, _),) = wire.server.datagrams_to_send()
    assert sequence_of(challenge) == sequence_of(first_challenge) + 2
    _, peer = wire.connected(5)
    assert peer.client_index == 0


def test_another_process_counts_from_elsewhere() -> None:
    # A token shown to one process after another would see its first sequences twice.
    wire, other = Wire(seed=1), Wire(seed=2)
    token = wire.token()
    sequences = set()
    for server in (wire, other):
        server.to_server(request_of(token), HERE)
        ((challenge, _),) = server.server.datagrams_to_send()
        assert sequence_of(challenge) >= 2**63
        sequences.add(sequence_of(challenge))
    assert len(sequences) == 2


def test_no_key_sees_a_sequence_twice() -> None:
    """Over handshakes with loss, restarts, and attempts with the same token."""
    wire = Wire(seed=7)
    token_of = {number: wire.token(client_id=number, expire_seconds=-1) for number in range(1, 9)}
    dice = wire.entropy
    wire.lost = lambda data, sender, receiver: dice(1)[0] < 100
    sequences: dict[int, int] = {}
    for round_number in range(6):
        for number, token in token_of.items():
            wire.client(token, number, first_sequence=sequences.get(number, 0))
        wire.run(1.0)
        for number in token_of:
            client = wire.clients[client_address(number)]
            client.disconnect(wire.now)
            sequences[number] = client.next_sequence
        wire.carry()
        if round_number % 2:
            wire.server.stop()
            wire.server.start(wire.now)
    nonces = [(sender, receiver, sequence_of(data)) for data, sender, receiver in wire.sent if data[0] != 0]
    assert len(nonces) > 500
    assert len(nonces) == len(set(nonces))


def test_a_bad_private_key_or_address_is_refused() -> None:
    def server(**options: object) -> None:
        NetcodeServer(
            **{  # type: ignore[arg-type]
                "protocol_id": 1,
                "private_key": bytes(32),
                "config": Config(),
                "entropy": bytes,
                **options,
            }
        )

    with pytest.raises(ArgumentError, match="32 bytes, not 31"):
        server(private_key=bytes(31))
    with pytest.raises(ArgumentError, match="must have an IP address"):
        server(public_addresses=[("example.com", 5)])
