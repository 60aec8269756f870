"""`pygase.server`: the server; PyGaSe 0.3 had it in `pygase.backend`, 0.2 here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from pygase_gevent import server
from pygase_gevent.event import Event as LibraryEvent
from pygase_gevent.event import Handler
from pygase_gevent.legacy.connection import HELLO, Resend, ServerConnection
from pygase_gevent.legacy.coroutines import awaitable_method, complete, completed
from pygase_gevent.legacy.event import Event, UniversalEventHandler
from pygase_gevent.legacy.machine import GameStateMachine, store_below
from pygase_gevent.legacy.store import GameStateStore
from pygase_gevent.legacy.values import from_wire
from pygase_gevent.locks import allocate_rlock

__all__ = ["GameStateMachine", "GameStateStore", "Server", "ServerConnection"]

_MAX_REMEMBERED = 65_536
"""Connections that `Server.connections` keeps. PyGaSe kept all; programs count on their order, so none
goes before this many have come, and then those who are gone go, oldest first."""


class Server:
    """Exchanges events with clients and gives them the state.

    Handlers and callbacks may be coroutine functions. The methods marked *awaitable* block when plain
    code calls them; a coroutine awaits them.

    Args:
        game_state_store: holds the state.

    Attributes:
        game_state_store: as given.
        underlying: this library's server, which does the work.
    """

    def __init__(self, game_state_store: GameStateStore) -> None:
        self.game_state_store = game_state_store
        self._universal_event_handler = UniversalEventHandler()
        self._event_wire: Any = None
        self._connections: dict[Any, Any] = {}
        self._connections_lock = allocate_rlock()
        self.underlying = server.Server(store_below(game_state_store))
        self._universal_event_handler.tell(self)
        self.underlying.register_event_handler(HELLO, self._on_hello)

    @property
    def connections(self) -> dict[Any, Any]:
        """Connections by client address, in the order in which they came; those who are gone stay."""
        with self._connections_lock:  # two threads that ask get the same objects
            below = self.underlying.connections
            known = self._connections
            if any(address not in known or known[address].window is not below[address] for address in below):
                self._connections = self._brought_up_to(below)
            return self._connections

    def _brought_up_to(self, below: Mapping[Any, Any]) -> dict[Any, Any]:
        """The known connections and those of the underlying server."""
        known = dict(self._connections)
        for address, window in below.items():
            if not isinstance(known.get(address), ServerConnection):
                known[address] = ServerConnection(
                    address, self._universal_event_handler, self.game_state_store, 0, self._event_wire
                )
            known[address].attach(self.underlying, window)
        gone = [address for address in known if address not in below]
        for address in gone[: max(len(known) - _MAX_REMEMBERED, 0)]:
            del known[address]
        return known

    @property
    def host_client(self) -> Any:
        """Address of the client that may shut the server down: the first to connect, or whom you assign."""
        return self.underlying.host_client

    @host_client.setter
    def host_client(self, client_address: Any) -> None:
        self.underlying.host_client = client_address

    @property
    def hostname(self) -> str | None:
        """What the server is bound to; `None` while it does not run."""
        return self.underlying.hostname

    @property
    def port(self) -> int | None:
        """The port it is bound to; `None` while it does not run."""
        return self.underlying.port

    _hostname = hostname
    _port = port

    @awaitable_method(stop=lambda server: server.underlying.request_shutdown())
    def run(self, port: int = 0, hostname: str = "localhost", event_wire: Any = None) -> None:
        """Serve until `shutdown`. Awaitable.

        Args:
            port: UDP port; 0 takes a free one.
            hostname: name or IP address to listen on.
            event_wire: events are repeated to its `_push_event`; a `GameStateMachine`.
        """
        self.underlying.run(port, hostname, self._wire_to(event_wire))

    def run_in_thread(
        self, port: int = 0, hostname: str = "localhost", event_wire: Any = None, daemon: bool = True
    ) -> threading.Thread:
        """Serve in a thread; returns when the socket is bound."""
        return self.underlying.run_in_thread(port, hostname, self._wire_to(event_wire), daemon)

    @awaitable_method()
    def shutdown(self) -> None:
        """Stop serving. It may be run again, and remembers its clients. Awaitable."""
        self.underlying.shutdown()

    def dispatch_event(
        self,
        event_type: str,
        *args: Any,
        target_client: Any = "all",
        retries: int = 0,
        ack_callback: Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send an event to one client or to all.

        Args:
            event_type: links it to a handler.
            *args, **kwargs: arguments of the handler.
            target_client: a client's address, or `'all'`.
            retries: how often it is resent when it times out.
            ack_callback: called with the `ServerConnection` after that client received it.

        Raises:
            KeyError: no such client.
        """
        below = self.underlying.connections
        connections = self.connections  # those who are gone, too
        targets = (
            [target_client] if target_client != "all" else [each for each in below if each in connections]
        )

        def dispatch_to(address: Any, connection: Any) -> None:
            def again(retries: int) -> None:
                self.dispatch_event(
                    event_type,
                    *args,
                    target_client=address,
                    retries=retries,
                    ack_callback=ack_callback,
                    **kwargs,
                )

            connection.dispatch_event(
                Event(event_type, *args, **kwargs),
                None if ack_callback is None else lambda: ack_callback(connection),
                Resend(retries, again) if retries > 0 else None,
            )

        for address in targets:
            dispatch_to(address, connections[address])

    def register_event_handler(self, event_type: str, event_handler_function: Callable[..., Any]) -> None:
        """Let a function handle events of a type, called with `client_address` if it takes that.

        Raises:
            TypeError: not callable.
        """
        self._universal_event_handler.register_event_handler(event_type, event_handler_function)

    def handle_events_of(self, event_type: str, function: Callable[..., Any]) -> None:
        """A handler was registered."""
        handler = Handler(completed(function))

        def handle(*args: Any, client_address: Any, **kwargs: Any) -> Any:
            given = {"client_address": client_address}
            return handler(from_wire(list(args)), from_wire(kwargs), given)

        self.underlying.register_event_handler(event_type, handle)

    def _on_hello(self, client_address: Any) -> None:
        connection = self.connections.get(client_address)
        if isinstance(connection, ServerConnection):
            connection.is_of_stand_in = True

    def _wire_to(self, event_wire: Any) -> Any:
        self.game_state_store.sync()
        self._event_wire = event_wire
        if isinstance(event_wire, GameStateMachine):
            return event_wire.underlying
        return None if event_wire is None else _ForeignWire(event_wire)


class _ForeignWire:
    """A program's own event wire: `_push_event` takes PyGaSe's events, and may be a coroutine function."""

    def __init__(self, wire: Any) -> None:
        self._wire = wire

    def _wants_event(self, event_type: str) -> bool:
        return event_type != HELLO

    def _push_event(self, event: LibraryEvent) -> None:
        copied = Event(event.type)
        copied.handler_args = from_wire(event.handler_args)
        copied.handler_kwargs = from_wire(event.handler_kwargs)
        complete(self._wire._push_event(copied))
