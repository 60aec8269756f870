"""Who is who: what the 256 bytes of netcode user data, a welcome and a ticket say.

PROTOCOL.md, *Identity*, has the layouts byte for byte. User data without our magic belongs to a
plain netcode client.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any, Final

from pygase_gevent.codec import decode, encode
from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError, DecodeError, MessageTooLargeError
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.netcode import ConnectToken

REVISION: Final = 1
"""Revision of the session protocol; both sides must have the same."""

MAGIC: Final = b"PGSe"
SESSION_ID_BYTES: Final = 16
INSTANCE_ID_BYTES: Final = 8
USER_DATA_BYTES: Final = 256
MAX_CLAIMS_BYTES: Final = 200
"""So that a welcome that repeats them fits into its 255 bytes."""
NEVER_EXPIRES_S: Final = -1
"""Tokens that clients make for themselves, and tickets: `generate_connect_token` takes a negative span so."""
NO_SESSION: Final = bytes(SESSION_ID_BYTES)
NO_INSTANCE: Final = bytes(INSTANCE_ID_BYTES)

_USER_DATA: Final = struct.Struct("<4sH16s8sQH")
_WELCOME: Final = struct.Struct("<HB16s8sIIH")
_TICKET: Final = struct.Struct("<Qi24s1024s32s32s")
TICKET_BYTES: Final = _TICKET.size


@dataclass(frozen=True, slots=True)
class Identity:
    """What a client says of itself in the user data of its connect token.

    Attributes:
        resume_secret: of the session to resume, or `NO_SESSION`.
        instance_id: the server instance that issued the ticket, or `NO_INSTANCE`.
        issued_at: when it did, Unix seconds, or 0.
        claims: what the issuer of the token states of the client: `encode_claims`' bytes, which are
            handed on as they came.
        revision: session protocol revision of whoever made the token.
    """

    resume_secret: bytes = NO_SESSION
    instance_id: bytes = NO_INSTANCE
    issued_at: int = 0
    claims: bytes = b""
    revision: int = REVISION


@dataclass(frozen=True, slots=True)
class Welcome:
    """The first word of a server on a fresh netcode connection.

    Attributes:
        resume_secret: of the session that this connection belongs to from now on.
        instance_id: the server instance; changes with each new server process.
        resumed: the session was known; otherwise it is a new one.
        timeout_s, resume_window_s: the server's, so that both sides give up at the same time.
        claims: what the token said of the client, encoded.
    """

    resume_secret: bytes
    instance_id: bytes
    resumed: bool
    timeout_s: float
    resume_window_s: float
    claims: bytes = b""
    revision: int = REVISION


def session_id_of(resume_secret: bytes) -> bytes:
    """A session's public name, 16 bytes.

    Who knows the secret can resume the session; the name, which applications show and send around,
    does not give it away.
    """
    return hashlib.sha256(b"pygase_gevent session\0" + resume_secret).digest()[:SESSION_ID_BYTES]


def protocol_id_of(game: str | int) -> int:
    """netcode's 64-bit protocol id of a game.

    Args:
        game: the game's name, hashed by SHA-256; or the id itself, 0 to 2**64 - 1.

    Raises:
        ArgumentTypeError: neither a `str` nor an `int`.
        ArgumentError: an `int` that is not 64-bit unsigned.
    """
    if isinstance(game, str):
        digest = hashlib.sha256(b"pygase_gevent game\0" + game.encode("utf-8")).digest()
        return int.from_bytes(digest[:8], "little")
    if isinstance(game, bool) or not isinstance(game, int):
        raise ArgumentTypeError(
            f"game must be a str (a name) or an int (a protocol id), not {type(game).__name__}"
        )
    if not 0 <= game < 2**64:
        raise ArgumentError(f"game as a protocol id must be between 0 and 2**64 - 1, not {game}")
    return game


def encode_claims(claims: dict[str, Any] | None, config: Config) -> bytes:
    """Claims as bytes.

    Raises:
        ArgumentTypeError: not a dict.
        SerializationError: something in them cannot travel.
        MessageTooLargeError: more than 200 bytes.
    """
    if claims is None:
        claims = {}
    if not isinstance(claims, dict):
        raise ArgumentTypeError(f"claims must be a dict, not {type(claims).__name__}")
    if not claims:
        return b""
    encoded = encode(claims, config=config)
    if len(encoded) > MAX_CLAIMS_BYTES:
        raise MessageTooLargeError(
            f"claims take {len(encoded)} bytes; {MAX_CLAIMS_BYTES} fit into a connect token: "
            "put an id in them and look the rest up on the server"
        )
    return encoded


def encode_user_data(identity: Identity) -> bytes:
    """The 256 bytes of user data of a connect token."""
    head = _USER_DATA.pack(
        MAGIC,
        identity.revision,
        identity.resume_secret,
        identity.instance_id,
        identity.issued_at,
        len(identity.claims),
    )
    return (head + identity.claims).ljust(USER_DATA_BYTES, b"\0")


def decode_user_data(data: bytes, *, config: Config) -> Identity | None:
    """What user data says; `None` for a plain netcode client's."""
    if len(data) != USER_DATA_BYTES or data[:4] != MAGIC:
        return None
    _, revision, resume_secret, instance_id, issued_at, size = _USER_DATA.unpack_from(data)
    claims = data[_USER_DATA.size : _USER_DATA.size + size]
    try:
        _check_claims(claims, size, config)
    except DecodeError:
        return None
    return Identity(resume_secret, instance_id, issued_at, claims, revision)


def encode_welcome(welcome: Welcome) -> bytes:
    """A welcome's blob, at most 255 bytes."""
    return (
        _WELCOME.pack(
            welcome.revision,
            1 if welcome.resumed else 0,
            welcome.resume_secret,
            welcome.instance_id,
            round(welcome.timeout_s * 1000),
            round(welcome.resume_window_s * 1000),
            len(welcome.claims),
        )
        + welcome.claims
    )


def decode_welcome(blob: bytes, *, config: Config) -> Welcome:
    """Parse a welcome. Raises `DecodeError`."""
    if len(blob) < _WELCOME.size:
        raise DecodeError("welcome too short")
    revision, flags, resume_secret, instance_id, timeout_ms, window_ms, size = _WELCOME.unpack_from(blob)
    claims = blob[_WELCOME.size : _WELCOME.size + size]
    _check_claims(claims, size, config)
    return Welcome(
        resume_secret, instance_id, bool(flags & 1), timeout_ms / 1000, window_ms / 1000, claims, revision
    )


def decode_claims(claims: bytes, config: Config) -> dict[str, Any]:
    """What `encode_claims` made bytes of. Raises `DecodeError`."""
    if not claims:
        return {}
    decoded = decode(claims, config=config)
    if not isinstance(decoded, dict):
        raise DecodeError("claims are not a dict")
    return decoded


def encode_ticket(token: ConnectToken) -> bytes:
    """A ticket's blob: what of a connect token the client does not know already."""
    return _TICKET.pack(
        token.expire_timestamp,
        token.timeout_seconds,
        token.nonce,
        token.private_data,
        token.client_to_server_key,
        token.server_to_client_key,
    )


def decode_ticket(
    blob: bytes, *, protocol_id: int, server_addresses: tuple[Address, ...], unix_time: int
) -> ConnectToken:
    """The connect token that a ticket stands for. Raises `DecodeError`."""
    if len(blob) != TICKET_BYTES:
        raise DecodeError("ticket of wrong size")
    expire, timeout, nonce, private_data, client_key, server_key = _TICKET.unpack(blob)
    return ConnectToken(
        protocol_id=protocol_id,
        create_timestamp=min(unix_time, expire),
        expire_timestamp=expire,
        nonce=nonce,
        private_data=private_data,
        timeout_seconds=timeout,
        server_addresses=server_addresses,
        client_to_server_key=client_key,
        server_to_client_key=server_key,
    )


def _check_claims(claims: bytes, size: int, config: Config) -> None:
    if size != len(claims) or size > MAX_CLAIMS_BYTES:
        raise DecodeError("claims longer than their place")
    decode_claims(claims, config)
