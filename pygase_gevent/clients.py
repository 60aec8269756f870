"""The clients of a server, from joining to leaving; they outlast its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.connection import ServerConnection
from pygase_gevent.errors import ArgumentTypeError, QueueFullError, UnknownClientError
from pygase_gevent.event import Delivery, UniversalEventHandler
from pygase_gevent.exchange import Exchange
from pygase_gevent.handling import HandlerLog
from pygase_gevent.locks import allocate_lock
from pygase_gevent.outbox import OutgoingMessage
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.server_peer import ServerPeer

_MAX_NAMED: Final = 8
"""Clients named in one error."""


class Client:
    """All that a server has of one client.

    Attributes:
        peer: the protocol's side of it.
        exchange: events, calls and handlers.
        connection: what the user sees.
        deadline: when the session wants to be looked at, in ticks; -1 if it does not, or no server runs.
        next_state_at: not before then does it get another state.
        content_version: the store's, if it has told that it has that content; else -1.
        has_outgoing: whether something may wait in the outbox, where no packet has another reason to look.
    """

    __slots__ = (
        "_clients",
        "connection",
        "content_version",
        "deadline",
        "exchange",
        "has_outgoing",
        "next_state_at",
        "peer",
    )

    def __init__(self, peer: ServerPeer, clients: Clients, config: Config) -> None:
        self._clients = clients
        self.peer = peer
        self.has_outgoing = True
        self.exchange = clients.new_exchange(peer, self.wake)
        self.connection = ServerConnection(peer, config, self.exchange.counters)
        self.deadline = -1
        self.next_state_at = 0.0
        self.content_version = -1

    def move_outgoing(self) -> None:
        """Hand what waits in the outbox over to the session; in the hub's thread."""
        if self.has_outgoing:
            outbox = self.exchange.outbox
            self.has_outgoing = False  # what is put in from here on wakes again
            outbox.move_to_session()
            if outbox.has_work:
                self.has_outgoing = True

    def wake(self) -> None:
        """Its outbox or handlers want to be looked at; any thread."""
        self.has_outgoing = True
        wake = self._clients.wake
        if wake is not None:
            wake(self)


class Clients:
    """Who is there, by name, and who may shut the server down.

    Changed in the hub's thread only. Both dicts are replaced on change, never mutated, so any thread
    may iterate what it got.

    Args:
        config: limits.
        handlers: the application's, by event type.

    Attributes:
        host: who may shut the server down.
        wake: called when a client's outbox or handlers want to be looked at; `None` while nothing runs.
        close_slow: called with a client for which there has been no room for `Config.slow_client_s`.
    """

    def __init__(self, config: Config, handlers: UniversalEventHandler) -> None:
        self.by_name: dict[Address, Client] = {}
        self.connections: dict[Address, ServerConnection] = {}
        self.host: Address | None = None
        self.wake: Callable[[Client], None] | None = None
        self.close_slow: Callable[[Client], None] | None = None
        self._config = config
        self._handlers = handlers
        self._had_host = False
        self._log = HandlerLog(config)
        self._lock = allocate_lock()

    def find(self, name: object) -> Client:
        """The client of this name. Raises `ArgumentTypeError`, `UnknownClientError`."""
        client = self.by_name.get(check_client_address(name))
        if client is None:
            raise UnknownClientError(
                f"no client {name!r}: not connected yet, or gone for good; "
                "Server.connections has the addresses of those who are there"
            )
        return client

    def dispatch(self, target_client: object, message: OutgoingMessage) -> None:
        """Queue an event for one client, for several, or for all.

        Of several clients, those without room for an unreliable event are left out, and that is counted: it
        may be lost, and they cannot hold up the rest. A reliable one is queued for all of them or for none.

        Raises:
            ArgumentTypeError: neither `'all'`, nor an address, nor a list of addresses.
            UnknownClientError: no such client.
            QueueFullError: there is no room; nothing was queued for anybody.
        """
        clients = self._find_targets(target_client)
        if len(clients) == 1:
            try:
                clients[0].exchange.outbox.put(message)
            except QueueFullError:
                self._count_refusal(clients, message)
                raise
            return
        with self._lock:
            full = {client for client in clients if not client.exchange.outbox.has_room(message)}
            is_refused = bool(full) and message.delivery in (Delivery.RELIABLE, Delivery.RELIABLE_ORDERED)
            taking = [] if is_refused else [client for client in clients if client not in full]
            to_wake = [client for client in taking if client.exchange.outbox.append(message)]
        for client in to_wake:
            client.exchange.outbox.wake()
        if is_refused:
            self._count_refusal(full, message)
            raise QueueFullError(_full_text([client.peer.name for client in full]))
        for client in full:
            client.exchange.counters.drop("queue_full")

    def add(self, peer: ServerPeer) -> Client:
        """A session began. The first client ever becomes host."""
        client = Client(peer, self, self._config)
        peer.user = client
        self.by_name = {**self.by_name, peer.name: client}
        self.connections = {**self.connections, peer.name: client.connection}
        if self.host is None and not self._had_host:
            self.host = peer.name
        self._had_host = True
        return client

    def new_exchange(self, peer: ServerPeer, wake: Callable[[], None]) -> Exchange:
        """What carries a client's events and calls."""
        return Exchange(
            config=self._config,
            handlers=self._handlers,
            log=self._log,
            wake=wake,
            look_again=wake,
            label=f"client {peer.name}",
            client_address=peer.name,
            lock=self._lock,
        )

    def remove(self, client: Client) -> None:
        """A session ended for good. A host that leaves has no successor."""
        name = client.peer.name
        if self.by_name.get(name) is client:
            self.by_name = {key: value for key, value in self.by_name.items() if key != name}
            self.connections = {key: value for key, value in self.connections.items() if key != name}
        if self.host == name:
            self.host = None

    def _find_targets(self, target_client: object) -> list[Client]:
        if isinstance(target_client, str) and target_client == "all":
            return list(self.by_name.values())
        if isinstance(target_client, list):
            return list(dict.fromkeys(map(self.find, target_client)))
        return [self.find(target_client)]

    def _count_refusal(self, full: Iterable[Client], message: OutgoingMessage) -> None:
        """Who has had no room for a reliable event for too long is closed."""
        if message.delivery not in (Delivery.RELIABLE, Delivery.RELIABLE_ORDERED):
            return
        close_slow = self.close_slow
        for client in full:
            refused_for_s = client.exchange.outbox.refused_for_s(message)
            client.has_outgoing = True  # whoever finds room again is no longer refused
            if refused_for_s >= self._config.slow_client_s and close_slow is not None:
                close_slow(client)


def _full_text(names: list[Address]) -> str:
    shown = ", ".join(map(str, names[:_MAX_NAMED])) + (" and others" if len(names) > _MAX_NAMED else "")
    return (
        f"no room for another event to {shown}: they do not keep up, or are away. Nothing was queued for "
        "anybody; leave them out, or kick them. Whoever stays so for Config.slow_client_s is closed"
    )


def check_client_address(name: object) -> Address:
    """Raises `ArgumentTypeError` unless it is one."""
    match name:
        case (str(host), int(port)) if isinstance(name, tuple):
            return host, port
    raise ArgumentTypeError(
        "a client address is a tuple (host, port) as in Server.connections; target_client is one, a list of "
        f"them, or 'all'; not {name!r}"
    )
