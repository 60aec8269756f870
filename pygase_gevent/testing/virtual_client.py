"""A client's process in virtual time: a `ClientCore` and what its shell does around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pygase_gevent.config import Config
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.client_events import ClientPhase, Closed, Connected, Dropped, Resumed
from pygase_gevent.testing.host import Host
from pygase_gevent.testing.tap import TappedClientCore, TappedSession

if TYPE_CHECKING:
    from pygase_gevent.testing.world import World

LIFE_EVENTS = (Connected, Dropped, Resumed, Closed)


class VirtualClient(Host):
    """A client, on a host of its own.

    Attributes:
        core: the client's core.
        host: its IP address, which is also the name of its line.
        address: where its datagrams come from now.
        is_dead: whether the process ended.
    """

    def __init__(
        self,
        world: World,
        number: int,
        *,
        config: Config,
        key: bytes,
        port: int = 0,
        host: str | None = None,
    ) -> None:
        super().__init__(world, f"client {number}")
        self.number = number
        self.config = config
        self.host = host or f"10.1.{number >> 8}.{number & 255}"
        self.is_dead = False
        self.core = TappedClientCore(
            world.witnesses,
            self,
            config=config,
            protocol_id=world.protocol_id,
            private_key=key,
            entropy=world.entropy,
            now=self.now,
        )
        self.address: Address = (self.host, 0)
        self._generation = 0
        self._move(port)

    @property
    def session(self) -> TappedSession:
        """The session as it is now."""
        session = self.core.session
        assert isinstance(session, TappedSession)
        return session

    @property
    def is_connected(self) -> bool:
        """Whether the session stands."""
        return self.core.phase is ClientPhase.CONNECTED

    @property
    def is_over(self) -> bool:
        """Whether the process ended, or its connection for good."""
        return self.is_dead or self.core.phase is ClientPhase.CLOSED

    # --- what its user does ---------------------------------------------------------------------

    def connect(self, addresses: list[Address], token: bytes | None) -> None:
        """Begins to connect."""
        self.core.connect(addresses, token, self.now, self.unix_time)
        self.turn()

    def disconnect(self, *, shutdown_server: bool = False) -> None:
        """Says goodbye."""
        self.core.disconnect(self.now, shutdown_server=shutdown_server)
        self.turn()

    def die(self) -> None:
        """The process ends without a word."""
        self.is_dead = True
        self.world.network.close(self.address)

    def rebind(self) -> None:
        """A NAT gives the client another port; the old one leads nowhere."""
        self._move()

    # --- the shell ------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, source: Address) -> None:
        if not self.is_dead:
            self.core.receive_datagram(data, source, self.now, self.unix_time)

    def handle_core_timer(self) -> None:
        if not self.is_dead:
            self.core.handle_timer(self.now, self.unix_time)

    def turn(self) -> None:
        if self.is_dead:
            return
        self._take_events()
        if not self.is_busy:
            self._take_messages()
        self.core.flush(self._timeline.now)
        self._finish_turn()

    def after_core_timer(self) -> None:
        if self.is_dead:
            return
        if not self.is_busy:
            self._take_messages()
        self._finish_turn()

    def _finish_turn(self) -> None:
        core = self.core
        self._take_events()
        if core.socket_generation != self._generation:
            self._generation = core.socket_generation
            self._move()
        self.transmit(core.datagrams_to_send(), self.address)
        self.arm_core_timer(core.next_timer())
        if core.phase is ClientPhase.CLOSED:
            self.world.network.close(self.address)

    def _take_events(self) -> None:
        tell = self.world.witnesses.tell
        while (event := self.core.next_event()) is not None:
            if isinstance(event, LIFE_EVENTS):
                self.world.trace.add(self.now, "event", self.name, type(event).__name__)
                tell("client_event", self, event)
            else:
                tell("session_event", self.session, event)

    def _take_messages(self) -> None:
        session = self.session
        tell = self.world.witnesses.tell
        while (message := session.next_call()) is not None:
            tell("message_received", session, message)
        while (message := session.next_message()) is not None:
            tell("message_received", session, message)

    def _move(self, port: int = 0) -> None:
        network = self.world.network
        old = self.address
        network.close(old)
        self.address = (self.host, port or self.world.new_port())
        network.open(self.address, self.listen)
        self.world.witnesses.tell("host_moved", self, old if old[1] else None, self.address)
