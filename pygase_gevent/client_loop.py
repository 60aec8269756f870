"""One run of a client: what lives in its hub from opening the socket to closing it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.connection import ClientConnection, Disconnect
from pygase_gevent.errors import (
    ConnectError,
    ConnectionClosedError,
    ConnectionLostError,
    NoAnswerError,
    ServerFullError,
    WaitTimeoutError,
)
from pygase_gevent.exchange import Exchange
from pygase_gevent.hub.environment import Environment
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.mirror import StateMirror
from pygase_gevent.network_loop import NetworkLoop
from pygase_gevent.protocol.address import Address, OpaqueAddress
from pygase_gevent.protocol.client_core import ClientCore
from pygase_gevent.protocol.client_events import ClientPhase, Closed, Connected, Dropped, Resumed
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.protocol.session import MessageAcked, StateReceived

logger = logging.getLogger("pygase_gevent.client")

_GOODBYE_MARGIN_S: Final = 0.1
"""Beyond the linger, before a client that says goodbye stops waiting for itself."""

Tell = Callable[..., None]


class ClientLoop(NetworkLoop):
    """The client's hub side.

    Args:
        environment: clock, timers, sockets and greenlets.
        config: limits.
        core: the protocol.
        exchange: events, calls and handlers; outlasts this run.
        mirror: where received states go; outlasts this run.
        tell: `tell("on_connect")`: runs a hook of the application.
    """

    def __init__(
        self,
        environment: Environment,
        config: Config,
        *,
        core: ClientCore,
        exchange: Exchange,
        mirror: StateMirror,
        tell: Tell,
    ) -> None:
        super().__init__(environment, config)
        self.shutdown_server = False
        self._core = core
        self._exchange = exchange
        self._mirror = mirror
        self._tell = tell
        self._closed: Outcome[None] = Outcome()
        self._generation = -1
        self._is_ipv6 = False
        self._session_id = core.session_id

    # --- life -----------------------------------------------------------------------------------

    def start(self, addresses: Sequence[Address], token: bytes | None) -> None:
        """Begin to connect."""
        environment = self.environment
        self._exchange.watch(self.watchdog)
        self._exchange.start(environment, self.runners)
        self._core.connect(addresses, token, environment.now(), environment.unix_time())
        self._follow_socket()
        self.request_turn()

    def serve(self) -> None:
        """Until the connection is over, or somebody wants it to be; then say goodbye, and close."""
        try:
            self.stop_requested.wait()
            if not self._closed.is_done:
                self._core.disconnect(self.environment.now(), shutdown_server=self.shutdown_server)
                self._take_core_events()
                self.request_turn()
                with suppress(WaitTimeoutError):
                    self._closed.wait(self.config.close_linger_s + _GOODBYE_MARGIN_S)
        finally:
            self._finish()

    def say_goodbye(self) -> None:
        """The interpreter ends while this runs: the least that has to be done, without waiting."""
        self._core.disconnect(self.environment.now(), shutdown_server=self.shutdown_server)
        self.send(self._core.datagrams_to_send())

    # --- what NetworkLoop asks for ---------------------------------------------------------------

    def receive_datagram(self, data: bytes, address: OpaqueAddress, now: float, unix_time: int) -> None:
        self._core.receive_datagram(data, address, now, unix_time)

    def take_arrivals(self, now: float) -> None:
        self._take_core_events()
        self._exchange.take_arrivals()

    def next_core_timer(self) -> float | None:
        return self._core.next_timer()

    def handle_core_timer(self, now: float, unix_time: int) -> None:
        self._exchange.outbox.move_to_session()
        self._core.handle_timer(now, unix_time)

    def send_due(self, now: float) -> list[tuple[bytes, Address]]:
        self._exchange.outbox.move_to_session()
        self._exchange.take_arrivals()
        self._core.flush(now)
        self._take_core_events()
        self._follow_socket()
        return self._core.datagrams_to_send()

    # --- inside ---------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._core.phase is not ClientPhase.CLOSED:  # this greenlet is being killed, say
            self._core.disconnect(self.environment.now())
        self.send(self._core.datagrams_to_send())
        self.close()
        self._exchange.finish(self.environment, self.config.handler_grace_s)

    def _follow_socket(self) -> None:
        """A resume comes from a fresh port; another address may be of another family."""
        core = self._core
        server = core.server_address
        if server is None or core.phase is ClientPhase.CLOSED:
            return
        is_ipv6 = ":" in server[0]
        if core.socket_generation == self._generation and is_ipv6 == self._is_ipv6:
            return
        self._generation, self._is_ipv6 = core.socket_generation, is_ipv6
        bind = ("::" if is_ipv6 else "0.0.0.0", 0)
        try:
            self.use_socket(self.environment.open_udp(bind=bind, config=self.config))
        except OSError as error:
            if self.socket is None:
                raise
            logger.warning("no new socket to reach %s with: %s", server, error)

    def _take_core_events(self) -> None:
        while (event := self._core.next_event()) is not None:
            match event:
                case StateReceived(state, server_time):
                    self._mirror.take(state, server_time)
                case MessageAcked(token):
                    self._exchange.message_acked(token)
                case Connected(_, discarded):
                    self._connected(discarded)
                case Dropped():
                    logger.info("connection to %s lost, resuming", self._core.server_address)
                    self._tell("on_drop")
                case Resumed():
                    logger.info("session with %s resumed", self._core.server_address)
                    self._tell("on_resume")
                case Closed():
                    self._connection_closed()
                case _:
                    continue
            if not isinstance(event, MessageAcked):
                self._mirror.changed.notify()

    def _connected(self, discarded: int) -> None:
        logger.info("connected to %s", self._core.server_address)
        if discarded:
            self._exchange.counters.drops["session_replaced"] = discarded
            logger.warning("the server is a new one: %s pending events were discarded", discarded)
        self._exchange.bind(self._core.session)
        # What was dispatched before there was a connection has waited long enough already.
        self._exchange.outbox.move_to_session(self.environment.now())
        self._tell("on_connect")

    def _connection_closed(self) -> None:
        disconnect = Disconnect(
            self._core.disconnect_reason or DisconnectReason.GOODBYE, self._core.disconnect_text
        )
        logger.info("connection to %s over: %s", self._core.server_address, disconnect)
        self._tell("on_close", disconnect)
        self._exchange.end(error_of(disconnect))
        self._closed.set_result(None)
        self.request_stop()


def error_of(disconnect: Disconnect) -> ConnectError:
    """The error that says why a connection ended, or never stood."""
    reason, text = disconnect
    match reason:
        case DisconnectReason.SERVER_FULL:
            return ServerFullError("the server is full", reason)
        case DisconnectReason.NO_ANSWER:
            return NoAnswerError(text, reason)
        case DisconnectReason.TIMED_OUT | DisconnectReason.SHUTDOWN:
            return ConnectionLostError(f"the connection was lost and did not come back: {disconnect}", reason)
        case DisconnectReason.TOKEN_EXPIRED | DisconnectReason.INVALID_TOKEN:
            return ConnectError(str(disconnect), reason)
    return ConnectionClosedError(f"the connection was closed: {disconnect}", reason)


def error_of_waiting(connection: ClientConnection, timeout: float | None) -> ConnectError:
    """The error that says why a connection does not stand after `timeout` seconds."""
    disconnect = connection.disconnect_reason
    if disconnect is not None:
        return error_of(disconnect)
    where = "server" if connection.remote_address is None else f"server {connection.remote_address}"
    if connection.session_id is None:
        return NoAnswerError(
            f"no answer from the {where} within {timeout} s: wrong key, wrong game, no server, or a firewall",
            DisconnectReason.NO_ANSWER,
        )
    return ConnectionLostError(
        f"the connection to the {where} was lost and did not come back within {timeout} s",
        DisconnectReason.TIMED_OUT,
    )


def in_order_to_dial(addresses: list[Address]) -> list[Address]:
    """IPv4 first, which is what a server listens on unless told otherwise; of `localhost` only that."""
    addresses = sorted(addresses, key=lambda address: ":" in address[0])
    if ("127.0.0.1", addresses[0][1]) in addresses:
        return addresses[:1]
    return addresses
