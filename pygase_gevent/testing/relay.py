"""A UDP relay that makes a good line bad: real datagrams over a `LinkModel` each way.

Clients connect to the relay's port instead of the server's. To the server each of them looks like a
client at an address of its own, as behind a router that translates addresses: one upstream socket
per client.
"""

from __future__ import annotations

import heapq
import ipaddress
import itertools
from collections import Counter
from typing import NamedTuple

from gevent.event import Event as GeventEvent

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError
from pygase_gevent.hub.bridge import Bridge, Signal
from pygase_gevent.hub.environment import Environment, current_environment
from pygase_gevent.hub.udp import UdpSocket, resolve
from pygase_gevent.testing.link import PERFECT_LINE, LinkModel, LinkOptions

Address = tuple[str, int]


class Relay:
    """Forwards UDP between clients and one server over a line as bad as asked for.

    It runs in a native thread of its own from construction to `close`, and every method may be called
    from any thread or greenlet. The same seed gives the same line to the same datagrams.

    Args:
        target: host and port of the server.
        up: the line from the clients to the server.
        down: the line back; as `up` if not given.
        seed: of the randomness of both directions.
        port: UDP port to listen on; 0 takes a free one.
        hostname: address to listen on.
        max_clients: clients carried at once (each takes a socket); one more takes the place of the
            one that was silent for longest.
        max_queued: datagrams under way at once; beyond, they are dropped and counted, as in a router
            whose queue is full.
        config: batch and buffer sizes.

    Attributes:
        port: the port to connect to instead of the server's.

    Example:
        >>> with Relay(("localhost", server.port), up=LinkOptions(loss=0.2, delay_s=0.05)) as relay:
        ...     client.connect_in_thread(relay.port)
        ...     relay.partition()      # nothing passes
        ...     relay.heal()
        ...     relay.rebind()         # every client gets a new source port, as from a router

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self,
        target: Address,
        *,
        up: LinkOptions = PERFECT_LINE,
        down: LinkOptions | None = None,
        seed: int = 0,
        port: int = 0,
        hostname: str = "127.0.0.1",
        max_clients: int = 256,
        max_queued: int = 65_536,
        config: Config | None = None,
    ) -> None:
        self.port = 0
        self._target = resolve(*target)[0]
        self._listen_on = resolve(hostname, port)[0]
        self._up = LinkModel(up, rng=2 * seed)
        self._down = LinkModel(up if down is None else down, rng=2 * seed + 1)
        self._max_clients = max_clients
        self._max_queued = max_queued
        self._config = config if config is not None else Config()
        self._is_started = False
        self._is_closed = False
        self._error: OSError | None = None
        self._started = Signal()
        self._thread = current_environment().start_thread(self._run, "pygase-relay", True)
        self._started.wait_for(lambda: self._is_started, None)
        if self._error is not None:
            raise self._error

    def set_link(self, *, up: LinkOptions | None = None, down: LinkOptions | None = None) -> None:
        """Changes one direction or both from now on; what is under way arrives as it was sent."""
        if up is not None:
            self._up.options = up
        if down is not None:
            self._down.options = down

    def partition(self, *, up: bool = True, down: bool = True) -> None:
        """Cuts the named directions, and opens the other, until `heal`."""
        self._up.is_cut, self._down.is_cut = up, down

    def heal(self) -> None:
        """Ends a partition."""
        self.partition(up=False, down=False)

    def rebind(self, client: Address | None = None) -> None:
        """Gives a client, or every client, a new source port toward the server.

        What the server still sends to the old port is lost, as with a router that forgot its mapping.

        Args:
            client: its own address, as in `clients`.

        Raises:
            ArgumentError: the relay carries no such client.
        """
        self._bridge.call(self._carrier.rebind, client)

    @property
    def clients(self) -> dict[Address, Address]:
        """Each client's own address, and the address that the server sees for it."""
        addresses: dict[Address, Address] = self._bridge.call(self._carrier.client_addresses)
        return addresses

    @property
    def up_counts(self) -> Counter[str]:
        """What became of the clients' datagrams: see `LinkModel.counts`; also `"queue full"`."""
        return Counter(self._up.counts)

    @property
    def down_counts(self) -> Counter[str]:
        """What became of the server's datagrams."""
        return Counter(self._down.counts)

    def close(self) -> None:
        """Ends the relay and its thread; whatever was under way is lost. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._bridge.post(self._stopping.set)
        self._thread.join()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Relay from port {self.port} to {self._target[0]}:{self._target[1]}>"

    def _run(self) -> None:
        # The relay's thread: everything in it that is gevent's is made and closed here.
        try:
            self._carrier = _Carrier(
                current_environment(),
                target=self._target,
                listen_on=self._listen_on,
                up=self._up,
                down=self._down,
                max_clients=self._max_clients,
                max_queued=self._max_queued,
                config=self._config,
            )
        except OSError as error:
            self._error = error
        else:
            self._bridge = Bridge(self._config)
            self._stopping = GeventEvent()
            self.port = self._carrier.port
        self._is_started = True
        self._started.notify()
        if self._error is None:
            self._stopping.wait()
            self._bridge.close()
            self._carrier.close()


class _Delivery(NamedTuple):
    """A datagram under way. Sorted by time, then by the order of sending."""

    at: float
    number: int
    datagram: bytes
    flow: _Flow
    is_up: bool


class _Flow:
    """One client's way through the relay."""

    def __init__(self, client: Address, upstream: UdpSocket) -> None:
        self.client = client
        self.upstream = upstream
        self.is_open = True


class _Carrier:
    """What lives in the relay's hub: sockets, the heap of datagrams under way, one timer."""

    def __init__(
        self,
        environment: Environment,
        *,
        target: Address,
        listen_on: Address,
        up: LinkModel,
        down: LinkModel,
        max_clients: int,
        max_queued: int,
        config: Config,
    ) -> None:
        self._environment = environment
        self._target = target
        self._up = up
        self._down = down
        self._max_clients = max_clients
        self._max_queued = max_queued
        self._config = config
        self._flows: dict[Address, _Flow] = {}  # the most recently heard of last
        self._under_way: list[_Delivery] = []
        self._numbers = itertools.count()
        self._is_ipv6 = ":" in target[0]
        self._listener = environment.open_udp(bind=listen_on, config=config)
        self._timer = environment.timer(self._deliver)
        self._readers = [environment.spawn(self._receive_from_clients)]

    @property
    def port(self) -> int:
        return self._listener.address[1]

    def client_addresses(self) -> dict[Address, Address]:
        return {client: flow.upstream.address for client, flow in self._flows.items()}

    def rebind(self, client: Address | None) -> None:
        if client is not None and client not in self._flows:
            raise ArgumentError(f"the relay carries no client {client!r}")
        for flow in [self._flows[client]] if client is not None else list(self._flows.values()):
            old = flow.upstream
            flow.upstream = self._open_upstream()
            self._environment.spawn(self._receive_from_server, flow, flow.upstream)
            old.close()

    def close(self) -> None:
        self._timer.close()
        for flow in self._flows.values():
            flow.upstream.close()
        self._listener.close()

    def _receive_from_clients(self) -> None:
        while self._listener.wait_readable():
            for datagram, client in self._listener.receive_batch(*self._batch):
                self._send(self._flow_of(client), datagram, is_up=True)
            self._deliver()

    def _receive_from_server(self, flow: _Flow, upstream: UdpSocket) -> None:
        while upstream.wait_readable():
            for datagram, address in upstream.receive_batch(*self._batch):
                if address == self._target:
                    self._send(flow, datagram, is_up=False)
            self._deliver()
