"""The server's side of everything, without I/O: many sessions behind one socket's datagrams.

netcode connections come and go; sessions outlive them. This file is where the two meet: it joins a
fresh connection to its session (new, or resumed by a ticket), notices silence, keeps a dropped
session's seat, and ends what must end. What happened comes out as events:

    joined -> (dropped -> resumed)* -> left          resumed may also come without dropped: the
                                                     client noticed the silence first

A session's own traffic is the `Session`'s business; this core only carries its payloads.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from mypy_extensions import mypyc_attr

from pygase_gevent.config import Config
from pygase_gevent.protocol.address import Address, OpaqueAddress
from pygase_gevent.protocol.closing import ClosingPeers
from pygase_gevent.protocol.frames import CLOSE_MAY_RESUME, CLOSE_SHUT_DOWN_SERVER
from pygase_gevent.protocol.identity import (
    INSTANCE_ID_BYTES,
    NEVER_EXPIRES_S,
    NO_SESSION,
    REVISION,
    SESSION_ID_BYTES,
    Identity,
    Welcome,
    decode_claims,
    decode_user_data,
    encode_ticket,
    encode_user_data,
    encode_welcome,
    session_id_of,
)
from pygase_gevent.protocol.netcode import (
    MAX_SERVER_ADDRESSES,
    NetcodePeer,
    NetcodeServer,
    PeerConnected,
    PeerDisconnectReason,
    PrivateToken,
    generate_connect_token,
)
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.protocol.server_peer import (
    CoreEvent,
    PeerDropped,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    ServerPeer,
    ShutdownRequested,
)
from pygase_gevent.protocol.session import CloseReceived, Session

SWEEP_S: Final = 0.1
"""How often silence, resume windows and closing sessions are looked at."""


@dataclass(slots=True)
class CoreStats:
    """Counters of the core itself; netcode and the sessions have their own."""

    joined: int = 0
    resumed: int = 0
    dropped: int = 0
    left: int = 0
    drops: Counter[str] = field(default_factory=Counter)


@mypyc_attr(allow_interpreted_subclasses=True)
class ServerCore:
    """Sessions of many clients over one UDP socket, without the socket.

    Args:
        config: limits.
        protocol_id: netcode's protocol id of the game.
        private_key: 32 bytes shared with whoever issues connect tokens.
        entropy: `entropy(size)` gives that many random bytes.
        now: monotonic seconds; the server's clock starts here.
        public_addresses: what connect tokens must name one of; empty: not checked.
    """

    def __init__(
        self,
        *,
        config: Config,
        protocol_id: int,
        private_key: bytes,
        entropy: Callable[[int], bytes],
        now: float,
        public_addresses: Sequence[Address] = (),
    ) -> None:
        self.sessions: dict[bytes, ServerPeer] = {}
        self.by_name: dict[Address, ServerPeer] = {}
        self.stats = CoreStats()
        self._config = config
        self._protocol_id = protocol_id
        self._private_key = private_key
        self._entropy = entropy
        self._epoch = now
        self._public_addresses = tuple(public_addresses)
        self._instance_id = entropy(INSTANCE_ID_BYTES)
        self._netcode = NetcodeServer(
            protocol_id=protocol_id,
            private_key=private_key,
            config=config,
            entropy=entropy,
            public_addresses=self._public_addresses,
            admits=self._has_seat_for,
            may_move=self._is_ticket,
        )
        self._own_addresses = self._public_addresses[:MAX_SERVER_ADDRESSES]
        self._is_running = False
        self._now = now
        self._unix_time = 0
        self._next_sweep = now
        self._plain_peers = 0
        self._adopted: dict[bytes, None] = {}
        self._receiver: NetcodePeer | None = None  # of the payloads that leave now
        self._send: Callable[[bytes], int] = self._send_to_receiver  # bound once, and not for each packet
        self._closing = ClosingPeers(config, self._send_payloads, self._netcode.disconnect)
        self._ready: list[ServerPeer] = []
        self._events: deque[CoreEvent] = deque()

    # --- life -----------------------------------------------------------------------------------

    def start(self, bound_address: Address, now: float) -> None:
        """Begin to serve. Sessions of an earlier run are dropped ones whose clocks go on from here."""
        assert not self._is_running
        self._is_running = True
        if not self._public_addresses:
            self._own_addresses = (bound_address,)
        self._now = self._next_sweep = now
        self._netcode.start(now)
        for peer in self.sessions.values():
            peer.leave_at += now

    def announce_stop(self, now: float) -> bool:
        """Tell every client that the server goes and may come back; repeat it for lossy links.

        Returns:
            Whether there was anybody to tell.
        """
        self._now = now
        # Who is told begins to resume at once, with a ticket that is to serve after the next start.
        self._netcode.stop_handshakes()
        for peer in list(self.sessions.values()):
            if peer.attachment is not None:
                peer.session.queue_close(
                    DisconnectReason.SHUTDOWN, "the server was shut down", CLOSE_MAY_RESUME, now
                )
                self.flush(peer, now)
        self._closing.repeat(now)
        listeners = list(self._netcode.peers.values())
        for netcode_peer in listeners:
            if netcode_peer.session is None:
                self._netcode.disconnect(netcode_peer, now)
        return bool(listeners)

    def stop(self, now: float) -> None:
        """Cease to serve. Sessions stay, and their clocks stand still until the next `start`."""
        self._is_running = False
        for peer in list(self.sessions.values()):
            if peer.attachment is not None:
                peer.leave_at = self._config.resume_window_s
                self._detach(peer, now)
            else:
                peer.leave_at = max(0.0, peer.leave_at - now)
        self._closing.clear()
        self._plain_peers = 0
        self._netcode.stop()

    def forget_keys(self) -> None:
        """Let go of every key, in the child of a fork: nothing of this can be used any more."""
        self._private_key = b""
        self._is_running = False
        for peer in self.sessions.values():
            peer.attachment = None
            peer.resume_secret = b""
        self.sessions, self.by_name = {}, {}
        self._closing.clear()
        self._events.clear()
        self._netcode.forget_keys()

    # --- datagrams ------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, address: OpaqueAddress, now: float, unix_time: int) -> None:
        """Take one datagram, whoever sent it. Never raises; drops are counted."""
        self._now = now
        self._unix_time = unix_time
        netcode = self._netcode
        netcode_peer = netcode.receive_datagram(data, address, now, unix_time)
        if netcode_peer is None:
            self._take_netcode_events(now)
            return
        peer = netcode_peer.session
        if not isinstance(peer, ServerPeer) or peer.disconnect_reason is not None:
            self.stats.drops["plain_peer" if peer is None else "closing"] += 1
            return
        session = peer.session
        session.receive_payload(netcode.sequence, netcode.payload, now)
        if session.has_events:
            self._take_session_events(peer, now)
        self._mark_ready(peer)
        if netcode.has_events:  # of a goodbye, which would hold the peer until the next
            self._take_netcode_events(now)

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Drain what is to be sent."""
        return self._netcode.datagrams_to_send()

    def flush(self, peer: ServerPeer, now: float) -> None:
        """Send what of this peer's session may leave now."""
        self._send_payloads(peer, now)
        if peer.session.has_events:
            self._take_session_events(peer, now)

    def take_ready(self) -> list[ServerPeer]:
        """Peers touched since the last call: drain their messages and events, then flush them."""
        ready, self._ready = self._ready, []
        for peer in ready:
            peer.is_ready = False
        return ready

    # --- time -----------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called; a session's own timer is apart."""
        if not self._is_running:
            return None
        due = self._netcode.next_timer()
        if self.sessions:
            due = self._next_sweep if due is None else min(due, self._next_sweep)
        closing = self._closing.next_timer()
        if closing is not None:
            due = closing if due is None else min(due, closing)
        return due

    def handle_timer(self, now: float, unix_time: int) -> None:
        """Netcode's keep-alives, silence, resume windows, closing sessions."""
        if not self._is_running:
            return
        self._now = now
        self._unix_time = unix_time
        self._netcode.handle_timer(now)
        self._take_netcode_events(now)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            self._sweep_sessions(now)
        self._closing.handle_timer(now)
        self._take_netcode_events(now)

    def handle_peer_timer(self, peer: ServerPeer, now: float) -> None:
        """A session's own timer (`peer.session.next_timer()`) came due."""
        self._now = now
        peer.session.handle_timer(now)
        self.flush(peer, now)
        self._mark_ready(peer)

    # --- events and commands --------------------------------------------------------------------

    def next_event(self) -> CoreEvent | None:
        """What happened to sessions, in order."""
        return self._events.popleft() if self._events else None

    def close_peer(
        self, peer: ServerPeer, reason: DisconnectReason, text: str, now: float, *, flags: int = 0
    ) -> None:
        """End a session from this side: the peer is told why, several times, and its seat is free at once."""
        self._now = now
        if peer.disconnect_reason is not None:
            return
        if peer.attachment is not None:
            peer.session.queue_close(reason, text, flags, now)
            self._closing.add(peer, now)
        self._leave(peer, reason, text)

    def new_session(self, now: float) -> Session:
        """Make the session of a client that joins; a subclass may make one of its own kind."""
        return Session(config=self._config, is_server=True, now=now, server_clock_us=self.server_time_us)

    def server_time_us(self, now: float) -> int:
        """The server's clock: microseconds since this core was made."""
        return int((now - self._epoch) * 1e6)

    @property
    def netcode_drops(self) -> Counter[str]:
        """Datagrams dropped before they reached a session, by reason."""
        return self._netcode.drops

    # --- inside: connections --------------------------------------------------------------------

    def _has_seat_for(self, token: PrivateToken) -> bool:
        identity = decode_user_data(token.user_data, config=self._config)
        if identity is not None and session_id_of(identity.resume_secret) in self.sessions:
            return True
        return len(self.sessions) + self._plain_peers < self._config.max_clients

    def _is_ticket(self, token: PrivateToken) -> bool:
        """Whether it resumes a session: with a NAT in between its client may move in mid-handshake."""
        identity = decode_user_data(token.user_data, config=self._config)
        return identity is not None and identity.resume_secret != NO_SESSION

    def _take_netcode_events(self, now: float) -> None:
        while (event := self._netcode.next_event()) is not None:
            if isinstance(event, PeerConnected):
                self._connected(event.peer, event.token, now)
            else:
                self._disconnected(event.peer, event.reason, now)

    def _connected(self, netcode_peer: NetcodePeer, token: PrivateToken, now: float) -> None:
        identity = decode_user_data(token.user_data, config=self._config)
        if identity is None:
            self._plain_peers += 1
            netcode_peer.timeout_s = min(netcode_peer.timeout_s, self._config.timeout_s)
            return
        if identity.revision != REVISION:
            text = f"this server speaks protocol revision {REVISION}, the client {identity.revision}"
            self._refuse(netcode_peer, DisconnectReason.PROTOCOL_MISMATCH, text, now)
            return
        known = self.sessions.get(session_id_of(identity.resume_secret))
        if known is not None:
            self._resume(known, netcode_peer, now)
        elif identity.resume_secret == NO_SESSION or self._adopts(identity, token):
            self._join(netcode_peer, identity, now)
        else:
            text = "the session ended while the client was away"
            self._refuse(netcode_peer, DisconnectReason.SESSION_ENDED, text, now)

    def _adopts(self, identity: Identity, token: PrivateToken) -> bool:
        """Whether a ticket of a session unknown here begins a new one.

        Another process at this very address must have issued it, not long ago, and no other ticket of
        that session may have begun one. (The clock of the wall serves for this alone: within a process a
        ticket is as good as its session.)
        """
        age_s = abs(self._unix_time - identity.issued_at)
        is_ours = any(address in self._own_addresses for address in token.server_addresses)
        if identity.instance_id == self._instance_id or not is_ours or age_s > self._config.ticket_lifetime_s:
            return False
        if identity.resume_secret in self._adopted:
            return False
        self._adopted[identity.resume_secret] = None
        if len(self._adopted) > max(self._config.max_clients, self._config.min_used_tokens):
            del self._adopted[next(iter(self._adopted))]
        return True

    def _disconnected(self, netcode_peer: NetcodePeer, reason: PeerDisconnectReason, now: float) -> None:
        peer = netcode_peer.session
        if peer is None:
            self._plain_peers = max(0, self._plain_peers - 1)
        elif isinstance(peer, ServerPeer) and peer.attachment is netcode_peer:
            if peer.disconnect_reason is not None:
                peer.attachment = None
            elif reason is PeerDisconnectReason.TIMED_OUT:
                self._drop(peer, now)
            elif reason is PeerDisconnectReason.GOODBYE:
                self._detach(peer, now)
                self._leave(peer, DisconnectReason.GOODBYE, "")

    def _join(self, netcode_peer: NetcodePeer, identity: Identity, now: float) -> None:
        name = netcode_peer.address
        holder = self.by_name.get(name)
        if holder is not None:
            if holder.attachment is not None:
                text = "another client's session is named by this address; connect from another port"
                self._refuse(netcode_peer, DisconnectReason.NAME_TAKEN, text, now)
                return
            self._leave(holder, DisconnectReason.REPLACED, "a new client came from the same address")
        peer = ServerPeer(
            self.new_session(now),
            name,
            self._entropy(SESSION_ID_BYTES),
            decode_claims(identity.claims, self._config),
            identity.claims,
        )
        self.sessions[peer.session_id] = peer
        self.by_name[name] = peer
        self.stats.joined += 1
        self._events.append(PeerJoined(peer))
        self._attach(peer, netcode_peer, now, resumed=False)

    def _resume(self, peer: ServerPeer, netcode_peer: NetcodePeer, now: float) -> None:
        if peer.attachment is not None:  # the client noticed the silence before this side did
            self._netcode.disconnect(peer.attachment, now, notify=False)
            self._detach(peer, now)
        self.stats.resumed += 1
        self._events.append(PeerResumed(peer))
        self._attach(peer, netcode_peer, now, resumed=True)

    def _attach(self, peer: ServerPeer, netcode_peer: NetcodePeer, now: float, *, resumed: bool) -> None:
        netcode_peer.session = peer
        netcode_peer.keepalive_interval_s = inf  # the session has its own
        netcode_peer.timeout_s = min(netcode_peer.timeout_s, self._config.timeout_s)
        peer.attachment = netcode_peer
        peer.remote_address = netcode_peer.address
        peer.session.attach(now)
        welcome = Welcome(
            resume_secret=peer.resume_secret,
            instance_id=self._instance_id,
            resumed=resumed,
            timeout_s=self._config.timeout_s,
            resume_window_s=self._config.resume_window_s,
            claims=peer.encoded_claims,
        )
        peer.session.queue_welcome(encode_welcome(welcome))
        self._issue_tickets(peer, now)
        self.flush(peer, now)
        self._mark_ready(peer)

    def _issue_tickets(self, peer: ServerPeer, now: float) -> None:
        """New tickets; the client forgets those before."""
        peer.tickets_until = now + self._config.ticket_renewal_s
        for _ in range(self._config.resume_tickets):
            peer.session.queue_ticket(self._new_ticket(peer))

    def _new_ticket(self, peer: ServerPeer) -> bytes:
        config = self._config
        identity = Identity(peer.resume_secret, self._instance_id, self._unix_time, peer.encoded_claims)
        token = generate_connect_token(
            private_key=self._private_key,
            protocol_id=self._protocol_id,
            client_id=int.from_bytes(self._entropy(8), "little"),
            server_addresses=self._own_addresses,
            user_data=encode_user_data(identity),
            unix_time=self._unix_time,
            expire_seconds=NEVER_EXPIRES_S,
            timeout_seconds=max(1, round(config.timeout_s)),
            entropy=self._entropy,
        )
        return encode_ticket(token)

    def _refuse(self, netcode_peer: NetcodePeer, reason: DisconnectReason, text: str, now: float) -> None:
        """A connection that gets a close frame as its only word."""
        peer = ServerPeer(self.new_session(now), netcode_peer.address, NO_SESSION, {})
        netcode_peer.session = peer
        peer.attachment = netcode_peer
        peer.session.attach(now)
        peer.disconnect_reason = reason
        peer.session.queue_close(reason, text, 0, now)
        self._closing.add(peer, now)
        self.stats.drops[f"refused_{reason.name.lower()}"] += 1

    # --- inside: sessions -----------------------------------------------------------------------

    def _send_payloads(self, peer: ServerPeer, now: float) -> None:
        netcode_peer = peer.attachment
        if netcode_peer is not None:
            self._now = now
            self._receiver = netcode_peer
            peer.session.send_payloads(now, self._send)
            self._receiver = None  # or it would be held until another one is sent to

    def _send_to_receiver(self, payload: bytes) -> int:
        """What `Session.send_payloads` sends with; one for all sessions, of which one sends at a time."""
        assert self._receiver is not None
        return self._netcode.send_payload(self._receiver, payload, self._now)

    def _take_session_events(self, peer: ServerPeer, now: float) -> None:
        while (event := peer.session.next_event()) is not None:
            if isinstance(event, CloseReceived):
                if event.flags & CLOSE_SHUT_DOWN_SERVER:
                    self._events.append(ShutdownRequested(peer))
                if peer.attachment is not None:
                    self._netcode.disconnect(peer.attachment, now)  # tells the client that it was heard
                    self._detach(peer, now)
                self._leave(peer, DisconnectReason.GOODBYE, event.text)
                return
            peer.add_event(event)

    def _detach(self, peer: ServerPeer, now: float) -> None:
        peer.attachment = None
        peer.session.detach(now)

    def _drop(self, peer: ServerPeer, now: float) -> None:
        if peer.attachment is not None:
            self._netcode.disconnect(peer.attachment, now, notify=False)
        self._detach(peer, now)
        peer.leave_at = now + self._config.resume_window_s
        self.stats.dropped += 1
        self._events.append(PeerDropped(peer))

    def _leave(self, peer: ServerPeer, reason: DisconnectReason, text: str) -> None:
        if peer.disconnect_reason is not None:
            return
        peer.disconnect_reason = reason
        peer.disconnect_text = text
        self.sessions.pop(peer.session_id, None)
        if self.by_name.get(peer.name) is peer:
            del self.by_name[peer.name]
        self.stats.left += 1
        self._events.append(PeerLeft(peer))

    def _sweep_sessions(self, now: float) -> None:
        silent_since = now - self._config.timeout_s
        for peer in list(self.sessions.values()):
            if peer.attachment is not None:
                if peer.attachment.last_receive_time <= silent_since:
                    self._drop(peer, now)
                elif now >= peer.tickets_until:
                    self._issue_tickets(peer, now)
                    self._mark_ready(peer)
            elif now >= peer.leave_at:
                self._leave(peer, DisconnectReason.TIMED_OUT, "")

    def _mark_ready(self, peer: ServerPeer) -> None:
        if not peer.is_ready:
            peer.is_ready = True
            self._ready.append(peer)
