"""What a checker is, and which sessions of a run belong together."""

from __future__ import annotations

from typing import NoReturn

from pygase_gevent.protocol.client_events import ClientEvent, Closed, Connected
from pygase_gevent.protocol.server_peer import CoreEvent, PeerJoined, PeerLeft, ServerPeer
from pygase_gevent.testing.ledger import Violation
from pygase_gevent.testing.tap import TappedSession
from pygase_gevent.testing.virtual_client import VirtualClient
from pygase_gevent.testing.virtual_server import VirtualServer
from pygase_gevent.testing.witness import Witness


class Checker(Witness):
    """Holds one promise against what happens; raises `Violation` where it is broken."""

    def fail(self, text: str) -> NoReturn:
        """Raises `Violation`."""
        raise Violation(f"{type(self).__name__}: {text}")

    def look(self) -> None:
        """Looks around; called every virtual second."""

    def is_settled(self) -> bool:
        """Whether nothing more is awaited, once the network is well again."""
        return True

    def finish(self) -> None:
        """Looks at the end: the network was well for long."""


class Pairs(Witness):
    """Which sessions are two sides of one, and which of them live."""

    def __init__(self) -> None:
        self._servers: dict[bytes, TappedSession] = {}
        self._clients: dict[bytes, TappedSession] = {}
        self._ended: set[bytes] = set()
        self._homes: dict[bytes, VirtualServer] = {}

    def peer(self, session: TappedSession) -> TappedSession | None:
        """The other side, if there is one yet."""
        return (self._clients if session.is_server else self._servers).get(session.session_id)

    def home(self, session: TappedSession) -> VirtualServer | None:
        """The server process that it belongs to."""
        return self._homes.get(session.session_id)

    def living(self) -> set[TappedSession]:
        """Both sides of each session that has not ended on either."""
        return {
            session
            for session_id, server in self._servers.items()
            if session_id not in self._ended and session_id in self._clients
            for session in (server, self._clients[session_id])
        }

    def server_event(self, server: VirtualServer, event: CoreEvent) -> None:
        if isinstance(event, PeerJoined):
            session = event.peer.session
            assert isinstance(session, TappedSession)
            self._servers[event.peer.session_id] = session
            self._homes[event.peer.session_id] = server
        elif isinstance(event, PeerLeft):
            self._ended.add(event.peer.session_id)

    def client_event(self, client: VirtualClient, event: ClientEvent) -> None:
        if isinstance(event, Connected):
            self._clients[event.session_id] = client.session
        elif isinstance(event, Closed):
            self._ended.add(client.core.session_id)

    def payload_received(
        self, session: TappedSession, sequence: int, payload: bytes, is_recorded: bool
    ) -> None:
        if not session.is_server and session.session_id not in self._clients:
            self._clients[session.session_id] = session

    def peer_dropped_dead(self, server: VirtualServer, peer: ServerPeer) -> None:
        self._ended.add(peer.session_id)

    def client_died(self, client: VirtualClient) -> None:
        """Its process ended without a word."""
        self._ended.add(client.core.session_id)
