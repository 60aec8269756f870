"""Sockets and lines of a virtual world: datagrams in memory, each under way for as long as its line says.

Everybody is on one host. Between two sockets the line is perfect; a `VirtualLink` is a way round, with a
port of its own, that is as bad as asked for.
"""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import gevent
from gevent.event import Event

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError
from pygase_gevent.hub.udp import UdpSocket
from pygase_gevent.protocol.address import Address
from pygase_gevent.testing.link import PERFECT_LINE, LinkOptions, TwoWayLink
from pygase_gevent.testing.virtual.loop import VirtualLoop

LOOPBACK_DELAY_S = 50e-6
"""How long a datagram is under way without a link: what a kernel's loopback takes."""
MAX_UNDER_WAY = 65_536
"""Datagrams under way at once; beyond, they are dropped, as in a router whose queue is full."""
_FIRST_EPHEMERAL_PORT = 49_152
_DIGEST_HEAD = struct.Struct("<dHHI")
_WILDCARDS = ("0.0.0.0", "::")

Receive = Callable[[bytes, Address], None]
"""What a port does with a datagram and the address that it came from."""


class VirtualWires:
    """All ports of the virtual host, and the datagrams under way.

    Args:
        loop: whose time it is.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self.counts: Counter[str] = Counter()
        """Datagrams `"sent"`, and `"nobody"` for those to a port where nobody listens, `"queue full"`."""
        self._loop = loop
        self._ports: dict[tuple[bool, int], _Port] = {}  # by (whether IPv6, port)
        self._last_port = _FIRST_EPHEMERAL_PORT - 1
        self._under_way = 0
        self._digest = hashlib.blake2b(digest_size=16)

    @property
    def fingerprint(self) -> str:
        """A hash of every datagram sent so far: when, from which port, to which port, and its bytes."""
        return self._digest.hexdigest()

    def open_udp(self, *, bind: Address | None, family: int | None, config: Config) -> UdpSocket:
        """A socket on the virtual host."""
        any_host = "::" if family == socket.AF_INET6 else "0.0.0.0"
        host, port = bind if bind is not None else (any_host, 0)
        return VirtualSocket(self, self.resolve(host, port)[0], config)

    def resolve(self, hostname: str, port: int) -> list[Address]:
        """`localhost`, the empty name and IP addresses; there are no other names here.

        Raises:
            OSError: another name.
        """
        if hostname == "localhost":
            return [("127.0.0.1", port), ("::1", port)]
        if not hostname:
            return [("0.0.0.0", port)]
        try:
            return [(str(ipaddress.ip_address(hostname)), port)]
        except ValueError:
            raise OSError(
                None, f"cannot find the host {hostname!r}: the virtual network has no names"
            ) from None

    def open_port(self, address: Address, receive: Receive, *, delay_s: float = LOOPBACK_DELAY_S) -> Address:
        """Has `receive` called with what arrives at an address.

        Args:
            address: where; port 0 takes a free one.
            receive: called in the hub; with a delay of 0 at once, where the datagram is sent.
            delay_s: how long datagrams that are sent there are under way.

        Returns:
            The address with its port.

        Raises:
            OSError: the port is taken.
        """
        host, port = address
        is_ipv6 = ":" in host
        if port == 0:
            port = self._last_port + 1
            while (is_ipv6, port) in self._ports:
                port += 1
            self._last_port = port if port < 65_535 else _FIRST_EPHEMERAL_PORT - 1
        elif (is_ipv6, port) in self._ports or (host == "::" and (False, port) in self._ports):
            raise OSError(
                errno.EADDRINUSE, f"cannot listen on UDP {host} port {port}: Address already in use"
            )
        opened = _Port(host, receive, delay_s)
        self._ports[is_ipv6, port] = opened
        if host == "::":  # serves IPv4 too
            self._ports[False, port] = opened
        return host, port

    def close_port(self, address: Address, receive: Receive) -> None:
        """What arrives there from now on is lost."""
        for key in ((True, address[1]), (False, address[1])):
            port = self._ports.get(key)
            if port is not None and port.receive == receive:
                del self._ports[key]

    def send(self, data: bytes, source: Address, destination: Address) -> None:
        """Puts a datagram on the wire; a wildcard host in `source` becomes the loopback's."""
        if source[0] in _WILDCARDS:
            source = ("::1" if ":" in destination[0] else "127.0.0.1"), source[1]
        loop = self._loop
        self.counts["sent"] += 1
        now = loop.now()
        self._digest.update(_DIGEST_HEAD.pack(now, source[1], destination[1], len(data)) + data)
        port = self._port_at(destination)
        if port is not None and port.delay_s == 0:
            port.receive(data, source)
        else:
            self.deliver(data, source, destination, now + LOOPBACK_DELAY_S)

    def deliver(self, data: bytes, source: Address, destination: Address, at: float) -> bool:
        """Lets a datagram arrive at a time; whether there was room for it on the way."""
        if self._under_way >= MAX_UNDER_WAY:
            self.counts["queue full"] += 1
            return False
        self._under_way += 1
        self._loop.call_at(at, self._arrive, data, source, destination)
        return True

    def _arrive(self, data: bytes, source: Address, destination: Address) -> None:
        self._under_way -= 1
        port = self._port_at(destination)
        if port is None:
            self.counts["nobody"] += 1
        else:
            port.receive(data, source)

    def _port_at(self, address: Address) -> _Port | None:
        host, number = address
        port = self._ports.get((":" in host, number))
        return port if port is not None and port.host in (host, *_WILDCARDS) else None

    def now(self) -> float:
        """Seconds of the virtual clock."""
        return self._loop.now()


class _Port(NamedTuple):
    """Who listens at a port."""

    host: str
    receive: Receive
    delay_s: float


class VirtualSocket(UdpSocket):
    """What `UdpSocket` is to the kernel, in memory."""

    def __init__(self, wires: VirtualWires, bind: Address, config: Config) -> None:
        self.errors = Counter()
        self.is_closed = False
        self.family = socket.AF_INET6 if ":" in bind[0] else socket.AF_INET
        self._wires = wires
        self._limit_bytes = config.socket_buffer_bytes
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._queued_bytes = 0
        self._readable = Event()
        self.address = wires.open_port(bind, self._arrived)

    def receive_batch(self, limit: int, limit_s: float) -> list[tuple[bytes, Address]]:
        batch = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
        self._queued_bytes -= sum(len(data) for data, _ in batch)
        return batch

    def wait_readable(self) -> bool:
        if self.is_closed:
            return False
        if self._queue:
            gevent.sleep(0)  # others have their turn, as they have where the kernel is asked
        else:
            self._readable.clear()
            self._readable.wait()
        return not self.is_closed

    def send_all(self, datagrams: Iterable[tuple[bytes, Address]]) -> int:
        sent = 0
        for data, address in datagrams:
            if self.is_closed:
                break
            self._wires.send(data, self.address, address)
            sent += 1
        return sent

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._wires.close_port(self.address, self._arrived)
            self._queue.clear()
            self._readable.set()

    def after_fork(self) -> None:
        self.is_closed = True

    def _arrived(self, data: bytes, source: Address) -> None:
        if self._queued_bytes + len(data) > self._limit_bytes:
            self.errors["ENOBUFS"] += 1
            return
        self._queue.append((data, source))
        self._queued_bytes += len(data)
        self._readable.set()


class VirtualLink(TwoWayLink):
    """A bad line to a server, as a `Relay` makes one out of a real line.

    Clients connect to its port instead of the server's. To the server each of them looks like a client
    with a port of its own, as behind a router that translates addresses.

    Args:
        wires: the virtual host.
        target: the server's address.
        up: the line from the clients to the server.
        down: the line back; as `up` if not given.
        seed: of the randomness of both directions.

    Attributes:
        address, port: where to connect instead.
    """

    def __init__(
        self,
        wires: VirtualWires,
        target: Address,
        *,
        up: LinkOptions = PERFECT_LINE,
        down: LinkOptions | None = None,
        seed: int = 0,
    ) -> None:
        self._wires = wires
        self._target = target
        super().__init__(up, down, seed)
        self._upstreams: dict[Address, _Upstream] = {}
        host = "::1" if ":" in target[0] else "127.0.0.1"
        self.address = wires.open_port((host, 0), self._receive, delay_s=0)
        self.port = self.address[1]

    def rebind(self, client: Address | None = None) -> None:
        """Gives a client, or every client, a new port toward the server, as a router does that restarts.

        Args:
            client: its own address, as in `clients`.

        Raises:
            ArgumentError: no such client came here.
        """
        if client is not None and client not in self._upstreams:
            raise ArgumentError(f"the link carries no client {client!r}")
        for address in [client] if client is not None else list(self._upstreams):
            self._upstreams[address].close()
            self._upstreams[address] = _Upstream(self._wires, address, self._carry_down)

    @property
    def clients(self) -> dict[Address, Address]:
        """Each client's own address, and the address that the server sees for it."""
        return {client: upstream.address for client, upstream in self._upstreams.items()}

    def __repr__(self) -> str:
        return f"<VirtualLink from port {self.port} to {self._target[0]}:{self._target[1]}>"

    def _receive(self, data: bytes, client: Address) -> None:
        upstream = self._upstreams.get(client)
        if upstream is None:
            upstream = self._upstreams[client] = _Upstream(self._wires, client, self._carry_down)
        for at, delivered in self._up.deliveries(data, self._wires.now()):
            self._wires.deliver(delivered, upstream.address, self._target, at)

    def _carry_down(self, data: bytes, client: Address) -> None:
        for at, delivered in self._down.deliveries(data, self._wires.now()):
            self._wires.deliver(delivered, self.address, client, at)


class _Upstream:
    """One client's port toward the server."""

    def __init__(self, wires: VirtualWires, client: Address, carry_down: Receive) -> None:
        self._wires = wires
        self._client = client
        self._carry_down = carry_down
        host = "::1" if ":" in client[0] else "127.0.0.1"
        self.address = wires.open_port((host, 0), self._receive, delay_s=0)

    def close(self) -> None:
        self._wires.close_port(self.address, self._receive)

    def _receive(self, data: bytes, source: Address) -> None:
        self._carry_down(data, self._client)
