"""The client's state machine, with every error state."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from netcode_pair import SERVER, Wire, client_address, packet_type, sequence_of

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError, NotRunningError
from pygase_gevent.protocol.netcode import ClientState, DropReason, NetcodeClient
from pygase_gevent.protocol.netcode.packet import PacketType

HERE = client_address(1)
NOBODY = ("192.0.2.99", 4000)


def state_of(client: NetcodeClient) -> ClientState:
    return client.state


def test_the_states_have_the_standards_numbers() -> None:
    assert [state.value for state in ClientState] == list(range(-6, 4))


def test_the_way_to_connected() -> None:
    wire = Wire(Config(max_clients=48))
    client = wire.client()
    assert state_of(client) is ClientState.SENDING_CONNECTION_REQUEST
    assert client.server_address == SERVER
    (request,) = client.datagrams_to_send()
    assert request[1] == SERVER and len(request[0]) == 1078
    wire.to_server(request[0], HERE)
    ((challenge, _),) = wire.server.datagrams_to_send()
    client.receive_datagram(challenge, SERVER, wire.now)
    assert state_of(client) is ClientState.SENDING_CONNECTION_RESPONSE
    wire.carry()
    assert state_of(client) is ClientState.CONNECTED
    assert (client.client_index, client.max_clients) == (0, 48)
    assert client.drops == {}


def test_requests_and_responses_are_repeated_at_their_rate() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: sender == SERVER and packet_type(data) != PacketType.CHALLENGE
    wire.client(wire.token(server_addresses=[NOBODY]))
    wire.run(1.0, step=0.01)
    assert 9 <= len(wire.sent) <= 11
    wire.sent.clear()
    wire.client(number=2)
    wire.run(1.0, step=0.01)
    responses = [1 for data, sender, _ in wire.sent if packet_type(data) == PacketType.RESPONSE]
    assert 9 <= len(responses) <= 11


def test_a_lossy_handshake_comes_to_stand() -> None:
    wire = Wire(seed=3)
    dice = wire.entropy
    wire.lost = lambda data, sender, receiver: dice(1)[0] < 128
    clients = [wire.client(number=number) for number in range(1, 20)]
    wire.run(3.0)
    assert all(state_of(client) is ClientState.CONNECTED for client in clients)


# --- error states -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", bytes(2048), b"NETCODE 1.02\0" + bytes(2035)])
def test_an_invalid_token(data: bytes) -> None:
    client = NetcodeClient(data, config=Config(), now=0.0)
    assert state_of(client) is ClientState.INVALID_CONNECT_TOKEN
    assert client.server_address is None
    assert client.datagrams_to_send() == []
    assert client.next_timer() is None
    client.handle_timer(1.0)
    client.disconnect(1.0)
    assert client.receive_datagram(b"x" * 30, SERVER, 1.0) is None
    assert state_of(client) is ClientState.INVALID_CONNECT_TOKEN


def test_a_token_object_can_be_invalid_too() -> None:
    wire = Wire()
    token = wire.token()
    for bad in (
        replace(token, create_timestamp=token.expire_timestamp + 1),
        replace(token, server_addresses=()),
        replace(token, server_addresses=(SERVER,) * 33),
    ):
        assert wire.client(bad).state is ClientState.INVALID_CONNECT_TOKEN


def test_the_token_expires_under_way() -> None:
    wire = Wire()
    client = wire.client(wire.token(server_addresses=[NOBODY], expire_seconds=3))
    wire.run(2.9)
    assert state_of(client) is ClientState.SENDING_CONNECTION_REQUEST
    wire.run(0.2)
    assert state_of(client) is ClientState.CONNECT_TOKEN_EXPIRED


def test_the_tokens_span_counts_over_all_addresses() -> None:
    wire = Wire()
    token = wire.token(server_addresses=[NOBODY] * 32, expire_seconds=10, timeout_seconds=1)
    client = wire.client(token)
    wire.run(9.5)
    assert state_of(client) is ClientState.SENDING_CONNECTION_REQUEST
    wire.run(1.0)
    assert state_of(client) is ClientState.CONNECT_TOKEN_EXPIRED


def test_a_token_without_any_span_expires_at_once() -> None:
    wire = Wire()
    client = wire.client(wire.token(expire_seconds=0))
    assert client.next_timer() == wire.now
    client.handle_timer(wire.now)
    assert state_of(client) is ClientState.CONNECT_TOKEN_EXPIRED


def test_an_expired_token_ends_no_connection() -> None:
    wire = Wire()
    client, _ = wire.connected(expire_seconds=1)
    wire.run(3.0)
    assert state_of(client) is ClientState.CONNECTED


def test_no_answer_to_the_request() -> None:
    wire = Wire()
    client = wire.client(wire.token(server_addresses=[NOBODY]))
    wire.run(4.9)
    assert state_of(client) is ClientState.SENDING_CONNECTION_REQUEST
    wire.run(0.2)
    assert state_of(client) is ClientState.CONNECTION_REQUEST_TIMED_OUT


def test_no_answer_to_the_response() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    client = wire.client()
    wire.run(4.9)
    assert state_of(client) is ClientState.SENDING_CONNECTION_RESPONSE
    wire.run(0.2)
    assert state_of(client) is ClientState.CONNECTION_RESPONSE_TIMED_OUT


def test_silence_while_connected() -> None:
    wire = Wire()
    client, _ = wire.connected()
    wire.lost = lambda data, sender, receiver: sender == SERVER
    wire.run(4.9)
    assert state_of(client) is ClientState.CONNECTED
    wire.run(0.2)
    assert state_of(client) is ClientState.CONNECTION_TIMED_OUT
    with pytest.raises(NotRunningError):
        client.send_payload(b"x", wire.now)


def test_denied() -> None:
    wire = Wire(admits=lambda token: False)
    client = wire.client()
    wire.carry()
    assert state_of(client) is ClientState.CONNECTION_DENIED


def test_the_server_says_goodbye() -> None:
    wire = Wire()
    client, peer = wire.connected(server_addresses=[SERVER, NOBODY])
    wire.server.disconnect(peer, wire.now)
    wire.carry()
    # Final, also where there is another address: that server was reached.
    assert state_of(client) is ClientState.DISCONNECTED
    assert client.server_address == SERVER


def test_without_a_timeout_it_waits_for_ever() -> None:
    wire = Wire()
    token = wire.token(server_addresses=[NOBODY], timeout_seconds=-1, expire_seconds=-1)
    client = wire.client(token)
    wire.run(600.0, step=1.0)
    assert state_of(client) is ClientState.SENDING_CONNECTION_REQUEST


# --- the next address ---------------------------------------------------------------------------------------


def test_the_next_address_after_silence_keeps_the_sequence() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    token = wire.token(server_addresses=[NOBODY, SERVER, NOBODY], timeout_seconds=1)
    client = wire.client(token)
    addresses = [client.server_address]
    for _ in range(40):
        wire.run(0.1)
        if client.server_address != addresses[-1]:
            addresses.append(client.server_address)
    assert addresses == [NOBODY, SERVER, NOBODY]
    assert state_of(client) is ClientState.CONNECTION_REQUEST_TIMED_OUT
    responses = [
        sequence_of(data) for data, sender, _ in wire.sent if packet_type(data) == PacketType.RESPONSE
    ]
    assert responses == list(range(len(responses)))
    assert client.next_sequence == len(responses)


def test_the_next_address_after_denial() -> None:
    full = Wire(seed=1, admits=lambda token: False)
    free = Wire(seed=2)
    other = ("192.0.2.2", 4000)
    client = full.client(full.token(server_addresses=[SERVER, other]))
    full.carry()
    assert state_of(client) is ClientState.SENDING_CONNECTION_REQUEST
    assert client.server_address == other
    assert client.next_sequence == 0
    # What the first server still sends is a stranger's now.
    denied = next(data for data, sender, _ in full.sent if sender == SERVER)
    client.receive_datagram(denied, SERVER, full.now)
    assert client.drops == {DropReason.UNKNOWN_ADDRESS: 1}
    client.handle_timer(full.now + 0.2)
    for _ in range(3):
        for data, receiver in client.datagrams_to_send():
            assert receiver == other
            free.to_server(data, HERE)
        for data, _ in free.server.datagrams_to_send():
            client.receive_datagram(data, other, free.now)
    assert state_of(client) is ClientState.CONNECTED


@pytest.mark.pure  # compiled, what is no pair at all is a plain TypeError
def test_addresses_may_be_given_instead_of_the_tokens() -> None:
    wire = Wire()
    client = wire.client(wire.token(server_addresses=[NOBODY]), addresses=[SERVER])
    wire.carry()
    assert state_of(client) is ClientState.CONNECTED
    with pytest.raises(ArgumentError, match="at least one"):
        wire.client(addresses=[])
    with pytest.raises(ArgumentError, match="IP address"):
        wire.client(addresses=[("localhost", 5)])
    with pytest.raises(ArgumentTypeError, match="pair"):
        wire.client(addresses=["192.0.2.1:5"])


def test_a_second_attempt_with_the_same_token_goes_on_counting() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    token = wire.token(timeout_seconds=1)
    first = wire.client(token)
    wire.run(1.5)
    assert state_of(first) is ClientState.CONNECTION_RESPONSE_TIMED_OUT
    wire.lost = lambda data, sender, receiver: False
    second = wire.client(token, first_sequence=first.next_sequence)
    wire.carry()
    assert state_of(second) is ClientState.CONNECTED
    sequences = [sequence_of(data) for data, sender, _ in wire.sent if sender == HERE and data[0]]
    assert len(sequences) == len(set(sequences))


# --- what it takes, and what it drops -------------------------------------------------------------


def test_strangers_are_not_listened_to() -> None:
    wire = Wire()
    client = wire.client()
    (request,) = client.datagrams_to_send()
    wire.to_server(request[0], HERE)
    ((challenge, _),) = wire.server.datagrams_to_send()
    client.receive_datagram(challenge, NOBODY, wire.now)
    assert state_of(client) is ClientState.SENDING_CONNECTION_REQUEST
    assert client.drops == {DropReason.UNKNOWN_ADDRESS: 1}


def test_payloads_before_the_keep_alive_are_dropped() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.KEEP_ALIVE
    client = wire.client()
    wire.carry()
    peer = wire.server.peers[HERE]
    wire.server.send_payload(peer, b"too early", wire.now)
    wire.carry()
    assert state_of(client) is ClientState.SENDING_CONNECTION_RESPONSE
    assert wire.client_received == []
    assert client.drops == {DropReason.UNEXPECTED_TYPE: 1}
    wire.lost = lambda data, sender, receiver: False
    wire.server.send_payload(peer, b"with a keep-alive before it", wire.now)
    wire.carry()
    assert [payload for _, _, payload in wire.client_received] == [b"with a keep-alive before it"]


def test_what_a_connected_client_drops() -> None:
    wire = Wire()
    client, _ = wire.connected()
    to_client = [data for data, sender, _ in wire.sent if sender == SERVER]
    for data in to_client:  # challenge and keep-alive once more
        client.receive_datagram(data, SERVER, wire.now)
    assert state_of(client) is ClientState.CONNECTED
    assert client.drops == {DropReason.UNEXPECTED_TYPE: 1, DropReason.REPLAYED: 1}
    client.drops.clear()
    for data, sender, _ in wire.sent:  # its own packets, reflected
        if sender == HERE:
            client.receive_datagram(data, SERVER, wire.now)
    assert client.drops == {
        DropReason.UNEXPECTED_TYPE: 2,  # request and response
        DropReason.NOT_AUTHENTIC: 1,  # its keep-alive, under the key of the other direction
    }


def test_payloads_have_one_to_1200_bytes() -> None:
    wire = Wire()
    client, peer = wire.connected()
    for payload in (b"", bytes(1201)):
        with pytest.raises(ArgumentError, match="1 to 1200"):
            client.send_payload(payload, wire.now)
        with pytest.raises(ArgumentError, match="1 to 1200"):
            wire.server.send_payload(peer, payload, wire.now)
    assert client.datagrams_to_send() == []


def test_disconnect_is_said_repeatedly_and_once() -> None:
    wire = Wire()
    client, _ = wire.connected()
    client.disconnect(wire.now)
    client.disconnect(wire.now)
    assert state_of(client) is ClientState.DISCONNECTED
    goodbyes = client.datagrams_to_send()
    assert [packet_type(data) for data, _ in goodbyes] == [PacketType.DISCONNECT] * 10
    assert len({sequence_of(data) for data, _ in goodbyes}) == 10
    # Any one of them is enough.
    wire.to_server(goodbyes[7][0], HERE)
    assert not wire.server.peers


def test_keep_alives_may_be_left_to_the_floor_above() -> None:
    wire = Wire()
    client, peer = wire.connected()
    client.keepalive_interval_s = peer.keepalive_interval_s = inf
    wire.sent.clear()
    timeout_time = wire.now + 5.0
    wire.run(2.0)
    assert wire.sent == []
    assert client.next_timer() == timeout_time


def test_a_response_without_an_answer_asks_for_another_challenge() -> None:
    # The server was started anew, and can open nothing of what the run before it sealed.
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.RESPONSE
    client = wire.client()
    wire.run(0.2)
    assert client.state is ClientState.SENDING_CONNECTION_RESPONSE
    wire.server.start(wire.now)
    wire.lost = lambda data, sender, receiver: False
    wire.run(wire.config.challenge_renewal_s - 0.2)
    assert client.state is ClientState.SENDING_CONNECTION_RESPONSE
    wire.run(0.4)
    assert client.state is ClientState.CONNECTED


def test_a_server_that_answers_the_response_is_not_asked_for_a_challenge() -> None:
    wire = Wire()
    wire.lost = lambda data, sender, receiver: packet_type(data) == PacketType.KEEP_ALIVE
    client = wire.client()
    wire.run(3.0)
    assert client.state is ClientState.SENDING_CONNECTION_RESPONSE
    assert len(wire.server.peers) == 1
    wire.lost = lambda data, sender, receiver: False
    wire.run(0.2)
    assert client.state is ClientState.CONNECTED
