"""Connect tokens for games whose players come through a web backend.

The backend knows who a player is and shares a 32-byte key with the game servers. It makes a token
for the player, who hands it to `Client.connect`; no server need ask the backend again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.identity import Identity, encode_claims, encode_user_data, protocol_id_of
from pygase_gevent.protocol.netcode import generate_connect_token

KEY_BYTES = 32


def issue_connect_token(
    *,
    key: bytes,
    game: str | int = "",
    server_addresses: Sequence[Address],
    client_id: int | None = None,
    claims: dict[str, Any] | None = None,
    expire_s: int = 30,
    timeout_s: int = 5,
) -> bytes:
    """Makes a connect token, good for one connection.

    Args:
        key: the servers' private key, 32 bytes.
        game: the same as the servers'.
        server_addresses: 1 to 32 pairs `(host, port)`, tried in turn; the hosts are IP addresses.
        client_id: 64 bits, unique among the clients connected to a server; None: a random one.
        claims: what the servers should know of the player, up to 200 bytes; it becomes
            `connection.claims`.
        expire_s: seconds for which servers accept the token; negative: for ever.
        timeout_s: seconds without an answer after which the client tries the next server, and
            seconds of silence that end a connection; negative: never.

    Returns:
        The 2048 bytes of the token. They hold the keys of the connection: hand them over HTTPS.

    Raises:
        ArgumentTypeError: an argument has the wrong type.
        ArgumentError: an argument has a value out of its range.
        SerializationError: something in `claims` cannot travel.
        MessageTooLargeError: `claims` are too large.

    Example:
        >>> token = issue_connect_token(
        ...     key=bytes(32), game="pong", server_addresses=[("203.0.113.5", 8080)], claims={"name": "Ann"}
        ... )
        >>> len(token)
        2048
    """
    if not isinstance(key, (bytes, bytearray)):
        raise ArgumentTypeError(f"key must be bytes, not {type(key).__name__}")
    if len(key) != KEY_BYTES:
        raise ArgumentError(f"key must have {KEY_BYTES} bytes, not {len(key)}")
    for name, seconds in (("expire_s", expire_s), ("timeout_s", timeout_s)):
        if not isinstance(seconds, int) or isinstance(seconds, bool):
            raise ArgumentTypeError(f"{name} must be an int, whole seconds, not {seconds!r}")
    if client_id is None:
        client_id = int.from_bytes(os.urandom(8), "little")
    elif not isinstance(client_id, int) or isinstance(client_id, bool):
        raise ArgumentTypeError(f"client_id must be an int, not {type(client_id).__name__}")
    if isinstance(server_addresses, (str, bytes)) or not isinstance(server_addresses, Sequence):
        raise ArgumentTypeError(
            f"server_addresses must be a list of pairs (host, port), not {server_addresses!r}"
        )
    return generate_connect_token(
        private_key=bytes(key),
        protocol_id=protocol_id_of(game),
        client_id=client_id,
        server_addresses=server_addresses,
        user_data=encode_user_data(Identity(claims=encode_claims(claims, Config()))),
        unix_time=int(time.time()),
        expire_seconds=expire_s,
        timeout_seconds=timeout_s,
        entropy=os.urandom,
    ).to_bytes()
