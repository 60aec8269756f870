"""The clients of a server, from joining to leaving; they outlast its runs."""

from __future__ import annotations

from collections.abc import Callable

from pygase_gevent.config import Config
from pygase_gevent.connection import ServerConnection
from pygase_gevent.errors import ArgumentTypeError, QueueFullError, UnknownClientError
from pygase_gevent.event import Delivery, UniversalEventHandler
from pygase_gevent.exchange import Exchange
from pygase_gevent.hub.environment import Timer
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.server_peer import ServerPeer

_MAX_NAMED = 8
"""Clients named in one error."""


class Client:
    """All that a server has of one client.

    Attributes:
        peer: the protocol's side of it.
        exchange: events, calls and handlers.
        connection: what the user sees.
        timer: fires when the session wants to be looked at; `None` while no server runs.
        timer_at: what it is armed for.
        next_state_at: not before then does it get another state.
        content_version: the store's, if it has told that it has that content; else -1.
    """

    __slots__ = ("connection", "content_version", "exchange", "next_state_at", "peer", "timer", "timer_at")

    def __init__(self, peer: ServerPeer, exchange: Exchange, config: Config) -> None:
        self.peer = peer
        self.exchange = exchange
        self.connection = ServerConnection(peer, config, exchange.counters)
        self.timer: Timer | None = None
        self.timer_at: float | None = None
        self.next_state_at = 0.0
        self.content_version = -1


class Clients:
    """Who is there, by name, and who may shut the server down.

    Changed in the hub's thread only. Both dicts are replaced on change, never mutated, so any thread
    may iterate what it got.

    Args:
        config: limits.
        handlers: the application's, by event type.
    """

    def __init__(self, config: Config, handlers: UniversalEventHandler) -> None:
        self.by_name: dict[Address, Client] = {}
        self.connections: dict[Address, ServerConnection] = {}
        self.host: Address | None = None
        self.wake: Callable[[Client], None] | None = None
        self._config = config
        self._handlers = handlers
        self._had_host = False

    def find(self, name: object) -> Client:
        """The client of this name. Raises `ArgumentTypeError`, `UnknownClientError`."""
        client = self.by_name.get(_check_name(name))
        if client is None:
            raise UnknownClientError(
                f"no client {name!r}: not connected yet, or gone for good; "
                "Server.connections has the addresses of those who are there"
            )
        return client

    def targets(self, target_client: object, size: int, delivery: Delivery) -> list[Client]:
        """Whom an event of `size` bytes goes to.

        Raises:
            ArgumentTypeError: neither `'all'`, nor an address, nor a list of addresses.
            UnknownClientError: no such client.
            QueueFullError: it is a reliable event for several, and one of them has no room.
        """
        if isinstance(target_client, str) and target_client == "all":
            clients = list(self.by_name.values())
        elif isinstance(target_client, list):
            clients = list(dict.fromkeys(map(self.find, target_client)))
        else:
            clients = [self.find(target_client)]
        return self._with_room(clients, size, delivery) if len(clients) > 1 else clients

    def add(self, peer: ServerPeer) -> Client:
        """A session began. The first client ever becomes host."""
        client: Client

        def wake() -> None:
            wake_client = self.wake
            if wake_client is not None:
                wake_client(client)

        exchange = Exchange(
            config=self._config,
            handlers=self._handlers,
            wake=wake,
            look_again=wake,
            label=f"client {peer.name}",
            client_address=peer.name,
        )
        client = Client(peer, exchange, self._config)
        peer.user = client
        self.by_name = {**self.by_name, peer.name: client}
        self.connections = {**self.connections, peer.name: client.connection}
        if self.host is None and not self._had_host:
            self.host = peer.name
        self._had_host = True
        return client

    def remove(self, client: Client) -> None:
        """A session ended for good. A host that leaves has no successor."""
        name = client.peer.name
        if self.by_name.get(name) is client:
            self.by_name = {key: value for key, value in self.by_name.items() if key != name}
            self.connections = {key: value for key, value in self.connections.items() if key != name}
        if self.host == name:
            self.host = None

    def _with_room(self, clients: list[Client], size: int, delivery: Delivery) -> list[Client]:
        """Unreliable events may be lost: who has no room is left out, so that he cannot hold up the rest."""
        full = [client for client in clients if not client.exchange.outbox.has_room(size)]
        if not full:
            return clients
        if delivery in (Delivery.RELIABLE, Delivery.RELIABLE_ORDERED):
            names = ", ".join(str(client.peer.name) for client in full[:_MAX_NAMED])
            names += " and others" if len(full) > _MAX_NAMED else ""
            raise QueueFullError(
                f"no room for another event to {names}: they "
                "do not keep up, or are away. Nothing was queued for anybody; leave them out, or kick them"
            )
        for client in full:
            client.exchange.counters.drop("queue_full")
        return [client for client in clients if client not in full]


def _check_name(name: object) -> Address:
    match name:
        case (str(host), int(port)) if isinstance(name, tuple):
            return host, port
    raise ArgumentTypeError(
        "a client address is a tuple (host, port) as in Server.connections; target_client is one, a list of "
        f"them, or 'all'; not {name!r}"
    )
