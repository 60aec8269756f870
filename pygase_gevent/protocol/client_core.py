"""The client's side of everything, without I/O: one session, whatever connection carries it.

    IDLE --connect--> CONNECTING --welcome--> CONNECTED --silence or server shutdown--> RESUMING
                          |                      |  ^                                      |
                          |                      |  +--------------- welcome --------------+
                          v                      v                                         v
                        CLOSED <------------- CLOSING (saying goodbye)                   CLOSED

Each attempt at a connection is a `NetcodeClient` of its own with a token of its own: one that the
application gave, one that this side made itself (shared key, open mode), or a ticket that the
server issued over the session. A connection stands when the server's welcome arrived, not before:
only then is it known to which session its payloads belong.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final

from mypy_extensions import mypyc_attr

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, DecodeError
from pygase_gevent.protocol.address import Address, OpaqueAddress
from pygase_gevent.protocol.client_events import (
    ClientEvent,
    ClientPhase,
    Closed,
    Connected,
    Dropped,
    Resumed,
)
from pygase_gevent.protocol.frames import CLOSE_MAY_RESUME, CLOSE_SHUT_DOWN_SERVER, peek
from pygase_gevent.protocol.identity import (
    NO_SESSION,
    REVISION,
    Welcome,
    decode_claims,
    decode_welcome,
    session_id_of,
)
from pygase_gevent.protocol.netcode import (
    ClientState,
    NetcodeClient,
)
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.protocol.session import (
    CloseReceived,
    Session,
    TicketReceived,
    WelcomeReceived,
)
from pygase_gevent.protocol.token_source import TokenSource

RESUME_ATTEMPT_ROUND_TRIPS: Final = 2
"""A stage of the handshake takes one. The round trip is that of the connection which was lost."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientCore:
    """One client, without the socket.

    Args:
        config: limits.
        protocol_id: netcode's protocol id of the game.
        private_key: 32 bytes shared with the server, to make tokens by itself (zeros: open mode).
        entropy: `entropy(size)` gives that many random bytes.
        now: monotonic seconds.
    """

    def __init__(
        self,
        *,
        config: Config,
        protocol_id: int,
        private_key: bytes,
        entropy: Callable[[int], bytes],
        now: float,
    ) -> None:
        self._config = config
        self.phase = ClientPhase.IDLE
        self.session = self.new_session(now)
        self.session_id = NO_SESSION
        self.claims: dict[str, Any] = {}
        self.disconnect_reason: DisconnectReason | None = None
        self.disconnect_text = ""
        self.socket_generation = 0
        self.discarded_messages = 0
        self.drops: Counter[str] = Counter()
        self._past_drops: Counter[str] = Counter()
        self._tokens = TokenSource(
            config=config, protocol_id=protocol_id, private_key=private_key, entropy=entropy
        )
        self._addresses: tuple[Address, ...] = ()
        self._netcode: NetcodeClient | None = None
        self._attempt_until = 0.0
        self._round_trip_s = 0.0
        self._attempt_state = ClientState.DISCONNECTED
        self._give_up_at = 0.0
        self._timeout_s = config.timeout_s
        self._resume_window_s = config.resume_window_s
        self._close_at = 0.0
        self._next_close_at = 0.0
        self._now = now
        self._unix_time = 0
        self._lost_reason = (DisconnectReason.TIMED_OUT, "the server went silent")
        self._outgoing: list[tuple[bytes, Address]] = []
        self._events: deque[ClientEvent] = deque()

    # --- commands -------------------------------------------------------------------------------

    def connect(self, addresses: Sequence[Address], token: bytes | None, now: float, unix_time: int) -> None:
        """Begin to connect. Messages queued in `session` before are kept and go out when it stands.

        Args:
            addresses: where to dial, in turn; empty: the token's own list.
            token: a connect token of 2048 bytes, or `None` to make one.

        Raises:
            ArgumentError: the token is not one or has expired, or there is no address at all.
        """
        assert self.phase is ClientPhase.IDLE
        named = self._tokens.take(token, unix_time) if token is not None else ()
        if not addresses and not named:
            raise ArgumentError("an address to connect to is needed: give a port, or a connect token")
        addresses = addresses or named
        self._addresses = tuple(addresses)
        self.phase = ClientPhase.CONNECTING
        self._give_up_at = now + self._config.connect_window_s
        self._start_attempt(now, unix_time)

    def disconnect(self, now: float, *, shutdown_server: bool = False) -> None:
        """Say goodbye. `Closed` follows when the server confirms it, or after `close_linger_s`."""
        self._now = now
        if self.phase is not ClientPhase.CONNECTED:
            if self.phase not in (ClientPhase.CLOSING, ClientPhase.CLOSED):
                if self._netcode is not None:  # the server may have let it in already
                    self._netcode.disconnect(now)
                self._close(DisconnectReason.GOODBYE, "", by_peer=False)
            return
        self.phase = ClientPhase.CLOSING
        self.session.queue_close(
            DisconnectReason.GOODBYE, "", CLOSE_SHUT_DOWN_SERVER if shutdown_server else 0, now
        )
        self._close_at = now + self._config.close_linger_s
        self._next_close_at = now + self._config.close_linger_s / 3
        self.flush(now)

    def forget_keys(self) -> None:
        """Let go of every key, in the child of a fork: nothing of this can be used any more."""
        self._tokens.forget_keys()
        self._netcode = None
        self.phase = ClientPhase.CLOSED

    def flush(self, now: float) -> None:
        """Send what of the session may leave now."""
        self._now = now
        if self._netcode is not None and self.session.is_attached:
            self.session.send_payloads(now, self._send_payload)
            self._take_session_events(now)

    def next_event(self) -> ClientEvent | None:
        """What happened, in order: to the connection, and to messages and state of the session."""
        return self._events.popleft() if self._events else None

    def new_session(self, now: float) -> Session:
        """Make a session; a subclass may make one of its own kind."""
        return Session(config=self._config, is_server=False, now=now)

    @property
    def server_address(self) -> Address | None:
        """The server that is dialled, or was last."""
        if self._netcode is not None:
            return self._netcode.server_address
        return self._addresses[0] if self._addresses else None

    # --- datagrams ------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, address: OpaqueAddress, now: float, unix_time: int) -> None:
        """Take one datagram, whoever sent it. Never raises; drops are counted."""
        self._now = now
        self._unix_time = unix_time
        netcode = self._netcode
        if netcode is None:
            self.drops["no_connection"] += 1
            return
        received = netcode.receive_datagram(data, address, now)
        if received is not None:
            sequence, payload = received
            if self.session.is_attached or self._take_first_word(payload, now):
                self.session.receive_payload(sequence, payload, now)
                self._take_session_events(now)
        elif netcode.state is not ClientState.CONNECTED or not self.session.is_attached:
            self._follow_netcode(now, unix_time)

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Drain what is to be sent."""
        if self._netcode is not None:
            self._outgoing.extend(self._netcode.datagrams_to_send())
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    @property
    def netcode_drops(self) -> Counter[str]:
        """Datagrams dropped before they reached the session, by reason."""
        drops = Counter(self.drops) + Counter(self._past_drops)
        return drops if self._netcode is None else drops + Counter(self._netcode.drops)

    # --- time -----------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        if self.phase in (ClientPhase.IDLE, ClientPhase.CLOSED):
            return None
        if self.phase is ClientPhase.CLOSING:
            return min(self._close_at, self._next_close_at)
        netcode = self._netcode
        assert netcode is not None
        due = netcode.next_timer()
        limit = self._silence_deadline() if self.session.is_attached else self._attempt_until
        due = limit if due is None else min(due, limit)
        if self.session.is_attached and (session_due := self.session.next_timer()) is not None:
            due = min(due, session_due)
        return due

    def handle_timer(self, now: float, unix_time: int) -> None:
        """Handshake resends, silence, attempts that failed, the session's own timers."""
        self._now = now
        self._unix_time = unix_time
        if self.phase in (ClientPhase.IDLE, ClientPhase.CLOSED):
            return
        if self.phase is ClientPhase.CLOSING:
            self._say_goodbye(now)
            return
        if self.session.is_attached and now >= self._silence_deadline():
            self._start_resume(now, unix_time, self._last_heard() + self._timeout_s + self._resume_window_s)
            return
        assert self._netcode is not None
        self._netcode.handle_timer(now)
        if self.session.is_attached:
            self.session.handle_timer(now)
            self._take_session_events(now)
            self.flush(now)
        self._follow_netcode(now, unix_time)

    # --- inside: attempts -----------------------------------------------------------------------

    def _start_attempt(self, now: float, unix_time: int) -> None:
        if self._netcode is not None:
            self._outgoing.extend(self._netcode.datagrams_to_send())
            self._tokens.attempt_ended(self._netcode.next_sequence)
            self._past_drops.update(self._netcode.drops)
        token_and_sequence = self._tokens.next_token(self._addresses, unix_time)
        if token_and_sequence is None:
            text = "no ticket of the server is left to resume with; connect again with a new token"
            self._close(DisconnectReason.TIMED_OUT, text, by_peer=False)
            return
        token, sequence = token_and_sequence
        self._netcode = NetcodeClient(
            token, config=self._config, now=now, addresses=self._addresses, first_sequence=sequence
        )
        attempt_s = self._stage_s()
        if len(self._addresses) > 1:  # netcode goes from one to the next by the token's timeout
            attempt_s = max(attempt_s, token.timeout_seconds) * len(self._addresses)
        self._attempt_until = min(now + attempt_s, self._give_up_at)
        self._attempt_state = self._netcode.state
        self._follow_netcode(now, unix_time)

    def _stage_s(self) -> float:
        """How long a stage of the handshake may stand still before another attempt begins."""
        config = self._config
        if self.phase is not ClientPhase.RESUMING or not self._tokens.has_untried_ticket:
            return config.handshake_attempt_s  # nothing better to try; and the line may have become slow
        stage_s = max(config.resume_attempt_s, RESUME_ATTEMPT_ROUND_TRIPS * self._round_trip_s)
        return min(stage_s, config.handshake_attempt_s)

    def _follow_netcode(self, now: float, unix_time: int) -> None:
        """See where the handshake stands, and what follows from its end."""
        netcode = self._netcode
        if netcode is None or self.phase is ClientPhase.CLOSED:
            return
        state = netcode.state
        if state > self._attempt_state:
            # It moves on, and the server may keep this address for it: another one would be refused.
            moved_until = min(now + self._stage_s(), self._give_up_at)
            self._attempt_until = max(self._attempt_until, moved_until)
        self._attempt_state = state
        if state is ClientState.CONNECTED:
            self._tokens.connection_stood()
            if self.session.is_attached or now < self._attempt_until:
                return
            if self.phase is ClientPhase.CONNECTING:  # a connection without a welcome is of no use
                netcode.disconnect(now)
        elif state > 0:
            if now < self._attempt_until:
                return
        elif state is ClientState.CONNECTION_DENIED:
            self._close(DisconnectReason.SERVER_FULL, "the server is full", by_peer=True)
            return
        elif state is ClientState.CONNECT_TOKEN_EXPIRED:
            text = "the connect token expired before the connection stood"
            self._close(DisconnectReason.TOKEN_EXPIRED, text, by_peer=False)
            return
        elif state is ClientState.INVALID_CONNECT_TOKEN:
            self._close(DisconnectReason.INVALID_TOKEN, "the connect token is invalid", by_peer=False)
            return
        elif state is ClientState.DISCONNECTED and self.session.is_attached:
            self._close(DisconnectReason.GOODBYE, "", by_peer=self.phase is not ClientPhase.CLOSING)
            return
        elif state is ClientState.CONNECTION_TIMED_OUT and self.session.is_attached:
            self._start_resume(now, unix_time, self._last_heard() + self._timeout_s + self._resume_window_s)
            return
        self._attempt_failed(now, unix_time)

    def _attempt_failed(self, now: float, unix_time: int) -> None:
        if now >= self._give_up_at:
            if self.phase is ClientPhase.RESUMING:
                reason, text = self._lost_reason
                self._close(reason, text, by_peer=False)
            else:
                text = "no answer: wrong key, wrong game, no server, or a firewall"
                self._close(DisconnectReason.NO_ANSWER, text, by_peer=False)
            return
        if (
            self.phase is ClientPhase.RESUMING
            and self._attempt_state > ClientState.SENDING_CONNECTION_REQUEST
        ):
            # The server may hold a connection with this address, and would ignore requests from it.
            self.socket_generation += self._tokens.has_untried_ticket
        self._start_attempt(now, unix_time)

    def _start_resume(
        self,
        now: float,
        unix_time: int,
        give_up_at: float,
        lost_reason: tuple[DisconnectReason, str] = (DisconnectReason.TIMED_OUT, "the server went silent"),
    ) -> None:
        """Silence, or the server said that it may come back: go on over a fresh connection and port."""
        self._lost_reason = lost_reason
        self._round_trip_s = self.session.latency
        if self.session.is_attached:
            self.session.detach(now)
        self.phase = ClientPhase.RESUMING
        self._addresses = tuple(filter(None, (self.server_address,)))  # the session is known nowhere else
        self._give_up_at = give_up_at
        self._events.append(Dropped())
        if now >= give_up_at:  # this process was stopped, or the machine slept
            self._close(*lost_reason, by_peer=False)
            return
        self.socket_generation += 1
        self._start_attempt(now, unix_time)

    # --- inside: the first word of a connection -------------------------------------------------

    def _take_first_word(self, payload: bytes, now: float) -> bool:
        """Whether this payload carries the welcome, which attaches the session it names."""
        welcome_blob, close = peek(payload)
        if welcome_blob is None:
            if close is not None:
                code, text, _ = close
                self._close(DisconnectReason.from_code(code), text, by_peer=True)
            else:
                self.drops["before_welcome"] += 1
            return False
        try:
            welcome = decode_welcome(welcome_blob, config=self._config)
        except DecodeError:
            self.drops["bad_welcome"] += 1
            return False
        if welcome.revision != REVISION:
            text = f"the server speaks protocol revision {welcome.revision}, this client {REVISION}"
            self._close(DisconnectReason.PROTOCOL_MISMATCH, text, by_peer=False)
            return False
        self._apply_welcome(welcome, now)
        return True

    def _apply_welcome(self, welcome: Welcome, now: float) -> None:
        self._timeout_s = welcome.timeout_s
        self._resume_window_s = welcome.resume_window_s
        self.claims = decode_claims(welcome.claims, self._config)
        session_id = session_id_of(welcome.resume_secret)
        self.phase = ClientPhase.CONNECTED
        if welcome.resumed and session_id == self.session_id:
            self._events.append(Resumed())
        else:
            discarded = 0
            if self.session_id != NO_SESSION:  # another process: what was for the old one ends here
                discarded = self.session.discard(now)
                self._take_session_events(now)
                self.discarded_messages += discarded
                self._tokens.forget_tickets()
                self.session = self.new_session(now)
            self.session_id = session_id
            self._events.append(Connected(session_id, discarded))
        assert self._netcode is not None
        self._netcode.keepalive_interval_s = inf  # the session has its own
        self.session.attach(now)

    # --- inside: the session --------------------------------------------------------------------

    def _send_payload(self, payload: bytes) -> int:
        assert self._netcode is not None
        return self._netcode.send_payload(payload, self._now)

    def _take_session_events(self, now: float) -> None:
        while (event := self.session.next_event()) is not None:
            if isinstance(event, TicketReceived):
                self._tokens.add_ticket(event.blob)
            elif isinstance(event, CloseReceived):
                self._closed_by_server(event, now)
                return
            elif not isinstance(event, WelcomeReceived):
                self._events.append(event)

    def _closed_by_server(self, event: CloseReceived, now: float) -> None:
        if self.phase is ClientPhase.CLOSING:  # both leave at once
            self._close(DisconnectReason.GOODBYE, "", by_peer=False)
            return
        reason = DisconnectReason.from_code(event.code)
        if event.flags & CLOSE_MAY_RESUME and self.phase is ClientPhase.CONNECTED:
            self._start_resume(now, self._unix_time, now + self._resume_window_s, (reason, event.text))
        else:
            self._close(reason, event.text, by_peer=True)

    def _last_heard(self) -> float:
        assert self._netcode is not None
        return self._netcode.last_receive_time

    def _silence_deadline(self) -> float:
        return self._last_heard() + self._config.resume_after_s

    # --- inside: the end ------------------------------------------------------------------------

    def _say_goodbye(self, now: float) -> None:
        if now >= self._close_at:
            assert self._netcode is not None
            self._netcode.disconnect(now)
            self._close(DisconnectReason.GOODBYE, "", by_peer=False)
        elif now >= self._next_close_at:
            self._next_close_at = now + self._config.close_linger_s / 3
            self.flush(now)

    def _close(self, reason: DisconnectReason, text: str, *, by_peer: bool) -> None:
        if self.phase is ClientPhase.CLOSED:
            return
        self.phase = ClientPhase.CLOSED
        self.disconnect_reason = reason
        self.disconnect_text = text
        if self._netcode is not None:
            self._outgoing.extend(self._netcode.datagrams_to_send())
            self._netcode = None
        if self.session.is_attached:
            self.session.detach(self._now)
        self.discarded_messages += self.session.discard(self._now)
        self._events.append(Closed(reason, text, by_peer))
