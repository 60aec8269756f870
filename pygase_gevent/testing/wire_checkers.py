"""Checkers of what goes over the wire, and of who may be disturbed by it."""

from __future__ import annotations

from collections import Counter

from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.client_events import ClientEvent, Connected, Dropped, Resumed
from pygase_gevent.protocol.frames import parse_payload
from pygase_gevent.protocol.netcode.packet import PacketType
from pygase_gevent.protocol.server_peer import CoreEvent, PeerDropped, PeerJoined, PeerResumed
from pygase_gevent.testing.checker import Checker, Pairs
from pygase_gevent.testing.tap import TappedSession
from pygase_gevent.testing.virtual_client import VirtualClient
from pygase_gevent.testing.virtual_server import VirtualServer
from pygase_gevent.testing.world import SERVER_ADDRESS, World

_HANDSHAKE_IN = (PacketType.REQUEST, PacketType.RESPONSE)
_HANDSHAKE_OUT = (PacketType.DENIED, PacketType.CHALLENGE)
_CONNECTED = (PacketType.KEEP_ALIVE, PacketType.PAYLOAD)
ACK_BITS = 64
SAMPLE = 8
"""One acknowledgement in so many is read: what is wrong in one is wrong in the 63 after it."""
MAX_FRAMES = 1200
AFTERMATH_S = 5.0
"""A close frame of a server that shuts down may be under way for so long."""
MARGIN_S = 0.6
"""Copies and late arrivals blur when a datagram was taken."""


class Amplification(Checker):
    """Toward an address that has proven nothing the server sends less than came from there, at every moment.

    And packets of a connection go only to a host that answered a challenge.
    """

    def __init__(self) -> None:
        self._from: Counter[Address] = Counter()
        self._to: Counter[Address] = Counter()
        self._answered: set[Address] = set()
        self._hosts: set[Address] = set()

    def host_moved(self, client: VirtualClient, old: Address | None, new: Address) -> None:
        self._hosts.add(new)

    def datagram_arrived(
        self, data: bytes, source: Address, target: Address, sent_at: float, is_genuine: bool
    ) -> None:
        if target == SERVER_ADDRESS and data and data[0] & 15 in _HANDSHAKE_IN:
            self._from[source] += len(data)
            if data[0] & 15 == PacketType.RESPONSE:
                self._answered.add(source)

    def datagram_sent(self, data: bytes, source: Address, target: Address) -> None:
        if source != SERVER_ADDRESS:
            return
        if data[0] & 15 in _HANDSHAKE_OUT:
            self._to[target] += len(data)
            if self._to[target] >= self._from[target]:
                self.fail(f"{self._to[target]} bytes to {target} for {self._from[target]} from there")
        elif target not in self._answered or target not in self._hosts:
            self.fail(f"packet type {data[0] & 15} to {target}, which never answered a challenge")


class Untampered(Checker):
    """What comes to the decoder behind the cipher the peer's session sent, over this connection, once."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._sent: dict[TappedSession, dict[tuple[int, int], int]] = {}
        self._seen: dict[TappedSession, set[int]] = {}
        self._connection: dict[TappedSession, int] = {}

    def session_attached(self, session: TappedSession) -> None:
        self._seen[session] = set()

    def payload_sent(self, session: TappedSession, sequence: int, payload: bytes) -> None:
        self._sent.setdefault(session, {})[sequence, hash(payload)] = session.connection

    def payload_received(
        self, session: TappedSession, sequence: int, payload: bytes, is_recorded: bool
    ) -> None:
        if not session.is_attached and sequence in self._seen.get(session, ()):
            self.fail(f"payload {sequence} was received before")
        seen = self._seen.setdefault(session, set())
        if sequence in seen:
            self.fail(f"payload {sequence} was received before")
        seen.add(sequence)
        peer = self._pairs.peer(session)
        if peer is None:
            self.fail(f"payload {sequence} came, and there is no peer that could have sent it")
        connection = self._sent.get(peer, {}).get((sequence, hash(payload)))
        if connection is None:
            self.fail(f"payload {sequence} of {len(payload)} bytes is not what the peer sent")
        if connection < self._connection.get(session, 0):
            self.fail(f"payload {sequence} is of an earlier connection")
        self._connection[session] = connection


class AcksAreTrue(Checker):
    """An acknowledgement names all that was received of the last packets, and nothing else."""

    def __init__(self) -> None:
        self._received: dict[TappedSession, dict[int, bool]] = {}

    def session_attached(self, session: TappedSession) -> None:
        self._received[session] = {}

    def payload_received(
        self, session: TappedSession, sequence: int, payload: bytes, is_recorded: bool
    ) -> None:
        self._received.setdefault(session, {})[sequence] = is_recorded

    def payload_sent(self, session: TappedSession, sequence: int, payload: bytes) -> None:
        if sequence % SAMPLE:
            return
        parsed = parse_payload(payload, max_frames=MAX_FRAMES)
        if parsed is None:
            self.fail(f"payload {sequence} cannot be parsed")
        if parsed.ack_largest < 0:
            return
        received = self._received.get(session, {})
        largest, mask = parsed.ack_largest, parsed.ack_mask
        if largest not in received:
            self.fail(f"{largest} is acknowledged and was never received")
        for distance in range(1, min(ACK_BITS, largest) + 1):
            is_acked = bool(mask >> (distance - 1) & 1)
            recorded = received.get(largest - distance)
            if is_acked and recorded is None:
                self.fail(f"{largest - distance} is acknowledged and was never received")
            if recorded and not is_acked:
                self.fail(f"{largest - distance} was received, and {largest} is acknowledged without it")


class Undisturbed(Checker):
    """A connection that is being spoken over does not end for silence, whatever others send."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._heard: dict[tuple[Address, Address], tuple[float, float]] = {}
        self._attached_at: dict[object, float] = {}

    def datagram_arrived(
        self, data: bytes, source: Address, target: Address, sent_at: float, is_genuine: bool
    ) -> None:
        if is_genuine and data and data[0] & 15 in _CONNECTED:
            self._heard[source, target] = (self._world.now, sent_at)

    def client_event(self, client: VirtualClient, event: ClientEvent) -> None:
        now = self._world.now
        if isinstance(event, (Connected, Resumed)):
            self._attached_at[client] = now
        elif isinstance(event, Dropped):
            server = self._world.server
            if now - server.stopped_at < AFTERMATH_S:
                return
            limit_s = self._world.config.resume_after_s - MARGIN_S
            self._judge(
                SERVER_ADDRESS, client.address, self._attached_at.get(client, now), limit_s, client.name
            )

    def server_event(self, server: VirtualServer, event: CoreEvent) -> None:
        if isinstance(event, (PeerJoined, PeerResumed)):
            self._attached_at[event.peer] = self._world.now
        elif isinstance(event, PeerDropped):
            limit_s = self._world.config.timeout_s - MARGIN_S
            address = event.peer.remote_address
            self._judge(address, SERVER_ADDRESS, self._attached_at[event.peer], limit_s, "the server")

    def _judge(self, source: Address, target: Address, attached_at: float, limit_s: float, who: str) -> None:
        heard_at, sent_at = self._heard.get((source, target), (0.0, 0.0))
        silence_s = self._world.now - heard_at
        if silence_s < limit_s and sent_at > attached_at:
            self.fail(f"{who} dropped {source} for silence {silence_s:.3f} s after a datagram from there")
