"""netcode's seven packets: written to bytes, and read in the standard's order of steps.

Layouts stand in STANDARD.md, Packets. Reading an encrypted packet is the hot path: it gives a plain
tuple, or the reason why the packet is dropped, and raises nothing.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from pygase_gevent.protocol.netcode.crypto import MAC_BYTES, TOKEN_NONCE_BYTES, VERSION_INFO, PacketCipher
from pygase_gevent.protocol.netcode.replay import ReplayWindow

MAX_PAYLOAD_BYTES: Final = 1200
CHALLENGE_BYTES: Final = 300
PRIVATE_TOKEN_BYTES: Final = 1024
REQUEST_BYTES: Final = 1 + len(VERSION_INFO) + 8 + 8 + TOKEN_NONCE_BYTES + PRIVATE_TOKEN_BYTES
MAX_SEQUENCE_BYTES: Final = 8
_SMALLEST_ENCRYPTED_BYTES: Final = 1 + 1 + MAC_BYTES

_request = Struct(f"<B{len(VERSION_INFO)}sQQ{TOKEN_NONCE_BYTES}s{PRIVATE_TOKEN_BYTES}s")
_challenge = Struct(f"<Q{CHALLENGE_BYTES}s")
_keep_alive = Struct("<II")


class PacketType(IntEnum):
    """The low four bits of a packet's first byte."""

    REQUEST = 0
    DENIED = 1
    CHALLENGE = 2
    RESPONSE = 3
    KEEP_ALIVE = 4
    PAYLOAD = 5
    DISCONNECT = 6


class DropReason:
    """Why a datagram was dropped: the keys of the `drops` counters of server and client."""

    # Reading an encrypted packet, in the order of the steps.
    TOO_SHORT: Final = "too short"
    INVALID_TYPE: Final = "invalid packet type"
    UNEXPECTED_TYPE: Final = "packet type not for this side or state"
    INVALID_SEQUENCE: Final = "invalid sequence size"
    REPLAYED: Final = "sequence received already or too old"
    NOT_AUTHENTIC: Final = "not authentic"
    WRONG_SIZE: Final = "wrong size for its type"
    # A connection request, in the order of the steps.
    WRONG_VERSION: Final = "wrong version"
    WRONG_PROTOCOL: Final = "wrong protocol id"
    TOKEN_EXPIRED: Final = "connect token expired"
    TOKEN_NOT_AUTHENTIC: Final = "connect token not authentic"
    TOKEN_INVALID: Final = "connect token invalid"
    TOKEN_FOR_OTHER_SERVER: Final = "connect token for another server"
    ALREADY_CONNECTED: Final = "address or client id connected already"
    TOKEN_USED: Final = "connect token used already"
    SERVER_FULL: Final = "server full"
    # Limits.
    SOURCE_LIMIT: Final = "too many handshakes from this source"
    HANDSHAKE_LIMIT: Final = "too many handshakes in all"
    TOKEN_MEMORY_FULL: Final = "too many fresh tokens"
    PEER_LIMIT: Final = "too many packets or bytes from this client"
    # The rest of the handshake, and around it.
    CHALLENGE_STALE: Final = "challenge stale or not from here"
    UNKNOWN_ADDRESS: Final = "unknown address"
    NOT_RUNNING: Final = "not running"
    STOPPING: Final = "about to stop"


Packet = tuple[int, int, bytes]
"""Packet type, sequence and decrypted body."""

_TYPES: Final = len(PacketType)
_FIRST_REPLAY_PROTECTED: Final = int(PacketType.KEEP_ALIVE)
_MIN_BODY_BYTES: Final = (0, 0, _challenge.size, _challenge.size, _keep_alive.size, 1, 0)
_MAX_BODY_BYTES: Final = (0, 0, _challenge.size, _challenge.size, _keep_alive.size, MAX_PAYLOAD_BYTES, 0)

Accepted = tuple[bool, ...]
"""Per packet type, whether it is accepted."""


def accepted_types(*types: PacketType) -> Accepted:
    return tuple(packet_type in types for packet_type in PacketType)


def write_packet(packet_type: int, sequence: int, body: bytes, cipher: PacketCipher) -> bytes:
    """An encrypted packet: any but the connection request."""
    sequence_bytes = (sequence.bit_length() + 7) >> 3 or 1
    prefix = sequence_bytes << 4 | packet_type
    header = (sequence << 8 | prefix).to_bytes(sequence_bytes + 1, "little")
    return header + cipher.seal(prefix, sequence, body)


def read_packet(
    data: bytes, cipher: PacketCipher, accepted: Accepted, replay: ReplayWindow | None
) -> Packet | str:
    """Reads an encrypted packet (STANDARD.md, Reading Encrypted Packets: the steps in its order).

    Args:
        data: the datagram.
        cipher: of the direction that it came from.
        accepted: which packet types this side takes.
        replay: the window of the connection; None before there is one.

    Returns:
        The packet, or the `DropReason`.
    """
    size = len(data)
    if size < _SMALLEST_ENCRYPTED_BYTES:
        return DropReason.TOO_SHORT
    prefix = data[0]
    packet_type = prefix & 15
    if packet_type >= _TYPES:
        return DropReason.INVALID_TYPE
    if not accepted[packet_type]:
        return DropReason.UNEXPECTED_TYPE
    sequence_bytes = prefix >> 4
    if not 1 <= sequence_bytes <= MAX_SEQUENCE_BYTES:
        return DropReason.INVALID_SEQUENCE
    header_bytes = 1 + sequence_bytes
    if size < header_bytes + MAC_BYTES:
        return DropReason.TOO_SHORT
    sequence = int.from_bytes(data[1:header_bytes], "little")
    if packet_type < _FIRST_REPLAY_PROTECTED:
        replay = None
    if replay is not None and replay.is_received(sequence):
        return DropReason.REPLAYED
    body = cipher.open(prefix, sequence, data[header_bytes:])
    if body is None:
        return DropReason.NOT_AUTHENTIC
    if replay is not None:
        replay.advance(sequence)
    if not _MIN_BODY_BYTES[packet_type] <= len(body) <= _MAX_BODY_BYTES[packet_type]:
        return DropReason.WRONG_SIZE
    return packet_type, sequence, body


class RequestPacket(NamedTuple):
    """What a connection request says; only the token's private part can be trusted, once opened."""

    version_info: bytes
    protocol_id: int
    expire_timestamp: int
    nonce: bytes
    private_data: bytes


def write_request(*, protocol_id: int, expire_timestamp: int, nonce: bytes, private_data: bytes) -> bytes:
    return _request.pack(PacketType.REQUEST, VERSION_INFO, protocol_id, expire_timestamp, nonce, private_data)


def read_request(data: bytes) -> RequestPacket | None:
    """The request, or None where it has not the one right size."""
    return RequestPacket(*_request.unpack(data)[1:]) if len(data) == REQUEST_BYTES else None


def write_challenge(sequence: int, challenge: bytes) -> bytes:
    """The body of a challenge or response packet."""
    return _challenge.pack(sequence, challenge)


def read_challenge(body: bytes) -> tuple[int, bytes]:
    """Challenge sequence and encrypted challenge, from the body of a challenge or response packet."""
    sequence, challenge = _challenge.unpack(body)
    return sequence, challenge


def write_keep_alive(client_index: int, max_clients: int) -> bytes:
    """The body of a keep-alive packet."""
    return _keep_alive.pack(client_index, max_clients)


def read_keep_alive(body: bytes) -> tuple[int, int]:
    """Client index and number of seats, from the body of a keep-alive packet."""
    client_index, max_clients = _keep_alive.unpack(body)
    return client_index, max_clients
