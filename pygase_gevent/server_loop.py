"""One run of a server: what lives in its hub from binding the socket to closing it."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from gevent import killall, wait

from pygase_gevent.clients import Client, Clients
from pygase_gevent.config import Config
from pygase_gevent.connection import Disconnect
from pygase_gevent.deadlines import NEVER, Deadlines
from pygase_gevent.errors import ConnectionClosedError, NotRunningError, QueueFullError
from pygase_gevent.exchange import EventWire
from pygase_gevent.gamestate import GameStateStore
from pygase_gevent.hub.environment import Environment
from pygase_gevent.network_loop import NetworkLoop
from pygase_gevent.protocol.address import Address, OpaqueAddress
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.protocol.server_core import ServerCore
from pygase_gevent.protocol.server_peer import (
    PeerDropped,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    ServerPeer,
    ShutdownRequested,
)
from pygase_gevent.protocol.session import MessageAcked
from pygase_gevent.protocol.stateencoder import StateEncoder
from pygase_gevent.pusher import StatePusher

logger = logging.getLogger("pygase_gevent.server")

_STOP_ANNOUNCEMENTS: Final = 3
_STOP_ANNOUNCEMENT_S: Final = 0.02
_LEAVING_S: Final = 0.1
"""How often it is looked whether those who left are through with their handlers."""


@dataclass
class ServerHooks:
    """Who is told what happens to a server and its sessions.

    Attributes:
        on_start: called in the server's hub once the socket is bound, with what to spawn greenlets from.
        on_join, on_drop, on_reconnect, on_leave: called with the client's address, where its handlers
            run. One that returns `False` had no room for the news, and is asked again.
    """

    on_start: Callable[[Environment], object] | None = None
    on_join: Callable[[Address], object] | None = None
    on_drop: Callable[[Address], object] | None = None
    on_reconnect: Callable[[Address], object] | None = None
    on_leave: Callable[[Address], object] | None = None


class ServerLoop(NetworkLoop):
    """The server's hub side.

    Args:
        environment: clock, timers, sockets and greenlets.
        config: limits.
        core: the protocol; outlasts this run.
        clients: who is there; outlast this run.
        hooks: told about sessions.
        store: the state.
        encoder: its encoder; outlasts this run.
        event_wire: what events are repeated to.
    """

    def __init__(
        self,
        environment: Environment,
        config: Config,
        *,
        core: ServerCore,
        clients: Clients,
        hooks: ServerHooks,
        store: GameStateStore,
        encoder: StateEncoder,
        event_wire: EventWire | None,
    ) -> None:
        super().__init__(environment, config)
        self._core = core
        self._clients = clients
        self._hooks = hooks
        self._event_wire = event_wire
        self._touched: dict[Client, None] = {}
        self._woken: dict[Client, None] = {}
        self._deadlines = Deadlines(environment.timer(self._deadline_reached))
        self._leaving: list[Client] = []
        self._leaving_timer = environment.timer(self._forget_idle)
        self._pusher = StatePusher(environment, config, store, encoder, self.wake)

    # --- life -----------------------------------------------------------------------------------

    def start(self, bind: Address) -> Address:
        """Bind the socket and begin to serve; the address bound. Raises `OSError`."""
        socket = self.environment.open_udp(bind=bind, config=self.config)
        now = self.environment.now()
        self._core.start(socket.address, now)
        self._clients.wake = self._wake_client
        self._clients.close_slow = self._close_slow
        for client in self._clients.by_name.values():
            self._begin(client)
        self.use_socket(socket)
        self.request_turn()
        return socket.address

    def finish(self) -> None:
        """Tell everybody, stop what is at work, close. Sessions stay."""
        self._clients.wake = self._clients.close_slow = None
        # Who resumes at once must not begin a handshake that this run cannot end: his ticket would be spent.
        self.stop_receiving()
        try:
            for _ in range(_STOP_ANNOUNCEMENTS):
                if not self._core.announce_stop(self.environment.now()):
                    break
                self.send(self._core.datagrams_to_send())
                self.environment.sleep(_STOP_ANNOUNCEMENT_S)
        finally:
            self._core.stop(self.environment.now())
            at_work: list[Any] = []
            for client in [*self._clients.by_name.values(), *self._leaving]:
                at_work += client.exchange.stop()
                client.deadline = NEVER
            self.runners.close()
            self.close()
            if at_work:
                wait(at_work, timeout=self.config.handler_grace_s)
                killall(at_work, block=False)
                wait(at_work, timeout=self.config.handler_grace_s)

    def close(self) -> None:
        self._pusher.close()
        self._leaving_timer.close()
        self._deadlines.close()
        super().close()

    def say_goodbye(self) -> None:
        """The interpreter ends while this runs: the least that has to be done, without waiting."""
        self._core.announce_stop(self.environment.now())
        self.send(self._core.datagrams_to_send())

    # --- commands, in the hub's thread ----------------------------------------------------------

    def kick(self, client: Client, reason: DisconnectReason, text: str) -> None:
        """End a client's session."""
        now = self.environment.now()
        client.exchange.outbox.move_to_session()
        self._core.close_peer(client.peer, reason, text, now)
        self._take_core_events(now)
        self.request_turn()

    # --- what NetworkLoop asks for ---------------------------------------------------------------

    def receive_datagram(self, data: bytes, address: OpaqueAddress, now: float, unix_time: int) -> None:
        self._core.receive_datagram(data, address, now, unix_time)

    def take_arrivals(self, now: float) -> None:
        touched = self._touched
        self._take_core_events(now)
        for peer in self._core.take_ready():
            client = peer.user
            if isinstance(client, Client):
                if peer.events:
                    self._take_session_events(client)
                client.exchange.take_arrivals()
                due = peer.session.due_after_receiving(now)
                if due <= now or client.has_outgoing:
                    touched[client] = None
                elif due < inf:
                    self._deadlines.enter(client, due)

    def next_core_timer(self) -> float | None:
        return self._core.next_timer()

    def handle_core_timer(self, now: float, unix_time: int) -> None:
        self._core.handle_timer(now, unix_time)

    def send_due(self, now: float) -> list[tuple[bytes, Address]]:
        touched, woken = self._touched, self._woken
        while woken:
            client = woken.popitem()[0]
            client.exchange.take_arrivals()
            touched[client] = None
        if self._handle_deadlines(now):
            self.take_arrivals(now)
        self._touched = {}
        flushed = self._sweep(touched, now) if self._pusher.begin_sweep() else 0
        for client in touched:
            flushed = self._flush_in_slice(client, now, flushed, True)
        if flushed:
            self._take_core_events(now)
        if not self.is_behind:
            self._deadlines.set_timer(now)
        return self._core.datagrams_to_send()

    # --- inside ---------------------------------------------------------------------------------

    def _handle_deadlines(self, now: float) -> bool:
        """Let time pass for the sessions whose time has come; whether there were any.

        While datagrams wait their answers may be among them, and the states of the next step take
        acknowledgements along: then it comes a little later.
        """
        is_any = False
        patience_s = self.config.catch_up_s if self.is_behind else 0.0
        for client in self._deadlines.take_due(now - patience_s):
            peer = client.peer
            due = peer.session.next_timer()
            if due is None or peer.disconnect_reason is not None:
                continue
            if due > now:  # it has moved on since
                self._deadlines.enter(client, due)
                continue
            is_any = True
            self._touched[client] = None
            try:
                client.move_outgoing()
                self._core.handle_peer_timer(peer, now)
            except Exception:
                logger.exception("a timer of client %s failed; this is a bug in pygase_gevent", peer.name)
        return is_any

    def _sweep(self, touched: dict[Client, None], now: float) -> int:
        """Send the newest state to all who are due, and take them out of `touched`; how many were flushed."""
        flushed = 0
        is_whole = False
        try:
            for client in self._clients.by_name.values():
                if self._pusher.sweep(client, now):
                    is_touched = touched.pop(client, False) is None
                    flushed = self._flush_in_slice(client, now, flushed, is_touched)
            is_whole = True
        except Exception:
            logger.exception("a state could not be sent to all; this is a bug in pygase_gevent")
        self._pusher.end_sweep(now, is_whole=is_whole)
        return flushed

    def _flush_in_slice(self, client: Client, now: float, flushed: int, is_touched: bool) -> int:
        """Flush a client; after each slice of them send it and take what arrived. How many were flushed."""
        self._flush(client, now, is_touched)
        flushed += 1
        if flushed % self.config.send_slice == 0:
            self.send(self._core.datagrams_to_send())
            self.make_room()
        return flushed

    def _flush(self, client: Client, now: float, is_touched: bool) -> None:
        """Let leave what may.

        Args:
            client: whose it is.
            now: the time.
            is_touched: whether it has deadlines that were not entered, or not all of them.
        """
        try:
            client.move_outgoing()
            self._core.flush(client.peer, now)
            if client.peer.events:
                self._take_session_events(client)
            session = client.peer.session
            if not is_touched and self._deadlines.is_looked_at(client, session.undisturbed_until):
                return  # and its deadlines are seen then
            due = session.next_timer()
            if due is not None and client.peer.disconnect_reason is None:
                self._deadlines.enter(client, due)
        except Exception:
            logger.exception("sending to client %s failed; this is a bug in pygase_gevent", client.peer.name)

    def _wake_client(self, client: Client) -> None:
        """Any thread: there is something to send to this client, or room for more of its messages."""
        self._woken[client] = None
        self.wake()

    def _close_slow(self, client: Client) -> None:
        """Any thread: this client's queue has been full for so long that it holds up the others."""
        with suppress(NotRunningError, QueueFullError):
            self.bridge.run_soon(self._kick_slow, client)

    def _kick_slow(self, client: Client) -> None:
        if client.peer.disconnect_reason is None:
            logger.warning("client %s is too slow: its queue is full, and stays so", client.peer.name)
            self.kick(client, DisconnectReason.KICKED, "too slow")

    def _begin(self, client: Client) -> None:
        client.deadline = NEVER
        client.has_outgoing = True
        client.exchange.use_wire(self._event_wire)
        client.exchange.watch(self.watchdog)
        client.exchange.start(self.environment, self.runners)
        self._touched[client] = None

    def _deadline_reached(self) -> None:
        self._deadlines.reached()
        self.request_turn()

    def _take_session_events(self, client: Client) -> None:
        while (event := client.peer.next_event()) is not None:
            if isinstance(event, MessageAcked):
                client.exchange.message_acked(event.token, client.connection)

    def _take_core_events(self, now: float) -> None:
        while (event := self._core.next_event()) is not None:
            match event:
                case PeerJoined(peer):
                    self._joined(peer, now)
                case PeerResumed(peer):
                    logger.info("client %s resumed its session from %s", peer.name, peer.remote_address)
                    self._resumed(peer.user, now)
                case PeerDropped(peer):
                    logger.info("client %s dropped", peer.name)
                    self._tell(peer.user, "on_drop", self._hooks.on_drop)
                case PeerLeft(peer):
                    self._left(peer.user)
                case ShutdownRequested(peer):
                    self._shutdown_requested(peer)

    def _joined(self, peer: ServerPeer, now: float) -> None:
        client = self._clients.add(peer)
        logger.info("client %s joined", peer.name)
        self._begin(client)
        client.exchange.bind(peer.session)
        self._tell(client, "on_join", self._hooks.on_join)
        self._pusher.push(client, now)

    def _resumed(self, client: Client, now: float) -> None:
        self._tell(client, "on_reconnect", self._hooks.on_reconnect)
        self._pusher.push(client, now)
        self._touched[client] = None

    def _left(self, client: Client) -> None:
        peer = client.peer
        reason = Disconnect(peer.disconnect_reason or DisconnectReason.GOODBYE, peer.disconnect_text)
        logger.info("client %s left: %s", peer.name, reason)
        self._clients.remove(client)
        self._tell(client, "on_leave", self._hooks.on_leave)
        client.exchange.end(ConnectionClosedError(f"client {peer.name} left: {reason}", reason.reason))
        client.deadline = NEVER
        self._touched.pop(client, None)
        self._leaving.append(client)
        if not self._leaving_timer.active:
            self._leaving_timer.start(_LEAVING_S)

    def _forget_idle(self) -> None:
        """Whose handlers have all run is gone."""
        self._leaving = [client for client in self._leaving if not client.exchange.is_idle]
        if self._leaving:
            self._leaving_timer.start(_LEAVING_S)

    def _tell(self, client: Client, what: str, hook: Callable[[Address], object] | None) -> None:
        if hook is not None:
            client.exchange.push_news(f"{what} hook", hook, client.peer.name)

    def _shutdown_requested(self, peer: ServerPeer) -> None:
        if peer.name == self._clients.host:
            logger.info("shutting down, as the host %s asks", peer.name)
            self.request_stop()
        else:
            logger.info("client %s asked for a shutdown, but is not the host", peer.name)


def warn_of_open_mode(address: Address) -> None:
    """Say what a server without a key does and does not protect, unless only this machine can reach it."""
    if not ipaddress.ip_address(address[0]).is_loopback:
        logger.warning(
            "server on %s port %s runs in open mode, without a key: everyone who can reach it may join, "
            "and who reads the traffic from its start can decrypt it. Spoofed, damaged and replayed "
            "packets are refused all the same. For the internet, give Server and Client a key, or issue "
            "connect tokens",
            *address,
        )


def address_to_bind(addresses: Sequence[Address], hostname: str) -> Address:
    """The first IPv4 address of a name, if it has one."""
    if not addresses:
        raise OSError(f"cannot listen on {hostname!r}: the name has no address")
    return next((address for address in addresses if ":" not in address[0]), addresses[0])
