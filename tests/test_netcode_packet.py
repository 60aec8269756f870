"""netcode's packets: what is written is read, and every reading step drops what it should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygase_gevent.protocol.netcode import crypto
from pygase_gevent.protocol.netcode.crypto import ChallengeCipher, packet_associated_data
from pygase_gevent.protocol.netcode.packet import (
    DropReason,
    PacketType,
    accepted_types,
    read_challenge,
    read_keep_alive,
    read_request,
    write_challenge,
    write_keep_alive,
    write_request,
)
from pygase_gevent.protocol.netcode.sealing import PacketCipher, ReplayWindow, read_packet, write_packet
from pygase_gevent.protocol.netcode.token import (
    ConnectToken,
    PrivateToken,
    read_challenge_token,
    write_challenge_token,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "netcode.json").read_text())
KEY = bytes(range(100, 132))
CIPHER = PacketCipher(KEY, packet_associated_data(77))
OTHER_CIPHER = PacketCipher(bytes(32), packet_associated_data(77))
OTHER_GAME = PacketCipher(KEY, packet_associated_data(78))
ALL_TYPES = accepted_types(*PacketType)
BODIES = {
    PacketType.DENIED: b"",
    PacketType.CHALLENGE: bytes(308),
    PacketType.RESPONSE: bytes(308),
    PacketType.KEEP_ALIVE: bytes(8),
    PacketType.PAYLOAD: b"payload",
    PacketType.DISCONNECT: b"",
}


@given(
    st.sampled_from(list(BODIES.items())),
    st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 300)),
)
def test_what_is_written_is_read(kind: tuple[PacketType, bytes], sequence: int) -> None:
    packet_type, body = kind
    data = write_packet(packet_type, sequence, body, CIPHER)
    assert read_packet(data, CIPHER, ALL_TYPES, None) == (packet_type, sequence, body)


@given(st.binary(min_size=1, max_size=1200))
def test_payloads_of_any_size(payload: bytes) -> None:
    data = write_packet(PacketType.PAYLOAD, 5, payload, CIPHER)
    assert len(data) == len(payload) + 1 + 1 + 16
    assert read_packet(data, CIPHER, ALL_TYPES, ReplayWindow(256)) == (PacketType.PAYLOAD, 5, payload)


@pytest.mark.parametrize(
    ("sequence", "header"),
    [
        (0, b"\x15\x00"),
        (255, b"\x15\xff"),
        (1000, b"\x25\xe8\x03"),
        (2**63, b"\x85\0\0\0\0\0\0\0\x80"),
        (2**64 - 1, b"\x85" + b"\xff" * 8),
    ],
)
def test_sequences_leave_out_their_high_zero_bytes(sequence: int, header: bytes) -> None:
    assert write_packet(PacketType.PAYLOAD, sequence, b"x", CIPHER).startswith(header)


def test_a_sequence_with_high_zero_bytes_is_read_too() -> None:
    prefix = 8 << 4 | PacketType.PAYLOAD
    cipher = crypto.PacketCipher(KEY, packet_associated_data(77))
    data = bytes((prefix,)) + (9).to_bytes(8, "little") + cipher.seal(prefix, 9, b"x")
    assert read_packet(data, CIPHER, ALL_TYPES, None) == (PacketType.PAYLOAD, 9, b"x")


def test_each_reading_step_names_its_reason() -> None:
    good = write_packet(PacketType.PAYLOAD, 1000, b"hello", CIPHER)

    def reason(data: bytes, cipher: PacketCipher = CIPHER) -> object:
        return read_packet(data, cipher, accepted_types(PacketType.PAYLOAD), None)

    assert reason(b"") == DropReason.TOO_SHORT
    assert reason(good[:17]) == DropReason.TOO_SHORT
    for low_bits in range(7, 16):
        assert reason(bytes((0x20 | low_bits,)) + good[1:]) == DropReason.INVALID_TYPE
    for low_bits in (0, 1, 2, 3, 4, 6):
        assert reason(bytes((0x20 | low_bits,)) + good[1:]) == DropReason.UNEXPECTED_TYPE
    for high_bits in (0, *range(9, 16)):
        assert reason(bytes((high_bits << 4 | PacketType.PAYLOAD,)) + good[1:]) == DropReason.INVALID_SEQUENCE
    assert reason(bytes((0x85,)) + good[1:20]) == DropReason.TOO_SHORT
    assert reason(good, OTHER_CIPHER) == DropReason.NOT_AUTHENTIC
    assert reason(good, OTHER_GAME) == DropReason.NOT_AUTHENTIC
    assert reason(good[:-1]) == DropReason.NOT_AUTHENTIC
    assert reason(good + b"\0") == DropReason.NOT_AUTHENTIC
    assert reason(write_packet(PacketType.PAYLOAD, 1, b"", CIPHER)) == DropReason.WRONG_SIZE
    assert reason(write_packet(PacketType.PAYLOAD, 1, bytes(1201), CIPHER)) == DropReason.WRONG_SIZE


def test_each_step_comes_before_the_next() -> None:
    # A datagram with several faults is dropped for the first of them.
    payloads = accepted_types(PacketType.PAYLOAD)
    assert read_packet(b"\x07" * 17, CIPHER, payloads, None) == DropReason.TOO_SHORT
    assert read_packet(b"\x07" * 18, CIPHER, payloads, None) == DropReason.INVALID_TYPE
    assert read_packet(b"\x02" * 18, CIPHER, payloads, None) == DropReason.UNEXPECTED_TYPE
    assert read_packet(b"\x05" * 18, CIPHER, payloads, None) == DropReason.INVALID_SEQUENCE
    window = ReplayWindow(256)
    window.advance(7)
    assert read_packet(b"\x85" + b"\x07" * 18, CIPHER, payloads, window) == DropReason.TOO_SHORT
    forged_replay = b"\x15\x07" + bytes(16)
    assert read_packet(forged_replay, CIPHER, payloads, window) == DropReason.REPLAYED


@pytest.mark.parametrize("packet_type", BODIES)
@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_sizes_are_dropped(packet_type: PacketType, change: int) -> None:
    size = {PacketType.PAYLOAD: 1200 if change > 0 else 1}.get(packet_type, len(BODIES[packet_type])) + change
    if size < 0:
        return
    data = write_packet(packet_type, 3, bytes(size), CIPHER)
    assert read_packet(data, CIPHER, ALL_TYPES, None) == DropReason.WRONG_SIZE


def test_an_encrypted_packet_of_type_zero_has_no_right_size() -> None:
    assert read_packet(write_packet(0, 1, b"x", CIPHER), CIPHER, ALL_TYPES, None) == DropReason.WRONG_SIZE


@pytest.mark.parametrize("packet_type", BODIES)
def test_what_is_replay_protected(packet_type: PacketType) -> None:
    window = ReplayWindow(256)
    data = write_packet(packet_type, 3, BODIES[packet_type], CIPHER)
    assert read_packet(data, CIPHER, ALL_TYPES, window) == (packet_type, 3, BODIES[packet_type])
    again = read_packet(data, CIPHER, ALL_TYPES, window)
    if packet_type in (PacketType.KEEP_ALIVE, PacketType.PAYLOAD, PacketType.DISCONNECT):
        assert again == DropReason.REPLAYED
    else:
        assert again == (packet_type, 3, BODIES[packet_type])


def test_only_an_authentic_packet_moves_the_window() -> None:
    window = ReplayWindow(256)
    forged = write_packet(PacketType.PAYLOAD, 2**60, b"forged", OTHER_CIPHER)
    assert read_packet(forged, CIPHER, ALL_TYPES, window) == DropReason.NOT_AUTHENTIC
    assert not window.is_received(0)
    # The window moves before the size is looked at.
    odd = write_packet(PacketType.KEEP_ALIVE, 2**60, bytes(7), CIPHER)
    assert read_packet(odd, CIPHER, ALL_TYPES, window) == DropReason.WRONG_SIZE
    assert window.is_received(2**60)
    assert window.is_received(0)


def test_any_flipped_bit_is_noticed() -> None:
    good = write_packet(PacketType.PAYLOAD, 1000, b"hello", CIPHER)
    for bit in range(len(good) * 8):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        assert isinstance(read_packet(bytes(data), CIPHER, ALL_TYPES, None), str)


@given(st.binary(max_size=1400))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    assert isinstance(read_packet(data, CIPHER, ALL_TYPES, ReplayWindow(256)), str)
    assert read_request(data) is None or len(data) == 1078


def test_bodies_are_read_as_written() -> None:
    assert read_keep_alive(write_keep_alive(3, 2**32 - 1)) == (3, 2**32 - 1)
    assert read_challenge(write_challenge(2**64 - 1, bytes(range(250)) + bytes(50))) == (
        2**64 - 1,
        bytes(range(250)) + bytes(50),
    )


def test_vectors_of_encrypted_packets() -> None:
    for vector in VECTORS["packets"]:
        cipher = PacketCipher(
            bytes.fromhex(vector["key"]), packet_associated_data(int(vector["protocol_id"], 16))
        )
        packet_type = PacketType[vector["type"]]
        sequence, body = int(vector["sequence"], 16), bytes.fromhex(vector["body"])
        packet = bytes.fromhex(vector["packet"])
        assert write_packet(packet_type, sequence, body, cipher) == packet
        assert read_packet(packet, cipher, ALL_TYPES, None) == (packet_type, sequence, body)


def test_vectors_of_the_connect_token_and_its_request() -> None:
    vector = VECTORS["connect_token"]
    protocol_id = int(vector["protocol_id"], 16)
    key, nonce = bytes.fromhex(vector["private_key"]), bytes.fromhex(vector["nonce"])
    addresses = tuple((host, port) for host, port in vector["server_addresses"])
    private = PrivateToken(
        client_id=int(vector["client_id"], 16),
        timeout_seconds=vector["timeout_seconds"],
        server_addresses=addresses,
        client_to_server_key=bytes.fromhex(vector["client_to_server_key"]),
        server_to_client_key=bytes.fromhex(vector["server_to_client_key"]),
        user_data=bytes.fromhex(vector["user_data"]),
    )
    sealed = private.seal(
        private_key=key,
        protocol_id=protocol_id,
        expire_timestamp=vector["expire_timestamp"],
        nonce=nonce,
    )
    assert sealed == bytes.fromhex(vector["private_data"])
    token = ConnectToken(
        protocol_id=protocol_id,
        create_timestamp=vector["create_timestamp"],
        expire_timestamp=vector["expire_timestamp"],
        nonce=nonce,
        private_data=sealed,
        timeout_seconds=vector["timeout_seconds"],
        server_addresses=addresses,
        client_to_server_key=private.client_to_server_key,
        server_to_client_key=private.server_to_client_key,
    )
    assert token.to_bytes() == bytes.fromhex(vector["token"])
    assert ConnectToken.from_bytes(token.to_bytes()) == token
    request = write_request(
        protocol_id=protocol_id,
        expire_timestamp=vector["expire_timestamp"],
        nonce=nonce,
        private_data=sealed,
    )
    assert request == bytes.fromhex(vector["request"])
    assert read_request(request) == (b"NETCODE 1.02\0", protocol_id, token.expire_timestamp, nonce, sealed)


def test_vector_of_the_challenge_token() -> None:
    vector = VECTORS["challenge_token"]
    cipher = ChallengeCipher(bytes.fromhex(vector["key"]))
    sequence = int(vector["sequence"], 16)
    client_id, user_data = int(vector["client_id"], 16), bytes.fromhex(vector["user_data"])
    sealed = cipher.seal(sequence, write_challenge_token(client_id, user_data))
    assert sealed == bytes.fromhex(vector["challenge_token"])
    opened = cipher.open(sequence, sealed)
    assert opened is not None
    assert read_challenge_token(opened) == (client_id, user_data)
    assert cipher.open(sequence + 1, sealed) is None
