"""What a user of the library sees of a connection.

Both classes are windows: they hold nothing that the network needs, and may be read from any thread
at any time, also after the connection is over.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.client_core import ClientCore
from pygase_gevent.protocol.client_events import ClientPhase
from pygase_gevent.protocol.identity import NO_SESSION
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.protocol.server_peer import ServerPeer
from pygase_gevent.protocol.session import Session


class ConnectionStatus(enum.IntEnum):
    """Whether a connection stands. PyGaSe's labels work too: `ConnectionStatus.get("Connected")`."""

    DISCONNECTED = 0
    CONNECTING = 1
    CONNECTED = 2

    @overload
    @classmethod
    def get(cls, name_or_value: str) -> ConnectionStatus: ...
    @overload
    @classmethod
    def get(cls, name_or_value: int) -> str: ...
    @classmethod
    def get(cls, name_or_value: str | int) -> ConnectionStatus | str:
        """The status of a label (`"Connected"`), or the label of a status.

        Raises:
            ArgumentTypeError: neither a `str` nor an `int`.
            ArgumentError: no such label or value.
        """
        if not isinstance(name_or_value, (str, int)):
            raise ArgumentTypeError(
                f"a status has a label (str) or a value (int), not a {type(name_or_value).__name__}"
            )
        try:
            if isinstance(name_or_value, str):
                return cls[name_or_value.upper()]
            return cls(name_or_value).name.capitalize()
        except (KeyError, ValueError):
            raise ArgumentError(f"no connection status {name_or_value!r}") from None


class Disconnect(NamedTuple):
    """Why a connection ended.

    Attributes:
        reason: the value to compare with.
        text: what the side that ended it said; may be empty.
    """

    reason: DisconnectReason
    text: str

    def __str__(self) -> str:
        label = self.reason.name.lower().replace("_", " ")
        return f"{label}: {self.text}" if self.text else label


class HandlerCounters:
    """What became of the events and calls that a connection received."""

    __slots__ = ("_drops", "blocked", "calls_handled", "events_handled", "handler_errors", "unhandled")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from zero: another connection begins."""
        self.events_handled = 0
        self.calls_handled = 0
        self.handler_errors = 0
        self.unhandled = 0
        self.blocked: Counter[str] = Counter()
        self._drops: Counter[str] | None = None

    @property
    def drops(self) -> Counter[str]:
        """Messages that nobody got, by reason; to count in. Nearly always there are none."""
        drops = self._drops
        if drops is None:
            drops = self._drops = Counter()
        return drops

    def copy_drops(self) -> Counter[str]:
        """The same for a reader in any thread."""
        return Counter(self._drops)

    def drop(self, reason: str) -> None:
        """Count a message that nobody gets."""
        self.drops[reason] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStats:
    """Counters of one connection, as they were when they were asked for.

    Attributes:
        packets_sent, packets_received: netcode payloads.
        bytes_sent, bytes_received: bytes of them.
        packets_lost: sent ones that counted as lost.
        loss: share of sent packets lost lately, 0 to 1.
        round_trip_s: smoothed round trip, seconds.
        jitter_s: mean deviation of the round trip, seconds.
        resends: messages, and fragments of large ones, sent again after a loss or a timeout.
        events_handled, calls_handled: what handlers here were run for.
        handler_errors: how many of those raised.
        unhandled: events and calls that no handler was registered for.
        blocked: how often each handler held the hub for longer than `Config.blocked_hub_s`.
        drops: what arrived and was dropped, by reason.
    """

    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    packets_lost: int
    loss: float
    round_trip_s: float
    jitter_s: float
    resends: int
    events_handled: int
    calls_handled: int
    handler_errors: int
    unhandled: int
    blocked: Counter[str]
    drops: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """Counters of a server since it was made; each connection has its own `stats`.

    Attributes:
        joined, dropped, resumed, left: sessions.
        blocked: how often each handler held the server's hub for longer than `Config.blocked_hub_s`.
        drops: datagrams that never reached a session, by reason.
    """

    joined: int
    dropped: int
    resumed: int
    left: int
    blocked: Counter[str]
    drops: Counter[str]


class _Connection:
    """What both sides' windows share."""

    __slots__ = ("__weakref__", "_config", "_counters")

    def __init__(self, config: Config, counters: HandlerCounters) -> None:
        self._config = config
        self._counters = counters

    @property
    def _session(self) -> Session:
        raise NotImplementedError

    @property
    def latency(self) -> float:
        """Smoothed round trip, seconds."""
        return self._session.latency

    @property
    def quality(self) -> str:
        """`'good'`, or `'bad'` above `Config.bad_latency_s` of latency or `Config.bad_loss` of loss."""
        return "bad" if self._session.is_bad else "good"

    @property
    def stats(self) -> ConnectionStats:
        """Packets and bytes each way, loss, jitter, resends, handlers' errors, drops by reason."""
        session, counters = self._session, self._counters
        stats = session.stats
        drops = stats.copy_drops() + counters.copy_drops() + self._datagram_drops
        return ConnectionStats(
            packets_sent=stats.packets_sent,
            packets_received=stats.packets_received,
            bytes_sent=stats.bytes_sent,
            bytes_received=stats.bytes_received,
            packets_lost=stats.packets_lost,
            loss=session.loss,
            round_trip_s=session.latency,
            jitter_s=session.jitter,
            resends=stats.messages_resent + stats.fragments_resent,
            events_handled=counters.events_handled,
            calls_handled=counters.calls_handled,
            handler_errors=counters.handler_errors,
            unhandled=counters.unhandled,
            blocked=Counter(counters.blocked),
            drops=drops,
        )

    @property
    def _datagram_drops(self) -> Counter[str]:
        """What was dropped before it reached a session; a server counts that for all clients together."""
        return Counter()


class ServerConnection(_Connection):
    """A client as the server sees it: one session, from joining to leaving."""

    __slots__ = ("_peer",)

    def __init__(self, peer: ServerPeer, config: Config, counters: HandlerCounters) -> None:
        super().__init__(config, counters)
        self._peer = peer

    def __repr__(self) -> str:
        return f"<ServerConnection {self.client_address} {self.status.name}>"

    @property
    def _session(self) -> Session:
        return self._peer.session

    @property
    def client_address(self) -> Address:
        """The session's name for life: where the client first connected from."""
        return self._peer.name

    @property
    def remote_address(self) -> Address:
        """Where the client is now, or was last."""
        return self._peer.remote_address

    @property
    def status(self) -> ConnectionStatus:
        """`CONNECTED`, or `DISCONNECTED`: for now, until `disconnect_reason` says for good."""
        return ConnectionStatus.CONNECTED if self._peer.is_connected else ConnectionStatus.DISCONNECTED

    @property
    def session_id(self) -> bytes:
        """16 bytes, unique for ever."""
        return self._peer.session_id

    @property
    def claims(self) -> dict[str, Any]:
        """What the client's connect token said of it."""
        return dict(self._peer.claims)

    @property
    def disconnect_reason(self) -> Disconnect | None:
        """Why the session ended; `None` while it lives."""
        reason = self._peer.disconnect_reason
        return None if reason is None else Disconnect(reason, self._peer.disconnect_text)


class ClientConnection(_Connection):
    """The server as a client sees it: from `connect` to the end, over as many sessions as it takes.

    Args:
        core: what it is a window to; `None` before the first `connect`.
    """

    __slots__ = ("_core", "_failure", "_idle_session")

    def __init__(self, core: ClientCore | None, config: Config, counters: HandlerCounters) -> None:
        super().__init__(config, counters)
        self._core = core
        self._idle_session = Session(config=config, is_server=False, now=0.0)
        self._failure: Disconnect | None = None

    def __repr__(self) -> str:
        return f"<ClientConnection to {self.remote_address} {self.status.name}>"

    @property
    def _session(self) -> Session:
        return self._idle_session if self._core is None else self._core.session

    @property
    def remote_address(self) -> Address | None:
        """The server's address: the one that is dialled, or was last."""
        return None if self._core is None else self._core.server_address

    @property
    def _datagram_drops(self) -> Counter[str]:
        return Counter() if self._core is None else self._core.netcode_drops

    @property
    def status(self) -> ConnectionStatus:
        """`CONNECTING` from `connect` on and while a lost connection is being resumed."""
        if self._core is None or self._failure is not None:
            return ConnectionStatus.DISCONNECTED
        phase = self._core.phase
        if phase is ClientPhase.CONNECTED:
            return ConnectionStatus.CONNECTED
        if phase in (ClientPhase.CLOSING, ClientPhase.CLOSED):
            return ConnectionStatus.DISCONNECTED
        return ConnectionStatus.CONNECTING

    @property
    def session_id(self) -> bytes | None:
        """16 bytes, the same on both sides; changes when a new session had to be begun."""
        if self._core is None or self._core.session_id == NO_SESSION:
            return None
        return self._core.session_id

    @property
    def claims(self) -> dict[str, Any]:
        """What the connect token said of this client."""
        return {} if self._core is None else dict(self._core.claims)

    @property
    def disconnect_reason(self) -> Disconnect | None:
        """Why it ended; `None` while it lives or tries to."""
        if self._failure is not None:
            return self._failure
        if self._core is None or self._core.disconnect_reason is None:
            return None
        return Disconnect(self._core.disconnect_reason, self._core.disconnect_text)

    def fail(self, disconnect: Disconnect) -> None:
        """It ended before there was a connection to end: no address, no socket. For `Client`."""
        self._failure = disconnect
