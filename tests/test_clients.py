"""A server's clients: whose queue is full, and for how long."""

from __future__ import annotations

import pytest

from pygase_gevent.clients import Client, Clients
from pygase_gevent.config import Config
from pygase_gevent.errors import QueueFullError
from pygase_gevent.event import Delivery, UniversalEventHandler
from pygase_gevent.outbox import OutgoingMessage
from pygase_gevent.protocol.server_peer import ServerPeer
from pygase_gevent.protocol.session import MessageKind, Session

ROOM = 8
CONFIG = Config(max_queued_events=ROOM, slow_client_s=10.0)


def reliable(now: float) -> OutgoingMessage:
    return OutgoingMessage(
        b"event", MessageKind.EVENT, delivery=Delivery.RELIABLE, stream="E", dispatched_at=now
    )


@pytest.fixture
def clients() -> Clients:
    return Clients(CONFIG, UniversalEventHandler())


@pytest.fixture
def client(clients: Clients) -> Client:
    session = Session(config=CONFIG, is_server=True, now=0.0)
    session.attach(0.0)
    client = clients.add(ServerPeer(session, ("127.0.0.1", 50123), bytes(16), {}))
    client.exchange.bind(session)
    return client


@pytest.mark.parametrize("found_room", [True, False])
def test_only_who_never_had_room_again_is_slow(clients: Clients, client: Client, found_room: bool) -> None:
    slow: list[Client] = []
    clients.close_slow = slow.append
    for _ in range(ROOM):
        clients.dispatch(client.peer.name, reliable(1.0))
    client.move_outgoing()
    with pytest.raises(QueueFullError):
        clients.dispatch(client.peer.name, reliable(2.0))
    if found_room:
        client.peer.session.discard(3.0)  # as if all had been acknowledged
    client.move_outgoing()
    with pytest.raises(QueueFullError):
        for _ in range(ROOM + 1):
            clients.dispatch(client.peer.name, reliable(13.0))
    assert slow == ([] if found_room else [client])
