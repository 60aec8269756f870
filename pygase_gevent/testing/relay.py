"""A UDP relay that makes a good line bad: real datagrams over a `LinkModel` each way.

Clients connect to the relay's port instead of the server's. To the server each of them looks like a
client at an address of its own, as behind a router that translates addresses: one upstream socket
per client.
"""

from __future__ import annotations

import contextlib
import heapq
import ipaddress
import itertools
from typing import NamedTuple

from gevent.event import Event as GeventEvent

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, NotRunningError
from pygase_gevent.hub.bridge import Bridge
from pygase_gevent.hub.environment import Environment, current_environment
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.hub.udp import UdpSocket
from pygase_gevent.protocol.address import Address
from pygase_gevent.testing.link import PERFECT_LINE, LinkModel, LinkOptions, TwoWayLink


class Relay(TwoWayLink):
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
        environment = current_environment()
        self._target = environment.resolve(*target)[0]
        self._listen_on = environment.resolve(hostname, port)[0]
        super().__init__(up, down, seed)
        self._max_clients = max_clients
        self._max_queued = max_queued
        self._config = config if config is not None else Config()
        ready: Outcome[tuple[Bridge, _Carrier, GeventEvent]] = Outcome()
        self._thread = environment.start_thread(
            lambda: self._run(ready),
            name="pygase-relay",
            daemon=True,
            stop=self._stop,
            ready=ready,
            config=self._config,
        )
        self._bridge, self._carrier, self._stopping = ready.wait()
        self.port = self._carrier.port

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

    def close(self) -> None:
        """Ends the relay and its thread; whatever was under way is lost. Idempotent."""
        self._stop()
        self._thread.join()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Relay from port {self.port} to {self._target[0]}:{self._target[1]}>"

    def _stop(self) -> None:
        with contextlib.suppress(NotRunningError):
            self._bridge.post(self._stopping.set)

    def _run(self, ready: Outcome[tuple[Bridge, _Carrier, GeventEvent]]) -> None:
        # The relay's thread: everything in it that is gevent's is made and closed here.
        carrier = _Carrier(
            current_environment(),
            target=self._target,
            listen_on=self._listen_on,
            up=self._up,
            down=self._down,
            max_clients=self._max_clients,
            max_queued=self._max_queued,
            config=self._config,
        )
        bridge, stopping = Bridge(self._config), GeventEvent()
        ready.set_result((bridge, carrier, stopping))
        stopping.wait()
        bridge.close()
        carrier.close()


class _Flow:
    """One client's way through the relay."""

    def __init__(self, client: Address, upstream: UdpSocket) -> None:
        self.client = client
        self.upstream: UdpSocket | None = upstream


class _Delivery(NamedTuple):
    """A datagram under way. Sorted by time, then by the order of sending."""

    at: float
    number: int
    datagram: bytes
    flow: _Flow
    is_up: bool


class _Carrier:
    """What lives in the relay's hub: the sockets, the heap of datagrams under way, one timer."""

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
        self._flows: dict[Address, _Flow] = {}  # who was heard of last stands last
        self._under_way: list[_Delivery] = []
        self._numbers = itertools.count()
        self._listener = environment.open_udp(bind=listen_on, config=config)
        self._timer = environment.timer(self._deliver)
        self._is_open = True
        environment.spawn(self._receive_from_clients)

    @property
    def port(self) -> int:
        return self._listener.address[1]

    def client_addresses(self) -> dict[Address, Address]:
        flows = self._flows.values()
        return {flow.client: flow.upstream.address for flow in flows if flow.upstream is not None}

    def rebind(self, client: Address | None) -> None:
        if client is not None and client not in self._flows:
            raise ArgumentError(f"the relay carries no client {client!r}")
        for flow in [self._flows[client]] if client is not None else list(self._flows.values()):
            old, flow.upstream = flow.upstream, self._open_upstream()
            self._environment.spawn(self._receive_from_server, flow)
            if old is not None:
                old.close()

    def close(self) -> None:
        self._is_open = False
        self._timer.close()
        for flow in self._flows.values():
            self._close(flow)
        self._listener.close()

    def _receive_from_clients(self) -> None:
        config = self._config
        while self._listener.wait_readable():
            for datagram, client in self._listener.receive_batch(
                config.receive_batch, config.receive_batch_s
            ):
                self._send(datagram, self._flow_of(client), is_up=True)
            self._deliver()

    def _receive_from_server(self, flow: _Flow) -> None:
        config, upstream = self._config, flow.upstream
        while upstream is not None and upstream.wait_readable():
            for datagram, sender in upstream.receive_batch(config.receive_batch, config.receive_batch_s):
                if sender == self._target:
                    self._send(datagram, flow, is_up=False)
            self._deliver()

    def _send(self, datagram: bytes, flow: _Flow, *, is_up: bool) -> None:
        model = self._up if is_up else self._down
        for at, delivered in model.deliveries(datagram, self._environment.now()):
            if len(self._under_way) >= self._max_queued:
                model.counts["queue full"] += 1
                continue
            heapq.heappush(self._under_way, _Delivery(at, next(self._numbers), delivered, flow, is_up))

    def _deliver(self) -> None:
        """Delivers what is due and sets the timer to what is due next."""
        if not self._is_open:
            return
        now = self._environment.now()
        while self._under_way and self._under_way[0].at <= now:
            delivery = heapq.heappop(self._under_way)
            flow = delivery.flow
            if not delivery.is_up:
                self._listener.send_all([(delivery.datagram, flow.client)])
            elif flow.upstream is not None:
                flow.upstream.send_all([(delivery.datagram, self._target)])
        if self._under_way:
            self._timer.start(self._under_way[0].at - now)

    def _flow_of(self, client: Address) -> _Flow:
        flow = self._flows.pop(client, None)
        if flow is None:
            if len(self._flows) >= self._max_clients:
                self._close(self._flows.pop(next(iter(self._flows))))
            flow = _Flow(client, self._open_upstream())
            self._environment.spawn(self._receive_from_server, flow)
        self._flows[client] = flow
        return flow

    def _open_upstream(self) -> UdpSocket:
        # On the loopback a socket bound to it knows its own address; elsewhere the route decides.
        host, any_host = ("::1", "::") if ":" in self._target[0] else ("127.0.0.1", "0.0.0.0")
        is_local = ipaddress.ip_address(self._target[0]).is_loopback
        return self._environment.open_udp(bind=(host if is_local else any_host, 0), config=self._config)

    def _close(self, flow: _Flow) -> None:
        if flow.upstream is not None:
            flow.upstream.close()
            flow.upstream = None
