"""The simulator's world with an ear to everything, for tests that tell a story."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.client_events import ClientEvent, Closed
from pygase_gevent.protocol.server_peer import CoreEvent, ServerPeer
from pygase_gevent.protocol.session import MessageKind, ReceivedMessage
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.tap import TappedSession
from pygase_gevent.testing.virtual_client import VirtualClient
from pygase_gevent.testing.virtual_server import VirtualServer
from pygase_gevent.testing.witness import Witness
from pygase_gevent.testing.world import KEY, SERVER_ADDRESS, World

__all__ = ["KEY", "SERVER_ADDRESS", "CoreWorld", "Story", "VirtualClient", "closed_reason"]

A_LINE = LinkOptions(delay_s=0.01)


@dataclass
class Story(Witness):
    """Writes down what happened, and to whom."""

    server_events: list[CoreEvent] = field(default_factory=list)
    client_events: dict[VirtualClient, list[ClientEvent]] = field(default_factory=dict)
    server_received: dict[Address, list[bytes]] = field(default_factory=dict)
    client_received: dict[VirtualClient, list[bytes]] = field(default_factory=dict)
    sent: dict[str, list[bytes]] = field(default_factory=dict)
    """Every datagram that left a host."""

    def server_event(self, server: VirtualServer, event: CoreEvent) -> None:
        self.server_events.append(event)

    def client_event(self, client: VirtualClient, event: ClientEvent) -> None:
        self.client_events.setdefault(client, []).append(event)

    def message_received(self, session: TappedSession, message: ReceivedMessage) -> None:
        owner = session.owner
        if isinstance(owner, VirtualClient):
            self.client_received.setdefault(owner, []).append(message.body)
        else:
            name = owner.core.sessions[session.session_id].name
            self.server_received.setdefault(name, []).append(message.body)

    def datagram_sent(self, data: bytes, source: Address, target: Address) -> None:
        self.sent.setdefault(source[0], []).append(data)


class CoreWorld(World):
    """A world whose story is told, with verbs for what the tests do."""

    def __init__(self, seed: int = 1, *, config: Config | None = None, line: LinkOptions = A_LINE) -> None:
        super().__init__(seed, config=config, line=line)
        self.story = Story()
        self.witnesses.add(self.story)
        self.random = random.Random(seed)

    @property
    def server_received(self) -> dict[Address, list[bytes]]:
        """Bodies of the messages that the server got, by session."""
        return self.story.server_received

    def names(self) -> list[str]:
        """What happened on the server."""
        return [type(event).__name__ for event in self.story.server_events]

    def names_of(self, client: VirtualClient) -> list[str]:
        """What happened to a client."""
        return [type(event).__name__ for event in self.events_of(client)]

    def events_of(self, client: VirtualClient) -> list[ClientEvent]:
        """The same, as it is."""
        return self.story.client_events.get(client, [])

    def received_by(self, client: VirtualClient) -> list[bytes]:
        """Bodies of the messages that a client got."""
        return self.story.client_received.get(client, [])

    def sent_by(self, client: VirtualClient) -> list[bytes]:
        """Every datagram that a client sent."""
        return self.story.sent.get(client.host, [])

    def peer(self, client: VirtualClient) -> ServerPeer:
        """The server's side of a client's session."""
        peer = self.peer_of(client)
        assert peer is not None
        return peer

    def cut(self, is_cut: bool = True) -> None:
        """Cuts every line, or opens it."""
        for line in self.network.lines.values():
            line.cut(up=is_cut, down=is_cut)

    def send_to(self, peer: ServerPeer, body: bytes, delivery: Delivery = Delivery.RELIABLE_ORDERED) -> None:
        """The server sends a message."""
        peer.session.send_message(
            body, delivery=delivery, stream="S", retries=0, kind=MessageKind.EVENT, token=None, now=self.now
        )
        self.server.flush(peer)

    def send_from(
        self, client: VirtualClient, body: bytes, delivery: Delivery = Delivery.RELIABLE_ORDERED
    ) -> None:
        """A client sends a message."""
        client.session.send_message(
            body, delivery=delivery, stream="C", retries=0, kind=MessageKind.EVENT, token=None, now=self.now
        )
        client.turn()

    def inject(self, data: bytes, source: Address) -> None:
        """A datagram out of nowhere arrives at the server."""
        self.network.inject(data, source, SERVER_ADDRESS)


def closed_reason(world: CoreWorld, client: VirtualClient) -> object:
    """Why the client's connection ended."""
    return next((event.reason for event in world.events_of(client) if isinstance(event, Closed)), None)
