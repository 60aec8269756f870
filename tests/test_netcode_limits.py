"""What a netcode server bounds: used tokens, handshakes, and what one client may send."""

from __future__ import annotations

import pytest
from netcode_pair import SERVER, Wire, ask, client_address, dropped, packet_type

from pygase_gevent.config import Config
from pygase_gevent.protocol.netcode import ClientState, DropReason
from pygase_gevent.protocol.netcode.packet import PacketType

HERE = client_address(1)
THERE = client_address(2)


def test_a_token_is_good_for_the_address_that_used_it_first() -> None:
    wire = Wire()
    token = wire.token()
    assert ask(wire, token, HERE) == [PacketType.CHALLENGE]
    assert ask(wire, token, THERE) == []
    assert dropped(wire) == {DropReason.TOKEN_USED: 1}
    assert ask(wire, token, HERE) == [PacketType.CHALLENGE]
    # ... and a different port is a different address.
    assert ask(wire, token, (HERE[0], HERE[1] + 1)) == []


def test_a_token_that_may_move_connects_from_one_address_only() -> None:
    wire = Wire(may_move=lambda token: True)
    token = wire.token()
    first = wire.client(token)
    (request,) = (data for data, _ in first.datagrams_to_send())
    wire.to_server(request, HERE)
    ((challenge, _),) = wire.server.datagrams_to_send()
    first.receive_datagram(challenge, SERVER, wire.now)  # its response is under way while it moves
    ((response, _),) = first.datagrams_to_send()
    wire.clients.clear()
    second = wire.client(token, 2, first_sequence=first.next_sequence)
    wire.carry()
    assert second.state is ClientState.CONNECTED
    wire.server.disconnect(wire.server.peers[THERE], wire.now)
    wire.to_server(response, HERE)
    assert not wire.server.peers
    assert dropped(wire) == {DropReason.TOKEN_USED: 1}


@pytest.mark.parametrize("how", ["client", "server", "timeout"])
def test_a_token_that_connected_is_never_good_again(how: str) -> None:
    wire = Wire()
    token = wire.token(expire_seconds=-1)
    client = wire.client(token)
    wire.carry()
    if how == "client":
        client.disconnect(wire.now)
        wire.carry()
    elif how == "server":
        wire.server.disconnect(wire.server.peers[HERE], wire.now)
    wire.clients.clear()
    wire.run(0.1 if how != "timeout" else 6.0)
    assert not wire.server.peers
    wire.server.datagrams_to_send()
    for address in (HERE, THERE):
        for seconds in (0.0, 20.0, 3600.0):
            wire.now += seconds
            wire.server.drops.clear()
            assert ask(wire, token, address) == []
            assert dropped(wire) == {DropReason.TOKEN_USED: 1}


def test_a_recorded_handshake_is_of_no_use() -> None:
    wire = Wire()
    client, _ = wire.connected()
    client.send_payload(b"transfer all my gold", wire.now)
    wire.carry()
    client.disconnect(wire.now)
    wire.carry()
    recorded = [data for data, sender, _ in wire.sent if sender == HERE]
    assert len(wire.received) == 1
    assert not wire.server.peers
    for seconds in (0.0, 1.0, 30.0):
        wire.now += seconds
        for address in (HERE, THERE):
            for data in recorded:
                assert wire.to_server(data, address) is None
    assert wire.server.datagrams_to_send() == []
    assert not wire.server.peers


def test_when_the_memory_is_full_of_fresh_tokens_newcomers_wait() -> None:
    wire = Wire(Config(min_used_tokens=4, used_tokens_per_client=1, max_clients=4))
    first = wire.token(client_id=1)
    for client_id in range(1, 5):
        token = first if client_id == 1 else wire.token(client_id=client_id)
        assert ask(wire, token, client_address(client_id)) == [PacketType.CHALLENGE]
    newcomer = wire.token(client_id=9, expire_seconds=300)
    assert ask(wire, newcomer, client_address(9)) == []
    assert dropped(wire) == {DropReason.TOKEN_MEMORY_FULL: 1}
    assert ask(wire, first, client_address(1)) == [PacketType.CHALLENGE]
    wire.now += 9.9
    assert ask(wire, newcomer, client_address(9)) == []
    wire.now += 0.2
    assert ask(wire, newcomer, client_address(9)) == [PacketType.CHALLENGE]


def test_tokens_that_connected_are_forgotten_last() -> None:
    wire = Wire(Config(min_used_tokens=3, used_tokens_per_client=1, max_clients=3))
    spent = wire.token(client_id=1, expire_seconds=-1)
    client = wire.client(spent)
    wire.carry()
    client.disconnect(wire.now)
    wire.carry()
    for client_id in range(2, 40):
        wire.now += 6.0
        assert ask(wire, wire.token(client_id=client_id), client_address(client_id)) == [PacketType.CHALLENGE]
    wire.server.drops.clear()
    assert ask(wire, spent) == []
    assert dropped(wire) == {DropReason.TOKEN_USED: 1}


def test_the_oldest_handshake_makes_room_for_a_new_one() -> None:
    wire = Wire(Config(max_half_open=3))
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    clients = [wire.client(number=number) for number in range(1, 6)]
    wire.carry()
    wire.lost = lambda data, sender, receiver: False
    wire.now += 0.1
    for client in clients:
        client.handle_timer(wire.now)
    wire.carry()
    assert [client.state is ClientState.CONNECTED for client in clients] == [False, False, True, True, True]
    assert wire.server.drops == {DropReason.UNKNOWN_ADDRESS: 2}


def test_a_source_is_looked_at_so_often() -> None:
    wire = Wire(Config(handshakes_per_source_per_s=10))
    token = wire.token()
    answers = [ask(wire, token, (HERE[0], 1000 + n)) for n in range(25)]
    assert len([answer for answer in answers if answer]) == 1
    assert dropped(wire) == {DropReason.TOKEN_USED: 9, DropReason.SOURCE_LIMIT: 15}
    assert ask(wire, wire.token(client_id=2), THERE) == [PacketType.CHALLENGE]
    wire.now += 0.1
    ask(wire, token, (HERE[0], 999))
    ask(wire, token, (HERE[0], 998))
    assert dropped(wire) == {DropReason.TOKEN_USED: 1, DropReason.SOURCE_LIMIT: 1}


def test_an_ipv6_network_is_one_source() -> None:
    wire = Wire(Config(handshakes_per_source_per_s=2))
    token = wire.token()
    ask(wire, token)
    for host in ("2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8:0:1::1"):
        ask(wire, token, (host, 5))
    assert dropped(wire) == {DropReason.TOKEN_USED: 3, DropReason.SOURCE_LIMIT: 1}


def test_all_sources_together_are_looked_at_so_often() -> None:
    wire = Wire(Config(handshakes_per_s=5))
    token = wire.token()
    for number in range(8):
        ask(wire, token, client_address(number))
    assert dropped(wire) == {DropReason.TOKEN_USED: 4, DropReason.HANDSHAKE_LIMIT: 3}
    wire.now += 1.0
    assert ask(wire, token, client_address(0)) == [PacketType.CHALLENGE]


def test_sources_beyond_those_tracked_share_one_allowance() -> None:
    wire = Wire(Config(handshakes_per_source_per_s=2, max_tracked_sources=3))
    token = wire.token()
    for number in range(6):
        ask(wire, token, client_address(number))
    assert dropped(wire) == {DropReason.TOKEN_USED: 4, DropReason.SOURCE_LIMIT: 1}
    wire.now += 1.0  # those tracked are idle now, and make room
    for number in range(10, 13):
        ask(wire, token, client_address(number))
    assert dropped(wire) == {DropReason.TOKEN_USED: 3}


def test_malformed_requests_cost_no_allowance() -> None:
    wire = Wire(Config(handshakes_per_source_per_s=1, handshakes_per_s=1))
    for _ in range(50):
        ask(wire, wire.token(protocol_id=1))
    assert ask(wire, wire.token()) == [PacketType.CHALLENGE]


def test_a_client_may_send_so_much() -> None:
    wire = Wire(Config(max_packets_per_s=10, max_bytes_per_s=2000))
    client, _ = wire.connected()
    for _ in range(12):
        client.send_payload(b"x", wire.now)
    wire.carry()
    assert len(wire.received) == 10
    assert dropped(wire) == {DropReason.PEER_LIMIT: 2}
    wire.now += 1.0
    for _ in range(3):
        client.send_payload(bytes(1000), wire.now)
    wire.carry()
    assert len(wire.received) == 11
    assert dropped(wire) == {DropReason.PEER_LIMIT: 2}


def test_nothing_is_answered_with_more_than_was_received() -> None:
    wire = Wire(Config(max_clients=2))
    for number in range(1, 5):
        wire.client(number=number)
    wire.run(1.0)
    for number in range(1, 5):
        address = client_address(number)
        from_client = to_client = 0
        for data, sender, receiver in wire.sent:
            if sender == address:
                from_client += len(data)
                if packet_type(data) == PacketType.RESPONSE:
                    break  # the challenge is answered
            if receiver == address:
                to_client += len(data)
                assert to_client < from_client
