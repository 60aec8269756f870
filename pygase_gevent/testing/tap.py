"""Cores and sessions as the product has them, with an ear on every payload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pygase_gevent.config import Config
from pygase_gevent.protocol.client_core import ClientCore
from pygase_gevent.protocol.identity import NO_SESSION
from pygase_gevent.protocol.server_core import ServerCore
from pygase_gevent.protocol.session import Session
from pygase_gevent.protocol.stats import DropReason
from pygase_gevent.testing.witness import Witnesses

_HARMLESS = frozenset({DropReason.DUPLICATE_MESSAGE, DropReason.STALE_MESSAGE, DropReason.BAD_STATE})
"""Something in the payload was of no use, and it is acknowledged all the same."""


class TappedSession(Session):
    """A session that tells witnesses of every payload.

    Attributes:
        owner: the `VirtualServer` or `VirtualClient` that it belongs to.
        is_server: which side it is.
        connection: how many connections it has had.
    """

    def __init__(
        self,
        witnesses: Witnesses,
        owner: Any,
        *,
        config: Config,
        is_server: bool,
        now: float,
        server_clock_us: Callable[[float], int] | None = None,
    ) -> None:
        super().__init__(config=config, is_server=is_server, now=now, server_clock_us=server_clock_us)
        self.owner = owner
        self.is_server = is_server
        self.connection = 0
        self._witnesses = witnesses
        self._known_id = NO_SESSION
        self._send_below: Callable[[bytes], int] | None = None

    @property
    def session_id(self) -> bytes:
        """Names the session on both sides; `NO_SESSION` while a client does not know it yet."""
        if self._known_id == NO_SESSION and not self.is_server and self.owner.core.session is self:
            self._known_id = self.owner.core.session_id
        return self._known_id

    @session_id.setter
    def session_id(self, session_id: bytes) -> None:
        self._known_id = session_id

    def attach(self, now: float) -> None:
        """As the session does."""
        super().attach(now)
        self.connection += 1
        self._witnesses.tell("session_attached", self)

    def receive_payload(self, sequence: int, payload: bytes, now: float) -> None:
        """As the session does."""
        drops = self.stats.drops
        before = _refusals(drops) if drops else 0
        super().receive_payload(sequence, payload, now)
        is_recorded = not drops or _refusals(drops) == before
        self._witnesses.tell("payload_received", self, sequence, payload, is_recorded)

    def send_payloads(self, now: float, send: Callable[[bytes], int]) -> int:
        """As the session does."""
        self._send_below = send
        return super().send_payloads(now, self._send_and_tell)

    def _send_and_tell(self, payload: bytes) -> int:
        assert self._send_below is not None
        sequence = self._send_below(payload)
        self._witnesses.tell("payload_sent", self, sequence, payload)
        return sequence


def _refusals(drops: dict[str, int]) -> int:
    return sum(count for reason, count in drops.items() if reason not in _HARMLESS)


class TappedServerCore(ServerCore):
    """A server core whose sessions are tapped."""

    def __init__(self, witnesses: Witnesses, owner: Any, *, config: Config, **arguments: Any) -> None:
        self._witnesses = witnesses
        self._owner = owner
        self._tapped_config = config
        super().__init__(config=config, **arguments)

    def new_session(self, now: float) -> Session:
        """A tapped one."""
        return TappedSession(
            self._witnesses,
            self._owner,
            config=self._tapped_config,
            is_server=True,
            now=now,
            server_clock_us=self.server_time_us,
        )


class TappedClientCore(ClientCore):
    """A client core whose sessions are tapped."""

    def __init__(self, witnesses: Witnesses, owner: Any, *, config: Config, **arguments: Any) -> None:
        self._witnesses = witnesses
        self._owner = owner
        self._tapped_config = config
        super().__init__(config=config, **arguments)

    def new_session(self, now: float) -> Session:
        """A tapped one."""
        return TappedSession(
            self._witnesses, self._owner, config=self._tapped_config, is_server=False, now=now
        )
