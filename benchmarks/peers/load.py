"""A load generator in Python, for peers that are the bottleneck themselves: one socket per client, one loop.

Says the same lines as the one in C.
"""

from __future__ import annotations

import argparse
import selectors
import socket
import time

from benchmarks.peers import game

STEP_S = 0.001
CONNECT_LIMIT_S = 60.0
HELLO_INTERVAL_S = 0.25


class Client:
    """One virtual client; subclasses know its wire.

    Attributes:
        is_connected: the server has answered.
        states, stamp: how many it got, and the clock in the newest.
    """

    is_connected = False
    states = 0
    stamp = 0
    inputs = 0
    bytes_in = bytes_out = packets_in = packets_out = 0
    next_at = 0.0

    def hello(self) -> bytes:
        """The first datagram, sent again until there is an answer."""
        raise NotImplementedError

    def input(self, number: int) -> bytes:
        """A datagram with an input."""
        raise NotImplementedError

    def receive(self, data: bytes) -> None:
        """A datagram came."""
        raise NotImplementedError


class Load:
    """The clients, and the loop that plays them."""

    def __init__(self, kind: type[Client], options: argparse.Namespace, hz: float) -> None:
        self._interval_s = 1 / hz
        self._options = options
        self._selector = selectors.EpollSelector()
        self._staleness: list[float] = []
        self._is_measuring = False
        self.clients = [kind() for _ in range(options.clients)]
        self._sockets: dict[Client, socket.socket] = {}
        now = time.monotonic()
        for number, client in enumerate(self.clients):
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.setblocking(False)
            opened.connect(("127.0.0.1", options.port))
            self._selector.register(opened, selectors.EVENT_READ, client)
            self._sockets[client] = opened
            client.next_at = now + number / options.connect_rate

    def play(self, seconds: float, *, until_connected: bool = False) -> None:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for key, _ in self._selector.select(0):
                self._receive(key.data, key.fileobj)
            for client in self.clients:
                if now >= client.next_at:
                    self._send(client, now)
            if until_connected and self.connected == len(self.clients):
                return
            time.sleep(max(0.0, STEP_S - (time.monotonic() - now)))

    @property
    def connected(self) -> int:
        return sum(client.is_connected for client in self.clients)

    def measure(self, seconds: float) -> dict[str, object]:
        before = [dict(vars(client)) for client in self.clients]
        cpu, begun = time.process_time(), time.monotonic()
        self._is_measuring = True
        self.play(seconds)
        self._is_measuring = False
        took_s, cpu = time.monotonic() - begun, time.process_time() - cpu
        per = took_s * len(self.clients)

        def each(name: str) -> list[float]:
            return [getattr(c, name) - b.get(name, 0) for c, b in zip(self.clients, before, strict=True)]

        rates = sorted(count / took_s for count in each("states"))
        return {
            "phase": "done",
            "clients": len(self.clients),
            "connected": self.connected,
            "took_s": took_s,
            "cpu": cpu / took_s,
            "states_hz_min": rates[0],
            "states_hz_p50": rates[len(rates) // 2],
            "inputs_hz": sum(each("inputs")) / per,
            "staleness_ms": game.percentiles(self._staleness),
            "bytes_down": sum(each("bytes_in")) / per,
            "bytes_up": sum(each("bytes_out")) / per,
            "packets_down": sum(each("packets_in")) / per,
            "packets_up": sum(each("packets_out")) / per,
            "late_ms_p99": 0.0,
        }

    def _send(self, client: Client, now: float) -> None:
        if client.is_connected:
            data = client.input(client.inputs)
            client.inputs += 1
            client.next_at = max(client.next_at + self._interval_s, now - self._interval_s)
            if self._is_measuring and client.stamp:
                self._staleness.append((game.stamp_us() - client.stamp) / 1000)
        else:
            data = client.hello()
            client.next_at = now + HELLO_INTERVAL_S
        try:
            self._sockets[client].send(data)
        except OSError:
            return
        client.packets_out += 1
        client.bytes_out += len(data)

    def _receive(self, client: Client, opened: object) -> None:
        assert isinstance(opened, socket.socket)
        while True:
            try:
                data = opened.recv(65536)
            except OSError:
                return
            client.packets_in += 1
            client.bytes_in += len(data)
            client.receive(data)


def main(kind: type[Client], hz: float) -> None:
    """The command line of a generator of such clients."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--connect-rate", type=float, default=200.0)
    parser.add_argument("--settle", type=float, default=1.0)
    parser.add_argument("--measure", type=float, default=3.0)
    options = parser.parse_args()
    load = Load(kind, options, hz)
    load.play(CONNECT_LIMIT_S, until_connected=True)
    game.say({"phase": "connected", "connected": load.connected})
    load.play(options.settle)
    game.say({"phase": "measuring", "connected": load.connected})
    game.say(load.measure(options.measure))
