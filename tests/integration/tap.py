"""A line between one client and a server on which somebody listens, and talks."""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Callable

HOST = "127.0.0.1"
KEPT = 2000
"""Datagrams of each direction that are written down: the first of a connection, which say the most."""


class Tap:
    """Forwards one client's datagrams, both ways and unchanged, and writes them down.

    Attributes:
        port: for the client to connect to.
        to_server, to_client: the datagrams that passed, the first ones first.
        forge_ahead: assign a function that makes forged datagrams of a real one: they arrive before it.
        forged_to_server, forged_to_client: how many of those there were.
    """

    def __init__(self, server_port: int) -> None:
        self.to_server: deque[bytes] = deque()
        self.to_client: deque[bytes] = deque()
        self.forge_ahead: Callable[[bytes], list[bytes]] = lambda datagram: []
        self.forged_to_server = 0
        self.forged_to_client = 0
        self._server = (HOST, server_port)
        self._outside = _socket()
        self._inside = _socket()
        self._stop, self._stopped = socket.socketpair()
        self._client: tuple[str, int] | None = None
        self.port: int = self._outside.getsockname()[1]
        self._thread = threading.Thread(target=self._forward)
        self._thread.start()

    def send_to_server(self, datagram: bytes) -> None:
        """As if it came from the client's own address."""
        self._inside.sendto(datagram, self._server)

    def send_to_client(self, datagram: bytes) -> None:
        """As if it came from the server's own address."""
        assert self._client is not None
        self._outside.sendto(datagram, self._client)

    @property
    def client_port(self) -> int:
        """Where the client may be found."""
        assert self._client is not None
        return self._client[1]

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.close()
        self._thread.join()
        for each in (self._outside, self._inside, self._stopped):
            each.close()

    def _forward(self) -> None:
        sources = [self._outside, self._inside, self._stopped]
        while True:
            readable, _, _ = select.select(sources, [], [])
            if self._stopped in readable:
                return
            if self._outside in readable:
                datagram, self._client = self._outside.recvfrom(2048)
                _keep(self.to_server, datagram)
                for forged in self.forge_ahead(datagram):
                    self.forged_to_server += 1
                    self.send_to_server(forged)
                self.send_to_server(datagram)
            if self._inside in readable:
                datagram, sender = self._inside.recvfrom(2048)
                if sender == self._server and self._client is not None:
                    _keep(self.to_client, datagram)
                    for forged in self.forge_ahead(datagram):
                        self.forged_to_client += 1
                        self.send_to_client(forged)
                    self.send_to_client(datagram)


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    made.bind((HOST, 0))
    return made


def _keep(datagrams: deque[bytes], datagram: bytes) -> None:
    if len(datagrams) < KEPT:
        datagrams.append(datagram)
