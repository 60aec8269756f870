"""Connect tokens: the ticket that lets one client into a server (STANDARD.md, Connect Token).

A token has a public part, which the client reads, and inside it a private part, which only the
holder of the server's private key can read. Both carry the same addresses and packet keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from pygase_gevent.errors import ArgumentError, DecodeError
from pygase_gevent.protocol.address import Address, check_address, pack_host, unpack_host
from pygase_gevent.protocol.netcode.crypto import (
    KEY_BYTES,
    MAC_BYTES,
    TOKEN_NONCE_BYTES,
    VERSION_INFO,
    open_token,
    seal_token,
)
from pygase_gevent.protocol.netcode.packet import CHALLENGE_BYTES, PRIVATE_TOKEN_BYTES

CONNECT_TOKEN_BYTES: Final = 2048
USER_DATA_BYTES: Final = 256
MAX_SERVER_ADDRESSES: Final = 32
NEVER_EXPIRES: Final = 2**64 - 1

_IPV4: Final = 1
_IPV6: Final = 2
_PRIVATE_PLAIN_BYTES: Final = PRIVATE_TOKEN_BYTES - MAC_BYTES
_CHALLENGE_PLAIN_BYTES: Final = CHALLENGE_BYTES - MAC_BYTES

# Timeouts are read as signed: a negative one disables the timeout.
_public_head = Struct(f"<{len(VERSION_INFO)}sQQQ{TOKEN_NONCE_BYTES}s{PRIVATE_TOKEN_BYTES}si")
_private_head = Struct("<Qi")
_address_count = Struct("<I")
_ipv4_address = Struct("<4sH")
_ipv6_address = Struct("<8HH")
_ipv6_groups = Struct(">8H")
_keys = Struct(f"<{KEY_BYTES}s{KEY_BYTES}s")
_challenge = Struct(f"<Q{USER_DATA_BYTES}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectToken:
    """What a client needs to connect, as it is handed to the client.

    Attributes:
        protocol_id: 64 bits, the application.
        create_timestamp: Unix time in seconds.
        expire_timestamp: Unix time in seconds after which no server accepts the token.
        nonce: 24 bytes, that the private part was encrypted with.
        private_data: 1024 bytes, the encrypted private part.
        timeout_seconds: silence that ends an attempt or the connection; negative: never.
        server_addresses: 1 to 32, tried in turn.
        client_to_server_key: 32 bytes.
        server_to_client_key: 32 bytes.
    """

    protocol_id: int
    create_timestamp: int
    expire_timestamp: int
    nonce: bytes
    private_data: bytes = field(repr=False)
    timeout_seconds: int
    server_addresses: tuple[Address, ...]
    client_to_server_key: bytes = field(repr=False)
    server_to_client_key: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """The 2048 bytes of the token."""
        data = (
            _public_head.pack(
                VERSION_INFO,
                self.protocol_id,
                self.create_timestamp,
                self.expire_timestamp,
                self.nonce,
                self.private_data,
                self.timeout_seconds,
            )
            + _write_addresses(self.server_addresses)
            + _keys.pack(self.client_to_server_key, self.server_to_client_key)
        )
        return data.ljust(CONNECT_TOKEN_BYTES, b"\0")

    @classmethod
    def from_bytes(cls, data: bytes) -> ConnectToken:
        """Reads a token.

        Raises:
            DecodeError: it is not a valid netcode 1.02 connect token.
        """
        if len(data) != CONNECT_TOKEN_BYTES:
            raise DecodeError(
                f"it has {len(data)} bytes instead of {CONNECT_TOKEN_BYTES} (base64 is to be decoded first)"
            )
        version, protocol_id, created, expires, nonce, private_data, timeout = _public_head.unpack_from(data)
        if version != VERSION_INFO:
            raise DecodeError("not a connect token of netcode 1.02")
        if created > expires:
            raise DecodeError("a connect token cannot expire before it was made")
        addresses, offset = _read_addresses(data, _public_head.size)
        client_to_server_key, server_to_client_key = _keys.unpack_from(data, offset)
        return cls(
            protocol_id=protocol_id,
            create_timestamp=created,
            expire_timestamp=expires,
            nonce=nonce,
            private_data=private_data,
            timeout_seconds=timeout,
            server_addresses=addresses,
            client_to_server_key=client_to_server_key,
            server_to_client_key=server_to_client_key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateToken:
    """What the server learns about a client from its token.

    Attributes:
        client_id: 64 bits, unique among the clients connected.
        timeout_seconds: silence that ends the connection; negative: never.
        server_addresses: the servers that the token is for.
        client_to_server_key: 32 bytes.
        server_to_client_key: 32 bytes.
        user_data: 256 bytes.
        mac: 16 bytes, the tag of the encrypted form: it names the token.
    """

    client_id: int
    timeout_seconds: int
    server_addresses: tuple[Address, ...]
    client_to_server_key: bytes = field(repr=False)
    server_to_client_key: bytes = field(repr=False)
    user_data: bytes = field(repr=False)
    mac: bytes = bytes(MAC_BYTES)

    def seal(self, *, private_key: bytes, protocol_id: int, expire_timestamp: int, nonce: bytes) -> bytes:
        """The 1024 encrypted bytes of the private part."""
        plain = (
            _private_head.pack(self.client_id, self.timeout_seconds)
            + _write_addresses(self.server_addresses)
            + _keys.pack(self.client_to_server_key, self.server_to_client_key)
            + self.user_data
        )
        return seal_token(
            plain.ljust(_PRIVATE_PLAIN_BYTES, b"\0"),
            protocol_id=protocol_id,
            expire_timestamp=expire_timestamp,
            nonce=nonce,
            key=private_key,
        )

    @classmethod
    def open(
        cls, sealed: bytes, *, private_key: bytes, protocol_id: int, expire_timestamp: int, nonce: bytes
    ) -> PrivateToken | None:
        """Decrypts and reads the private part; None where it is not authentic.

        Raises:
            DecodeError: it is authentic, but not a valid private part.
        """
        plain = open_token(
            sealed, protocol_id=protocol_id, expire_timestamp=expire_timestamp, nonce=nonce, key=private_key
        )
        if plain is None:
            return None
        if len(plain) != _PRIVATE_PLAIN_BYTES:
            raise DecodeError("the private part of a connect token has the wrong size")
        client_id, timeout = _private_head.unpack_from(plain)
        addresses, offset = _read_addresses(plain, _private_head.size)
        client_to_server_key, server_to_client_key = _keys.unpack_from(plain, offset)
        offset += _keys.size
        return cls(
            client_id=client_id,
            timeout_seconds=timeout,
            server_addresses=addresses,
            client_to_server_key=client_to_server_key,
            server_to_client_key=server_to_client_key,
            user_data=plain[offset : offset + USER_DATA_BYTES],
            mac=sealed[-MAC_BYTES:],
        )


def generate_connect_token(
    *,
    private_key: bytes,
    protocol_id: int,
    client_id: int,
    server_addresses: Sequence[Address],
    user_data: bytes = b"",
    unix_time: int,
    expire_seconds: int,
    timeout_seconds: int,
    entropy: Callable[[int], bytes],
) -> ConnectToken:
    """Makes a connect token with fresh packet keys.

    Args:
        private_key: 32 bytes, shared by whoever makes tokens and the servers.
        protocol_id: 64 bits, the application.
        client_id: 64 bits, unique among the clients of a server.
        server_addresses: 1 to 32, in the order that the client tries them.
        user_data: up to 256 bytes for the server.
        unix_time: the current Unix time in seconds.
        expire_seconds: how long servers accept the token; negative: for ever.
        timeout_seconds: silence that ends an attempt or the connection; negative: never.
        entropy: gives that many random bytes.

    Raises:
        ArgumentError: a value is out of its range.
    """
    _check_range("protocol_id", protocol_id, 0, 2**64)
    _check_range("client_id", client_id, 0, 2**64)
    _check_range("timeout_seconds", timeout_seconds, -(2**31), 2**31)
    _check_range("the number of server addresses", len(server_addresses), 1, MAX_SERVER_ADDRESSES + 1)
    _check_range("the size of user_data", len(user_data), 0, USER_DATA_BYTES + 1)
    _check_range("the size of private_key", len(private_key), KEY_BYTES, KEY_BYTES + 1)
    expire_timestamp = NEVER_EXPIRES if expire_seconds < 0 else unix_time + expire_seconds
    _check_range("the expire timestamp", expire_timestamp, 0, 2**64)
    addresses = tuple(check_address(address) for address in server_addresses)
    nonce = entropy(TOKEN_NONCE_BYTES)
    private = PrivateToken(
        client_id=client_id,
        timeout_seconds=timeout_seconds,
        server_addresses=addresses,
        client_to_server_key=entropy(KEY_BYTES),
        server_to_client_key=entropy(KEY_BYTES),
        user_data=user_data.ljust(USER_DATA_BYTES, b"\0"),
    )
    return ConnectToken(
        protocol_id=protocol_id,
        create_timestamp=unix_time,
        expire_timestamp=expire_timestamp,
        nonce=nonce,
        private_data=private.seal(
            private_key=private_key, protocol_id=protocol_id, expire_timestamp=expire_timestamp, nonce=nonce
        ),
        timeout_seconds=timeout_seconds,
        server_addresses=addresses,
        client_to_server_key=private.client_to_server_key,
        server_to_client_key=private.server_to_client_key,
    )


def write_challenge_token(client_id: int, user_data: bytes) -> bytes:
    """A challenge token before its encryption (STANDARD.md, Challenge Token)."""
    return _challenge.pack(client_id, user_data).ljust(_CHALLENGE_PLAIN_BYTES, b"\0")


def read_challenge_token(plain: bytes) -> tuple[int, bytes]:
    """Client id and user data of a decrypted challenge token."""
    client_id, user_data = _challenge.unpack_from(plain)
    return client_id, user_data


def _write_addresses(addresses: Sequence[Address]) -> bytes:
    parts = [_address_count.pack(len(addresses))]
    for host, port in addresses:
        packed = pack_host(host)
        if len(packed) == 4:
            parts.append(bytes((_IPV4,)) + _ipv4_address.pack(packed, port))
        else:
            # The eight groups are 16-bit numbers, and so little-endian like all others.
            parts.append(bytes((_IPV6,)) + _ipv6_address.pack(*_ipv6_groups.unpack(packed), port))
    return b"".join(parts)


def _read_addresses(data: bytes, offset: int) -> tuple[tuple[Address, ...], int]:
    """Addresses and the offset behind them; the buffers have room for the most that there can be."""
    (count,) = _address_count.unpack_from(data, offset)
    offset += _address_count.size
    if not 1 <= count <= MAX_SERVER_ADDRESSES:
        raise DecodeError(f"a connect token names 1 to {MAX_SERVER_ADDRESSES} servers, not {count}")
    addresses: list[Address] = []
    for _ in range(count):
        address_type = data[offset]
        offset += 1
        if address_type == _IPV4:
            packed, port = _ipv4_address.unpack_from(data, offset)
            offset += _ipv4_address.size
        elif address_type == _IPV6:
            *groups, port = _ipv6_address.unpack_from(data, offset)
            packed = _ipv6_groups.pack(*groups)
            offset += _ipv6_address.size
        else:
            raise DecodeError(f"a connect token has no address type {address_type}")
        addresses.append((unpack_host(packed), port))
    return tuple(addresses), offset


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value < high:
        raise ArgumentError(f"{name} must be in {low}..{high - 1}, not {value}")
