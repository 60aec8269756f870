"""A server core and client cores in virtual time, with a seeded link between them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.client_core import ClientCore
from pygase_gevent.protocol.client_events import ClientEvent, Closed
from pygase_gevent.protocol.identity import protocol_id_of
from pygase_gevent.protocol.server_core import ServerCore
from pygase_gevent.protocol.server_peer import CoreEvent, ServerPeer
from pygase_gevent.protocol.session import MessageKind, StateReceived

SERVER_ADDRESS = ("10.0.0.1", 8080)
KEY = bytes(range(32))
UNIX_EPOCH = 1_700_000_000


@dataclass
class Link:
    """What happens to a datagram; `None` arrives never."""

    loss: float = 0.0
    delay_s: float = 0.01
    jitter_s: float = 0.0
    is_cut: bool = False


@dataclass
class VirtualClient:
    core: ClientCore
    address: Address
    socket_generation: int = 0
    is_dead: bool = False
    events: list[ClientEvent] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    """Every datagram that left."""

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events if not isinstance(event, StateReceived)]


class World:
    """One server, any number of clients, one clock."""

    def __init__(
        self, seed: int = 1, *, key: bytes = KEY, config: Config | None = None, link: Link | None = None
    ):
        self.now = 1000.0
        self.random = random.Random(seed)
        self.config = config or Config()
        self.link = link or Link()
        self.key = key
        self.clients: list[VirtualClient] = []
        self.server_events: list[CoreEvent] = []
        self.server_received: dict[Address, list[bytes]] = {}
        self.on_step: list[Callable[[], None]] = []
        self.server_is_running = False
        self._heap: list[tuple[float, int, bytes, Address, Address]] = []
        self._count = 0
        self._next_port = 50_000
        self.server = self._new_server()

    # --- the server -----------------------------------------------------------------------------

    def _new_server(self) -> ServerCore:
        return ServerCore(
            config=self.config,
            protocol_id=protocol_id_of("test"),
            private_key=self.key,
            entropy=self.random.randbytes,
            now=self.now,
        )

    def start_server(self) -> None:
        self.server.start(SERVER_ADDRESS, self.now)
        self.server_is_running = True

    def stop_server(self) -> None:
        for _ in range(3):
            self.server.announce_stop(self.now)
            self._collect_server()
        self.server.stop(self.now)
        self.server_is_running = False

    def kill_server(self) -> None:
        """A new process takes its place; nobody is told."""
        self.server_is_running = False
        self.server = self._new_server()

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.server_events]

    def peer(self, client: VirtualClient) -> ServerPeer:
        return self.server.sessions[client.core.session_id]

    def send_to(self, peer: ServerPeer, body: bytes, delivery: Delivery = Delivery.RELIABLE_ORDERED) -> None:
        peer.session.send_message(
            body, delivery=delivery, stream="S", retries=0, kind=MessageKind.EVENT, token=None, now=self.now
        )
        if self.server_is_running:
            self.server.flush(peer, self.now)
            self._collect_server()

    # --- clients --------------------------------------------------------------------------------

    def add_client(
        self,
        *,
        key: bytes | None = None,
        token: bytes | None = None,
        config: Config | None = None,
        port: int = 0,
    ) -> VirtualClient:
        core = ClientCore(
            config=config or self.config,
            protocol_id=protocol_id_of("test"),
            private_key=self.key if key is None else key,
            entropy=self.random.randbytes,
            now=self.now,
        )
        client = VirtualClient(core, self._new_address(port))
        self.clients.append(client)
        core.connect([SERVER_ADDRESS], token, self.now, self.unix_time)
        self._collect_client(client)
        return client

    def send_from(
        self, client: VirtualClient, body: bytes, delivery: Delivery = Delivery.RELIABLE_ORDERED
    ) -> None:
        client.core.session.send_message(
            body, delivery=delivery, stream="C", retries=0, kind=MessageKind.EVENT, token=None, now=self.now
        )
        client.core.flush(self.now)
        self._collect_client(client)

    def disconnect(self, client: VirtualClient, *, shutdown_server: bool = False) -> None:
        client.core.disconnect(self.now, shutdown_server=shutdown_server)
        self._collect_client(client)

    def rebind(self, client: VirtualClient) -> None:
        """A NAT gives the client another port; the old one leads nowhere."""
        client.address = self._new_address()

    # --- time -----------------------------------------------------------------------------------

    @property
    def unix_time(self) -> int:
        return UNIX_EPOCH + int(self.now)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Advance the clock; true when `until` came to hold."""
        end = self.now + seconds
        while self.now < end:
            if until is not None and until():
                return True
            self._step(end)
        return until is not None and until()

    def _step(self, end: float) -> None:
        due = [end]
        if self._heap:
            due.append(self._heap[0][0])
        if self.server_is_running:
            due.extend(t for t in [self.server.next_timer()] if t is not None)
            for peer in self.server.sessions.values():
                if peer.is_connected and (timer := peer.session.next_timer()) is not None:
                    due.append(timer)
        for client in self._alive():
            due.extend(t for t in [client.core.next_timer()] if t is not None)
        self.now = max(self.now, min(due))
        while self._heap and self._heap[0][0] <= self.now:
            _, _, data, source, target = heapq.heappop(self._heap)
            self._arrive(data, source, target)
        if self.server_is_running:
            timer = self.server.next_timer()
            if timer is not None and timer <= self.now:
                self.server.handle_timer(self.now, self.unix_time)
            for peer in list(self.server.sessions.values()):
                timer = peer.session.next_timer() if peer.is_connected else None
                if timer is not None and timer <= self.now:
                    self.server.handle_peer_timer(peer, self.now)
            self._collect_server()
        for client in self._alive():
            timer = client.core.next_timer()
            if timer is not None and timer <= self.now:
                client.core.handle_timer(self.now, self.unix_time)
            self._collect_client(client)
        for hook in self.on_step:
            hook()
        self.now += 1e-6  # a timer that is due again at once must not stop the clock

    # --- inside ---------------------------------------------------------------------------------

    def _alive(self) -> list[VirtualClient]:
        return [client for client in self.clients if not client.is_dead]

    def _new_address(self, port: int = 0) -> Address:
        self._next_port += 1
        return ("10.0.1.1", port or self._next_port)

    def _arrive(self, data: bytes, source: Address, target: Address) -> None:
        if target == SERVER_ADDRESS:
            if self.server_is_running:
                self.server.receive_datagram(data, source, self.now, self.unix_time)
                self._collect_server()
            return
        for client in self._alive():
            if client.address == target:
                client.core.receive_datagram(data, source, self.now, self.unix_time)
                self._collect_client(client)

    def _collect_server(self) -> None:
        for peer in self.server.take_ready():
            while (message := peer.session.next_message()) is not None:
                self.server_received.setdefault(peer.name, []).append(message.body)
            while peer.next_event() is not None:
                pass
            self.server.flush(peer, self.now)
        while (event := self.server.next_event()) is not None:
            self.server_events.append(event)
        for data, address in self.server.datagrams_to_send():
            self._transmit(data, SERVER_ADDRESS, address)

    def _collect_client(self, client: VirtualClient) -> None:
        core = client.core
        while (event := core.next_event()) is not None:
            client.events.append(event)
        while (message := core.session.next_message()) is not None:
            client.received.append(message.body)
        core.flush(self.now)
        if core.socket_generation != client.socket_generation:
            client.socket_generation = core.socket_generation
            client.address = self._new_address()
        for data, address in core.datagrams_to_send():
            client.sent.append(data)
            self._transmit(data, client.address, address)

    def _transmit(self, data: bytes, source: Address, target: Address) -> None:
        link = self.link
        if link.is_cut or self.random.random() < link.loss:
            return
        delay = link.delay_s + self.random.uniform(-link.jitter_s, link.jitter_s)
        self._count += 1
        heapq.heappush(self._heap, (self.now + max(0.0, delay), self._count, data, source, target))

    def inject(self, data: bytes, source: Address, target: Address = SERVER_ADDRESS) -> None:
        """A datagram out of nowhere."""
        self._arrive(data, source, target)


def closed_reason(client: VirtualClient) -> object:
    """Why the client's connection ended."""
    return next((event.reason for event in client.events if isinstance(event, Closed)), None)
