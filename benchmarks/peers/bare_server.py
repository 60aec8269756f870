"""What Python and gevent could do at all: the game's traffic, every packet under ChaCha20-Poly1305.

No handshake worth the name, no acknowledgements, no events but inputs, nothing sent again, one encoding of
the state's changes for all clients. A client says hello with its two keys, in clear text.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import struct
import time
from typing import Any

import gevent
import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from gevent.socket import socket as gevent_socket

from benchmarks.peers import game

HELLO = b"HELLO"
KEY_BYTES = 32
BUFFER_BYTES = 4 * 1024 * 1024
DRAIN_S = 0.001
SENDS_BETWEEN_DRAINS = 32
"""While a state leaves inputs keep coming, and the kernel's buffer holds a few hundred."""

_nonce = struct.Struct("<4xQ").pack
_pack_sequence = struct.Struct("<Q").pack
_unpack_sequence = struct.Struct("<Q").unpack_from


class Server:
    def __init__(self, port: int) -> None:
        self._clients: dict[Any, list[Any]] = {}
        self._referee = game.Referee()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        self._socket.bind(("127.0.0.1", port))
        self._receive_from = self._socket.recvfrom
        self.port: int = self._socket.getsockname()[1]

    def run(self) -> None:
        self._referee.ready(self.port)
        gevent.spawn(self._play)
        gevent.spawn(self._receive)
        gevent.get_hub().threadpool.spawn(self._referee.serve).get()

    def _receive(self) -> None:
        """Drained by timer: a wake-up for each datagram would cost several times what it carries."""
        while True:
            gevent.sleep(DRAIN_S)
            self._drain()

    def _drain(self) -> None:
        receive, clients = self._receive_from, self._clients
        take, unpack = self._take, msgpack.unpackb
        while True:
            try:
                data, address = receive(2048)
            except BlockingIOError:
                return
            client = clients.get(address)
            if client is None:
                self._hello(data, address)
                continue
            try:
                body = client[0](_nonce(_unpack_sequence(data)[0]), data[8:], None)
            except InvalidTag:
                continue
            take(address, *unpack(body)[1])

    def _take(self, address: Any, number: int, x: int, y: int) -> None:
        self._referee.inputs[address] += 1

    def _hello(self, data: bytes, address: Any) -> None:
        if data[:5] == HELLO and len(data) == 5 + 2 * KEY_BYTES:
            opens, seals = data[5 : 5 + KEY_BYTES], data[5 + KEY_BYTES :]
            self._clients[address] = [ChaCha20Poly1305(opens).decrypt, ChaCha20Poly1305(seals).encrypt, 0]

    def _play(self) -> None:
        next_at, tick, send = time.monotonic(), 0, self._socket.sendto
        while True:
            next_at += 1 / game.HZ
            gevent.sleep(max(0.0, next_at - time.monotonic()))
            tick += 1
            body = msgpack.packb({"entities": game.moved(tick), "stamp": game.stamp_us()})
            for number, (address, client) in enumerate(list(self._clients.items())):
                sequence = client[2]
                client[2] = sequence + 1
                sealed = client[1](_nonce(sequence), body, None)
                with contextlib.suppress(OSError):  # lost, as in any network
                    send(_pack_sequence(sequence) + sealed, address)
                if number % SENDS_BETWEEN_DRAINS == 0:
                    self._drain()


def echo(port: int) -> None:
    """The raw echo of W2: as gevent's own examples have it."""
    listener = gevent_socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", port))
    referee = game.Referee()
    referee.ready(listener.getsockname()[1])
    threadpool = gevent.get_hub().threadpool
    threadpool.spawn(referee.serve)
    while True:
        data, address = listener.recvfrom(2048)
        listener.sendto(data, address)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--echo", action="store_true", help="send every datagram back instead")
    options = parser.parse_args()
    if options.echo:
        echo(options.port)
    else:
        Server(options.port).run()


if __name__ == "__main__":
    main()
