"""Which connect token a client's next attempt uses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, DecodeError
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.identity import (
    NEVER_EXPIRES_S,
    TICKET_BYTES,
    Identity,
    decode_ticket,
    encode_user_data,
)
from pygase_gevent.protocol.netcode import ConnectToken, generate_connect_token

MAX_TICKETS: Final = 6
"""A server hands out `Config.resume_tickets`; a client keeps no more than this, the newest."""
MAX_DIALLED: Final = 32
"""Server addresses in a connect token (STANDARD.md, *Connect Token*)."""


@dataclass(slots=True, eq=False)
class _Ticket:
    """A ticket and the sequence that an attempt with it counts from."""

    blob: bytes
    next_sequence: int = 0


class TokenSource:
    """Tickets first, in turn; then the application's token; then one made here.

    Tickets not yet tried come first. A tried one may still be good, since the server may never have
    seen it; but it takes a token from one address only, so after a change of socket it may not.

    Args:
        config: limits.
        protocol_id: netcode's protocol id of the game.
        private_key: 32 bytes to make tokens with.
        entropy: `entropy(size)` gives that many random bytes.
    """

    def __init__(
        self, *, config: Config, protocol_id: int, private_key: bytes, entropy: Callable[[int], bytes]
    ) -> None:
        self._config = config
        self._protocol_id = protocol_id
        self._private_key = private_key
        self._entropy = entropy
        self._given: ConnectToken | None = None
        self._given_is_spent = False
        self._given_sequence = 0
        self._fresh: deque[_Ticket] = deque()
        self._tried: deque[_Ticket] = deque()
        self._ticket_in_use: _Ticket | None = None

    def take(self, token: bytes, unix_time: int) -> tuple[Address, ...]:
        """Use the application's token.

        Returns:
            The server addresses that it names.

        Raises:
            ArgumentError: it is not a token, is for another game, or has expired.
        """
        try:
            parsed = ConnectToken.from_bytes(token)
        except DecodeError as error:
            raise ArgumentError(f"token is not a netcode 1.02 connect token: {error}") from error
        if parsed.protocol_id != self._protocol_id:
            raise ArgumentError(
                "the connect token was issued for another game; issue it with the same `game` as the client's"
            )
        if parsed.expire_timestamp <= unix_time:
            raise ArgumentError("the connect token has expired; ask the issuer for a new one")
        self._given = parsed
        return parsed.server_addresses

    def add_ticket(self, blob: bytes) -> None:
        """A ticket arrived over the session; one of a wrong size is ignored."""
        if len(blob) != TICKET_BYTES:
            return
        self._fresh.append(_Ticket(blob))
        while len(self._fresh) + len(self._tried) > MAX_TICKETS:
            (self._tried or self._fresh).popleft()

    @property
    def has_untried_ticket(self) -> bool:
        """Whether the next token is a ticket that no address has used yet."""
        return bool(self._fresh)

    def attempt_ended(self, next_sequence: int) -> None:
        """The attempt with the last token is over; another with the same one counts on from here."""
        if self._ticket_in_use is not None:
            self._ticket_in_use.next_sequence = next_sequence
        else:
            self._given_sequence = next_sequence

    def connection_stood(self) -> None:
        """The token of the last attempt reached *connected*: it is never accepted again."""
        if self._ticket_in_use is not None:
            self._tried.remove(self._ticket_in_use)
            self._ticket_in_use = None
        elif self._given is not None:
            self._given_is_spent = True

    def forget_tickets(self) -> None:
        """They belong to a session that is over."""
        self._fresh.clear()
        self._tried.clear()
        self._ticket_in_use = None

    def forget_keys(self) -> None:
        """Every token, and what they are made with."""
        self.forget_tickets()
        self._given = None
        self._private_key = b""

    def next_token(self, addresses: tuple[Address, ...], unix_time: int) -> tuple[ConnectToken, int] | None:
        """The token of the next attempt, and the sequence to count from.

        No key may see a sequence twice, so a token that is tried again goes on where it was.

        Returns:
            `None` where the application's own token is spent and no ticket is left.
        """
        addresses = addresses[:MAX_DIALLED]
        self._ticket_in_use = None
        if self._fresh or self._tried:
            # The newest first: the server renews them, and the old ones expire.
            ticket = self._fresh.pop() if self._fresh else self._tried.popleft()
            self._tried.append(ticket)
            self._ticket_in_use = ticket
            token = decode_ticket(
                ticket.blob,
                protocol_id=self._protocol_id,
                server_addresses=addresses,
                unix_time=unix_time,
            )
            return token, ticket.next_sequence
        if self._given is not None:
            return None if self._given_is_spent else (self._given, self._given_sequence)
        return self._make_token(addresses, unix_time), 0

    def _make_token(self, addresses: tuple[Address, ...], unix_time: int) -> ConnectToken:
        return generate_connect_token(
            private_key=self._private_key,
            protocol_id=self._protocol_id,
            client_id=int.from_bytes(self._entropy(8), "little"),
            server_addresses=addresses,
            user_data=encode_user_data(Identity()),
            unix_time=unix_time,
            expire_seconds=NEVER_EXPIRES_S,
            timeout_seconds=max(1, round(self._config.handshake_attempt_s)),
            entropy=self._entropy,
        )
