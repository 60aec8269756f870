"""Issuing connect tokens."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError, MessageTooLargeError, SerializationError
from pygase_gevent.protocol.identity import NO_SESSION, decode_claims, decode_user_data, protocol_id_of
from pygase_gevent.protocol.netcode import NEVER_EXPIRES, ConnectToken, PrivateToken
from pygase_gevent.tokens import issue_connect_token

KEY = bytes(range(32))
SERVERS = [("192.0.2.1", 4000), ("2001:db8::1", 4001)]


def issue(**options: Any) -> tuple[ConnectToken, PrivateToken]:
    data = issue_connect_token(**{"key": KEY, "game": "pong", "server_addresses": SERVERS, **options})
    assert isinstance(data, bytes) and len(data) == 2048
    token = ConnectToken.from_bytes(data)
    private = PrivateToken.open(
        token.private_data,
        private_key=KEY,
        protocol_id=token.protocol_id,
        expire_timestamp=token.expire_timestamp,
        nonce=token.nonce,
    )
    assert private is not None
    return token, private


def test_a_token_says_what_was_asked() -> None:
    before = int(time.time())
    token, private = issue(client_id=77, claims={"name": "Ann", "team": 2}, expire_s=60, timeout_s=9)
    assert token.protocol_id == protocol_id_of("pong")
    assert token.server_addresses == private.server_addresses == tuple(SERVERS)
    assert before <= token.create_timestamp <= int(time.time())
    assert token.expire_timestamp == token.create_timestamp + 60
    assert token.timeout_seconds == private.timeout_seconds == 9
    assert private.client_id == 77
    identity = decode_user_data(private.user_data, config=Config())
    assert identity is not None
    assert decode_claims(identity.claims, Config()) == {"name": "Ann", "team": 2}
    assert identity.resume_secret == NO_SESSION


def test_defaults() -> None:
    token, private = issue(game=5)
    assert token.protocol_id == 5
    assert token.expire_timestamp - token.create_timestamp == 30
    assert token.timeout_seconds == 5
    other = issue()[1]
    assert private.client_id != other.client_id
    identity = decode_user_data(private.user_data, config=Config())
    assert identity is not None and identity.claims == b""


def test_a_token_may_live_for_ever() -> None:
    assert issue(expire_s=-1)[0].expire_timestamp == NEVER_EXPIRES


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"key": "secret"}, ArgumentTypeError, "key must be bytes, not str"),
        ({"key": bytes(16)}, ArgumentError, "key must have 32 bytes, not 16"),
        ({"game": None}, ArgumentTypeError, "game must be a str"),
        ({"game": -1}, ArgumentError, "protocol id"),
        ({"server_addresses": []}, ArgumentError, "1..32, not 0"),
        ({"server_addresses": "192.0.2.1:4000"}, ArgumentTypeError, "list of pairs"),
        ({"server_addresses": {("192.0.2.1", 1)}}, ArgumentTypeError, "list of pairs"),
        ({"server_addresses": [("localhost", 4000)]}, ArgumentError, "IP address, not 'localhost'"),
        ({"client_id": "Ann"}, ArgumentTypeError, "client_id must be an int, not str"),
        ({"client_id": -1}, ArgumentError, "client_id must be in"),
        ({"claims": ["Ann"]}, ArgumentTypeError, "claims must be a dict"),
        ({"claims": {"name": object()}}, SerializationError, "object"),
        ({"claims": {"name": "x" * 300}}, MessageTooLargeError, "claims take"),
        ({"expire_s": 1.5}, ArgumentTypeError, "expire_s must be an int"),
        ({"timeout_s": "5"}, ArgumentTypeError, "timeout_s must be an int"),
    ],
)
def test_what_cannot_be_issued(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        issue(**options)
