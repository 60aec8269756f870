"""Servers, backends and clients that end with the test that made them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pygase_gevent import Backend, Client, GameState, GameStateStore, Server

from .helpers import FAST, NativeThread


class Net:
    """Makes servers, backends and clients on loopback, and ends them all."""

    def __init__(self) -> None:
        self._clients: list[tuple[Client, threading.Thread]] = []
        self._ends: list[Callable[[], object]] = []

    def server(self, state: GameState | None = None, **keywords: Any) -> Server:
        """A server that runs in a thread of its own."""
        server = self.idle_server(state, **keywords)
        server.run_in_thread()
        return server

    def idle_server(self, state: GameState | None = None, **keywords: Any) -> Server:
        """A server that does not run yet."""
        keywords.setdefault("config", FAST)
        server = Server(GameStateStore(state), **keywords)
        self._ends.append(server.shutdown)
        return server

    def backend(
        self,
        state: GameState | None = None,
        time_step: Callable[..., dict[str, Any]] | None = None,
        event_handlers: dict[str, Callable[..., Any]] | None = None,
        **keywords: Any,
    ) -> Backend:
        """A backend that runs in a thread of its own."""
        keywords.setdefault("config", FAST)
        backend = Backend(
            state if state is not None else GameState(),
            time_step if time_step is not None else lambda game_state, dt: {},
            event_handlers,
            **keywords,
        )
        self._ends.append(backend.shutdown)
        backend.run_in_thread("localhost", 0)
        return backend

    def client(
        self, server: Server | int, hostname: str = "localhost", *, wait: bool = True, **keywords: Any
    ) -> Client:
        """A client whose connection stands, unless told not to wait for it."""
        keywords.setdefault("config", FAST)
        return self.connect(Client(**keywords), server, hostname, wait=wait)

    def connect(
        self,
        client: Client,
        server: Server | int,
        hostname: str = "localhost",
        *,
        token: bytes | None = None,
        wait: bool = True,
    ) -> Client:
        """Connects a client that was made before."""
        port = server if isinstance(server, int) else server.port
        thread = client.connect_in_thread(port, hostname, token=token)
        self._clients.append((client, thread))
        if wait:
            client.wait_connected(5.0)
        return client

    def at_end(self, function: Callable[[], object]) -> None:
        """Something else to be ended."""
        self._ends.append(function)

    def close(self) -> None:
        """Ends everything, clients first: all of them at once, since a goodbye takes its time."""
        goodbyes = [NativeThread(client.disconnect) for client, _ in self._clients[1:]]
        for client, _ in self._clients[:1]:
            client.disconnect()
        for goodbye in goodbyes:
            goodbye.wait()
        for end in reversed(self._ends):
            end()
        for _, thread in self._clients:
            thread.join(5.0)
            assert not thread.is_alive()


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net()
    try:
        yield made
    finally:
        made.close()
