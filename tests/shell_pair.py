"""Servers and clients on loopback that end with the test, for the tests of the shell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from pygase_gevent import Client, Config, GameState, GameStateStore, Server

QUICK = Config(close_linger_s=0.03)
"""A goodbye need not outlive losses here."""


class Party:
    """A server and as many clients as wanted."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def server(
        self,
        *,
        config: Config = QUICK,
        event_wire: Any = None,
        port: int = 0,
        run: bool = True,
        **keywords: Any,
    ) -> Server:
        """A server, running in its thread."""
        server = Server(GameStateStore(GameState(), config=config), config=config, **keywords)
        self._stack.callback(server.shutdown)
        if run:
            server.run_in_thread(event_wire=event_wire)
        return server

    def client(
        self,
        server: Server,
        *,
        config: Config = QUICK,
        wait: bool = True,
        cls: type[Client] = Client,
        **keywords: Any,
    ) -> Client:
        """A connected client."""
        client = cls(config=config, **keywords)
        assert server.port is not None
        self._stack.callback(client.disconnect)
        client.connect_in_thread(server.port)
        if wait:
            client.wait_connected(10.0)
        return client

    def at_end(self, function: Callable[[], object]) -> None:
        """Have something called when the test is over."""
        self._stack.callback(function)


@contextmanager
def party() -> Iterator[Party]:
    """As a fixture: everything in it has ended when the test is over."""
    with ExitStack() as stack:
        yield Party(stack)


def address_of(server: Server) -> tuple[str, int]:
    """The address of the only client."""
    (address,) = server.connections
    return address
