"""The server's steps for requests and responses (STANDARD.md, Server-Side Connection Process)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from netcode_pair import (
    PRIVATE_KEY,
    PROTOCOL_ID,
    SERVER,
    Wire,
    ask,
    cipher_of,
    client_address,
    dropped,
    packet_type,
    request_of,
    sequence_of,
)

from pygase_gevent.config import Config
from pygase_gevent.protocol.netcode import NEVER_EXPIRES, ClientState, DropReason, PrivateToken
from pygase_gevent.protocol.netcode.crypto import seal_token
from pygase_gevent.protocol.netcode.packet import PacketType, accepted_types
from pygase_gevent.protocol.netcode.sealing import read_packet, write_packet

HERE = client_address(1)
THERE = client_address(2)


def test_a_good_request_is_answered_with_one_smaller_challenge() -> None:
    wire = Wire()
    wire.to_server(request_of(wire.token()), HERE)
    ((challenge, receiver),) = wire.server.datagrams_to_send()
    assert receiver == HERE
    assert packet_type(challenge) == PacketType.CHALLENGE
    assert len(challenge) == 333 < len(request_of(wire.token())) == 1078
    assert sequence_of(challenge) >= 2**63
    assert dropped(wire) == {}


@pytest.mark.parametrize("size", [1, 2, 17, 1077, 1079, 1300])
def test_a_request_has_one_right_size(size: int) -> None:
    wire = Wire()
    wire.to_server((request_of(wire.token()) + bytes(500))[:size], HERE)
    assert dropped(wire) == {DropReason.WRONG_SIZE: 1}


def test_a_request_has_the_right_version() -> None:
    wire = Wire()
    wire.to_server(request_of(wire.token()).replace(b"NETCODE 1.02", b"NETCODE 1.01"), HERE)
    assert dropped(wire) == {DropReason.WRONG_VERSION: 1}


def test_a_request_is_for_this_game() -> None:
    wire = Wire()
    assert ask(wire, wire.token(protocol_id=PROTOCOL_ID + 1)) == []
    assert dropped(wire) == {DropReason.WRONG_PROTOCOL: 1}
    # The id in the open does not make it one: the sealed part is bound to its own.
    assert ask(wire, replace(wire.token(protocol_id=PROTOCOL_ID + 1), protocol_id=PROTOCOL_ID)) == []
    assert dropped(wire) == {DropReason.TOKEN_NOT_AUTHENTIC: 1}


def test_a_token_expires_on_the_second() -> None:
    wire = Wire()
    token = wire.token(expire_seconds=30)
    wire.unix_time += 30
    assert ask(wire, token) == []
    assert dropped(wire) == {DropReason.TOKEN_EXPIRED: 1}
    assert ask(wire, replace(token, expire_timestamp=token.expire_timestamp + 1)) == []
    assert dropped(wire) == {DropReason.TOKEN_NOT_AUTHENTIC: 1}
    wire.unix_time -= 1
    assert ask(wire, token) == [PacketType.CHALLENGE]


def test_a_token_may_never_expire() -> None:
    wire = Wire()
    token = wire.token(expire_seconds=-1)
    assert token.expire_timestamp == NEVER_EXPIRES
    wire.unix_time = 2**63
    assert ask(wire, token) == [PacketType.CHALLENGE]


def test_a_token_is_sealed_with_the_servers_key() -> None:
    wire = Wire()
    assert ask(wire, wire.token(private_key=bytes(32))) == []
    assert ask(wire, replace(wire.token(), nonce=bytes(24))) == []
    assert ask(wire, replace(wire.token(), private_data=bytes(1024))) == []
    assert dropped(wire) == {DropReason.TOKEN_NOT_AUTHENTIC: 3}


@pytest.mark.parametrize(
    "plain_head",
    [
        b"\x01" + bytes(7) + b"\5\0\0\0" + b"\0\0\0\0",
        b"\x01" + bytes(7) + b"\5\0\0\0" + b"\x21\0\0\0" + b"\1\x7f\0\0\1\0\1" * 33,
        b"\x01" + bytes(7) + b"\5\0\0\0" + b"\1\0\0\0" + b"\0\x7f\0\0\1\0\1",
        b"\x01" + bytes(7) + b"\5\0\0\0" + b"\2\0\0\0" + b"\1\x7f\0\0\1\0\1" + b"\3",
        b"\xff" * 16,
    ],
)
def test_a_sealed_token_that_makes_no_sense(plain_head: bytes) -> None:
    wire = Wire()
    token = wire.token()
    private_data = seal_token(
        plain_head.ljust(1008, b"\0"),
        protocol_id=PROTOCOL_ID,
        expire_timestamp=token.expire_timestamp,
        nonce=token.nonce,
        key=PRIVATE_KEY,
    )
    assert ask(wire, replace(token, private_data=private_data)) == []
    assert dropped(wire) == {DropReason.TOKEN_INVALID: 1}


def test_a_token_names_this_server_where_its_address_is_known() -> None:
    wire = Wire(public_addresses=[("2001:DB8::0001", 4000), SERVER])
    assert ask(wire, wire.token(server_addresses=[("192.0.2.9", 4000), ("192.0.2.1", 4001)])) == []
    assert dropped(wire) == {DropReason.TOKEN_FOR_OTHER_SERVER: 1}
    assert ask(wire, wire.token(server_addresses=[("192.0.2.9", 4000), SERVER])) == [PacketType.CHALLENGE]
    assert ask(wire, wire.token(server_addresses=[("2001:db8::1", 4000)])) == [PacketType.CHALLENGE]


def test_an_address_or_client_id_connects_once() -> None:
    wire = Wire()
    wire.connected(1)
    assert ask(wire, wire.token(client_id=99), HERE) == []
    assert ask(wire, wire.token(client_id=1), THERE) == []
    assert dropped(wire) == {DropReason.ALREADY_CONNECTED: 2}


def test_a_client_id_that_connected_meanwhile_is_not_let_in_twice() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    first, second = wire.client(wire.token(client_id=5), 1), wire.client(wire.token(client_id=5), 2)
    wire.carry()
    wire.lost = lambda data, sender, receiver: False
    wire.run(1.0)
    assert {first.state, second.state} == {ClientState.CONNECTED, ClientState.SENDING_CONNECTION_RESPONSE}
    assert len(wire.server.peers) == 1
    assert wire.server.drops[DropReason.ALREADY_CONNECTED] > 0


def test_a_full_server_denies() -> None:
    wire = Wire(Config(max_clients=1))
    wire.connected(1)
    wire.to_server(request_of(wire.token(client_id=2)), THERE)
    ((denied, _),) = wire.server.datagrams_to_send()
    assert packet_type(denied) == PacketType.DENIED
    assert sequence_of(denied) > 2**63
    assert dropped(wire) == {DropReason.SERVER_FULL: 1}


def test_who_admits_decides_by_the_token() -> None:
    asked: list[PrivateToken] = []

    def admits(token: PrivateToken) -> bool:
        asked.append(token)
        return token.user_data.startswith(b"friend")

    wire = Wire(admits=admits)
    assert ask(wire, wire.token(user_data=b"foe")) == [PacketType.DENIED]
    assert ask(wire, wire.token(user_data=b"friend")) == [PacketType.CHALLENGE]
    assert [token.client_id for token in asked] == [1, 1]


def test_a_server_that_filled_up_denies_at_the_response() -> None:
    wire = Wire(Config(max_clients=1))
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    late = wire.client(number=1)
    wire.carry()
    wire.lost = lambda data, sender, receiver: False
    wire.connected(2)
    wire.run(0.2)
    assert late.state is ClientState.CONNECTION_DENIED
    assert list(wire.server.peers) == [THERE]


def test_a_stale_challenge_is_no_good() -> None:
    wire = Wire(Config(challenge_lifetime_s=2.0))
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    token = wire.token()
    client = wire.client(token)
    wire.carry()
    (response,) = [data for data, _, _ in wire.sent if packet_type(data) == PacketType.RESPONSE]
    wire.now += 2.0
    ask(wire, token)  # keeps the handshake alive, but not the old challenge
    wire.now += 0.001
    assert wire.to_server(response, HERE) is None
    assert not wire.server.peers
    assert dropped(wire) == {DropReason.CHALLENGE_STALE: 1}
    assert client.state is ClientState.SENDING_CONNECTION_RESPONSE


def test_a_challenge_of_another_handshake_is_no_good() -> None:
    """Somebody with two tokens of the same id and user data has not proven the second address."""
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    honest, spoofed = wire.token(client_id=7), wire.token(client_id=7)
    wire.client(honest, 1)
    ask(wire, spoofed, THERE)
    wire.carry()
    (response,) = [data for data, _, _ in wire.sent if packet_type(data) == PacketType.RESPONSE]
    packet = read_packet(response, cipher_of(honest), accepted_types(PacketType.RESPONSE), None)
    assert not isinstance(packet, str)
    # The same challenge, now under the keys of the other handshake.
    wire.to_server(write_packet(*packet, cipher_of(spoofed)), THERE)
    assert not wire.server.peers
    assert wire.server.drops == {DropReason.CHALLENGE_STALE: 1}


def test_a_response_after_the_handshake_was_forgotten() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    wire.client()
    wire.carry()
    (response,) = [data for data, _, _ in wire.sent if packet_type(data) == PacketType.RESPONSE]
    wire.now += 5.0
    wire.server.handle_timer(wire.now)
    assert wire.server.next_timer() is None
    wire.to_server(response, HERE)
    assert dropped(wire) == {DropReason.UNKNOWN_ADDRESS: 1}


def test_a_handshake_dies_with_the_tokens_own_timeout() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    wire.client(wire.token(timeout_seconds=1))
    wire.carry()
    (response,) = [data for data, _, _ in wire.sent if packet_type(data) == PacketType.RESPONSE]
    wire.now += 1.0
    wire.to_server(response, HERE)
    assert dropped(wire) == {DropReason.UNKNOWN_ADDRESS: 1}


def test_a_client_that_starts_over_at_the_same_address_gets_in() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    wire.client(wire.token(client_id=1), 1)
    wire.carry()
    wire.lost = lambda data, sender, receiver: False
    second = wire.client(wire.token(client_id=2), 1)
    wire.carry()
    assert second.state is ClientState.CONNECTED
    assert wire.server.peers[HERE].client_id == 2


def test_a_handshake_lives_on_while_requests_come() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.CHALLENGE
    client = wire.client(wire.token(timeout_seconds=20))
    wire.run(9.0)
    wire.lost = lambda data, sender, receiver: False
    wire.run(0.2)
    assert client.state is ClientState.CONNECTED
