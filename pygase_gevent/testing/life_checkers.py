"""Checkers of the life of a session, as the public contract tells it."""

from __future__ import annotations

from pygase_gevent.protocol.client_events import (
    ClientEvent,
    ClientPhase,
    Closed,
    Connected,
    Dropped,
    Resumed,
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
from pygase_gevent.testing.checker import Checker
from pygase_gevent.testing.host import Host
from pygase_gevent.testing.tap import TappedSession
from pygase_gevent.testing.virtual_client import VirtualClient
from pygase_gevent.testing.virtual_server import VirtualServer
from pygase_gevent.testing.world import World

GRACE_S = 1.0
"""How much longer than promised a session may live."""

_SERVER_ORDER: dict[type | None, tuple[type, ...]] = {
    None: (PeerJoined,),
    PeerJoined: (PeerDropped, PeerResumed, PeerLeft, ShutdownRequested),
    PeerDropped: (PeerResumed, PeerLeft),
    PeerResumed: (PeerDropped, PeerResumed, PeerLeft, ShutdownRequested),
    ShutdownRequested: (PeerLeft,),
    PeerLeft: (),
}
_CLIENT_ORDER: dict[type | None, tuple[type, ...]] = {
    None: (Connected, Closed),
    Connected: (Dropped, Closed),
    Dropped: (Resumed, Connected, Closed),
    Resumed: (Dropped, Closed),
    Closed: (),
}


class HooksInOrder(Checker):
    """Joined, then dropped and resumed as often as it happens, then left; on the client likewise."""

    def __init__(self) -> None:
        self._server: dict[ServerPeer, type] = {}
        self._client: dict[VirtualClient, type] = {}

    def server_event(self, server: VirtualServer, event: CoreEvent) -> None:
        last = self._server.get(event.peer)
        if type(event) not in _SERVER_ORDER[last]:
            self.fail(f"{type(event).__name__} after {last and last.__name__} of {event.peer.name}")
        self._server[event.peer] = type(event)

    def client_event(self, client: VirtualClient, event: ClientEvent) -> None:
        last = self._client.get(client)
        if type(event) not in _CLIENT_ORDER[last]:
            self.fail(f"{type(event).__name__} after {last and last.__name__} of {client.name}")
        self._client[client] = type(event)


class NoSessionOutlives(Checker):
    """No session lives longer than `timeout_s + resume_window_s` and 1 s without a word from the peer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._limit_s = world.config.timeout_s + world.config.resume_window_s + GRACE_S
        self._silence_s: dict[TappedSession, float] = {}
        self._looked_at: dict[object, float] = {}

    def payload_received(
        self, session: TappedSession, sequence: int, payload: bytes, is_recorded: bool
    ) -> None:
        self._silence_s[session] = -self._since_look_s(session.owner)

    def session_attached(self, session: TappedSession) -> None:
        self._silence_s[session] = -self._since_look_s(session.owner)

    def client_event(self, client: VirtualClient, event: ClientEvent) -> None:
        if isinstance(event, Closed) and client.core.disconnect_reason is DisconnectReason.TIMED_OUT:
            self._judge(client.session, self._since_look_s(client), f"{client.name}'s session")

    def server_event(self, server: VirtualServer, event: CoreEvent) -> None:
        if isinstance(event, PeerLeft) and event.peer.disconnect_reason is DisconnectReason.TIMED_OUT:
            name = f"the server's session with {event.peer.name}"
            self._judge(event.peer.session, self._since_look_s(server), name)

    def look(self) -> None:
        server = self._world.server
        since_s = self._since_look_s(server)
        for peer in server.core.sessions.values():
            if peer.attachment is not None:  # netcode's keep-alives are words, too
                self._heard(peer.session, self._world.now - peer.attachment.last_receive_time - since_s)
            self._grow(peer.session, since_s, f"the server's session with {peer.name}", server.is_asleep)
        self._looked_at[server] = _clock(server)
        for client in self._world.clients:
            if client.core.phase is ClientPhase.RESUMING and not client.is_dead:
                since_s = self._since_look_s(client)
                self._grow(client.session, since_s, f"{client.name}'s session", client.is_asleep)
            self._looked_at[client] = _clock(client)

    def _heard(self, session: object, silence_s: float) -> None:
        assert isinstance(session, TappedSession)
        self._silence_s[session] = min(self._silence_s.get(session, 0.0), silence_s)

    def _since_look_s(self, host: Host) -> float:
        """What passed since the last look, on the clock that the host's sessions go by."""
        return _clock(host) - self._looked_at.get(host, _clock(host))

    def _grow(self, session: object, since_s: float, whose: str, is_excused: bool) -> None:
        """Adds the time since the last look; a process that sleeps knows of nothing."""
        assert isinstance(session, TappedSession)
        if not is_excused:
            self._judge(session, since_s, whose)
            self._silence_s[session] = self._silence_s.get(session, 0.0) + since_s

    def _judge(self, session: object, since_s: float, whose: str) -> None:
        assert isinstance(session, TappedSession)
        silence_s = self._silence_s.get(session, 0.0) + since_s
        if silence_s > self._limit_s:
            self.fail(f"{whose} lives after {silence_s:.1f} s of silence")


def _clock(host: Host) -> float:
    """While a server does not serve its sessions' clocks stand still."""
    return host.served_s if isinstance(host, VirtualServer) else host.now


class SeatsAreCounted(Checker):
    """The server keeps exactly the sessions that joined and have not left."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._here: dict[VirtualServer, set[bytes]] = {}

    def server_event(self, server: VirtualServer, event: CoreEvent) -> None:
        here = self._here.setdefault(server, set())
        if isinstance(event, PeerJoined):
            here.add(event.peer.session_id)
        elif isinstance(event, PeerLeft):
            here.discard(event.peer.session_id)

    def look(self) -> None:
        server = self._world.server
        core = server.core
        if set(core.sessions) != self._here.get(server, set()):
            self.fail("the sessions are not those that joined and have not left")
        if {peer.name for peer in core.sessions.values()} != set(core.by_name):
            self.fail("the names are not those of the sessions")


class EverybodyIsBack(Checker):
    """Once the network is well every client that did not end is connected, and the server knows it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def is_settled(self) -> bool:
        return not self._away()

    def finish(self) -> None:
        away = self._away()
        if away:
            self.fail(f"not connected though nothing hinders it: {', '.join(away)}")

    def _away(self) -> list[str]:
        return [
            f"{client.name} ({client.core.phase.name})"
            for client in self._world.clients
            if not client.is_over
            and not (client.is_connected and (peer := self._world.peer_of(client)) and peer.is_connected)
        ]
