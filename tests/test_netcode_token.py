"""Connect tokens and the addresses in them."""

from __future__ import annotations

import random
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygase_gevent.errors import ArgumentError, ArgumentTypeError, DecodeError
from pygase_gevent.protocol.address import Address, check_address, normalize_address, source_of
from pygase_gevent.protocol.netcode import (
    NEVER_EXPIRES,
    ConnectToken,
    PrivateToken,
    generate_connect_token,
)

KEY = bytes(range(32))
entropy = random.Random(1).randbytes

addresses = st.tuples(
    st.one_of(
        st.integers(0, 2**32 - 1).map(lambda number: str(IPv4Address(number))),
        st.integers(2**64, 2**128 - 1).map(lambda number: str(IPv6Address(number))),
    ),
    st.integers(1, 65535),
)


def generate(**options: Any) -> ConnectToken:
    return generate_connect_token(
        **{
            "private_key": KEY,
            "protocol_id": 7,
            "client_id": 8,
            "server_addresses": [("192.0.2.1", 4000)],
            "unix_time": 1000,
            "expire_seconds": 30,
            "timeout_seconds": 5,
            "entropy": entropy,
            **options,
        }
    )


def open_private(token: ConnectToken, **options: Any) -> PrivateToken | None:
    return PrivateToken.open(
        token.private_data,
        **{
            "private_key": KEY,
            "protocol_id": token.protocol_id,
            "expire_timestamp": token.expire_timestamp,
            "nonce": token.nonce,
            **options,
        },
    )


@given(
    protocol_id=st.integers(0, 2**64 - 1),
    client_id=st.integers(0, 2**64 - 1),
    timeout=st.integers(-(2**31), 2**31 - 1),
    servers=st.lists(addresses, min_size=1, max_size=32),
    user_data=st.binary(max_size=256),
)
def test_both_parts_are_read_as_written(
    protocol_id: int, client_id: int, timeout: int, servers: list[Address], user_data: bytes
) -> None:
    token = generate(
        protocol_id=protocol_id,
        client_id=client_id,
        timeout_seconds=timeout,
        server_addresses=servers,
        user_data=user_data,
    )
    data = token.to_bytes()
    assert len(data) == 2048
    assert ConnectToken.from_bytes(data) == token
    assert (token.create_timestamp, token.expire_timestamp) == (1000, 1030)
    private = open_private(token)
    assert private is not None
    assert (private.client_id, private.timeout_seconds) == (client_id, timeout)
    assert private.server_addresses == token.server_addresses == tuple(servers)
    assert private.user_data == user_data.ljust(256, b"\0")
    assert private.client_to_server_key == token.client_to_server_key
    assert private.server_to_client_key == token.server_to_client_key
    assert private.mac == token.private_data[-16:]


def test_every_token_has_its_own_keys() -> None:
    first, second = generate(), generate()
    assert len({first.client_to_server_key, first.server_to_client_key, second.client_to_server_key}) == 3
    assert first.nonce != second.nonce


def test_keys_are_not_shown() -> None:
    token = generate()
    shown = repr(token) + repr(open_private(token))
    assert "key" not in shown and str(token.client_to_server_key) not in shown


def test_the_private_part_is_bound_to_all_around_it() -> None:
    token = generate()
    assert open_private(token) is not None
    assert open_private(token, private_key=bytes(32)) is None
    assert open_private(token, protocol_id=8) is None
    assert open_private(token, expire_timestamp=1031) is None
    assert open_private(token, nonce=bytes(24)) is None


def test_negative_seconds_never_expire() -> None:
    assert generate(expire_seconds=-1).expire_timestamp == NEVER_EXPIRES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server_addresses": []}, "number of server addresses must be in 1..32, not 0"),
        ({"server_addresses": [("192.0.2.1", 1)] * 33}, "must be in 1..32, not 33"),
        ({"server_addresses": [("example.com", 1)]}, "IP address, not 'example.com'"),
        ({"server_addresses": [("192.0.2.1", 0)]}, "port of a server address must be in 1..65535, not 0"),
        ({"client_id": 2**64}, "client_id must be in"),
        ({"protocol_id": -1}, "protocol_id must be in"),
        ({"timeout_seconds": 2**31}, "timeout_seconds must be in"),
        ({"user_data": bytes(257)}, "size of user_data must be in 0..256, not 257"),
        ({"private_key": bytes(31)}, "size of private_key must be in 32..32, not 31"),
        ({"expire_seconds": 2**64}, "expire timestamp must be in"),
    ],
)
def test_what_no_token_can_hold(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        generate(**options)


def changed(offset: int, data: bytes) -> bytes:
    token = generate().to_bytes()
    return token[:offset] + data + token[offset + len(data) :]


COUNT = 13 + 8 + 8 + 8 + 24 + 1024 + 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes instead of 2048"),
        (generate().to_bytes() + b"\0", "2049 bytes instead of 2048"),
        (changed(0, b"NETCODE 1.01"), "netcode 1.02"),
        (changed(21, b"\xff" * 8), "expire before"),
        (changed(COUNT, b"\0"), "1 to 32 servers, not 0"),
        (changed(COUNT, b"\x21"), "1 to 32 servers, not 33"),
        (changed(COUNT, b"\xff" * 4), "1 to 32 servers, not 4294967295"),
        (changed(COUNT + 4, b"\0"), "address type 0"),
        (changed(COUNT + 4, b"\3"), "address type 3"),
    ],
)
def test_what_is_no_token(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        ConnectToken.from_bytes(data)


@given(st.binary(min_size=2000, max_size=2000))
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    with suppress(DecodeError):
        ConnectToken.from_bytes(b"NETCODE 1.02\0" + noise + bytes(35))


# --- addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sockaddr", "address"),
    [
        (("192.0.2.1", 5), ("192.0.2.1", 5)),
        (("2001:db8::1", 5, 0, 0), ("2001:db8::1", 5)),
        (("::ffff:192.0.2.1", 5, 0, 0), ("192.0.2.1", 5)),
        (("fe80::1%eth0", 5, 0, 3), ("fe80::1", 5)),
    ],
)
def test_what_the_kernel_reports(sockaddr: tuple[Any, ...], address: Address) -> None:
    assert normalize_address(sockaddr) == address


def test_what_a_caller_gives() -> None:
    assert check_address(("2001:0DB8:0::1", 5)) == ("2001:db8::1", 5)
    assert check_address(["::ffff:192.0.2.1", 5]) == ("192.0.2.1", 5)
    for wrong in ("192.0.2.1:5", ("192.0.2.1",), (5, 5), ("192.0.2.1", "5"), ("192.0.2.1", True), None):
        with pytest.raises(ArgumentTypeError):
            check_address(wrong)
    for bad in (("localhost", 5), ("192.0.2.1", 65536), ("192.0.2.1", -1), ("", 5)):
        with pytest.raises(ArgumentError):
            check_address(bad)


def test_what_is_one_source() -> None:
    assert source_of("192.0.2.1") != source_of("192.0.2.2")
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1:2:3")
    assert source_of("2001:db8::1") != source_of("2001:db8:0:1::1")
