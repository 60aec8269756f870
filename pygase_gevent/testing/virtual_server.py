"""A server's process in virtual time: a `ServerCore` and what its shell does around it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from pygase_gevent.config import Config
from pygase_gevent.gamestate import GameState, GameStateStore, GameStateUpdate
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.protocol.server_peer import PeerJoined, PeerLeft, PeerResumed, ServerPeer
from pygase_gevent.protocol.stateencoder import StateEncoder
from pygase_gevent.testing.host import SHORTEST_TURN_S, Host
from pygase_gevent.testing.tap import TappedServerCore, TappedSession

if TYPE_CHECKING:
    from pygase_gevent.testing.world import World

STOP_ANNOUNCEMENTS = 3
STOP_ANNOUNCEMENT_S = 0.02
"""As the server's shell does it."""


@dataclass(eq=False, slots=True)
class Seat:
    """What the shell keeps of a session."""

    peer: ServerPeer
    next_state_at: float = 0.0
    timer_at: float | None = None


class VirtualServer(Host):
    """A server's process. One that ends is replaced by a new object; one that is shut down runs again.

    Attributes:
        core: the server's core.
        store: the game's state.
        address: where it listens.
        is_running: whether it serves.
        stopped_at: when it was shut down last.
    """

    def __init__(
        self, world: World, *, config: Config, key: bytes, address: Address, state: GameState | None = None
    ) -> None:
        super().__init__(world, "server")
        self.address = address
        self.is_running = False
        self.is_stopping = False
        self.config = config
        self.stopped_at = -inf
        self._served_s = 0.0
        self._served_from = self.now
        self._state_interval_s = 1.0 / config.state_rate_hz
        self.core = TappedServerCore(
            world.witnesses,
            self,
            config=config,
            protocol_id=world.protocol_id,
            private_key=key,
            entropy=world.entropy,
            now=self.now,
        )
        self.store = GameStateStore(state, config=config)
        self._encoder = StateEncoder(self.store, config=config, server_clock_us=self.core.server_time_us)
        self._seats: dict[bytes, Seat] = {}
        self._sweep_at: float | None = None

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Serves, for the first time or again."""
        assert not self.is_running
        self.is_running = True
        self._served_from = self.now
        self.world.network.open(self.address, self.listen)
        self.core.start(self.address, self.now)
        self.world.witnesses.tell("state_pushed", self, self.store.get_game_state())
        for seat in self._seats.values():
            seat.timer_at = None
            self._arm(seat)
        self.turn()

    def stop(self) -> None:
        """Shuts down as the shell does: tells everybody three times, while it receives no more."""
        if self.is_running and not self.is_stopping:
            self.is_stopping = True
            self.stopped_at = inf
            self.world.network.close(self.address)
            self._announce(STOP_ANNOUNCEMENTS)

    def _announce(self, left: int) -> None:
        if left == 0:
            self.core.stop(self.now)
            self.is_running = self.is_stopping = False
            self.stopped_at = self.now
            self._served_s += self.now - self._served_from
            return
        self.core.announce_stop(self.now)
        self.transmit(self.core.datagrams_to_send(), self.address)
        self.world.timeline.after(STOP_ANNOUNCEMENT_S, self.run, lambda: self._announce(left - 1))

    @property
    def served_s(self) -> float:
        """Seconds that it has served; its sessions' clocks stand still meanwhile."""
        return self._served_s + (self.now - self._served_from if self.is_running else 0.0)

    def die(self) -> None:
        """The process ends without a word."""
        self.is_running = False
        self.world.network.close(self.address)
        for peer in self.core.sessions.values():
            self.world.witnesses.tell("peer_dropped_dead", self, peer)

    # --- what the game does ---------------------------------------------------------------------

    def push(self, update: GameStateUpdate) -> None:
        """Publishes a change of the state."""
        self.store.push_update(update)
        self.world.witnesses.tell("state_pushed", self, self.store.get_game_state())
        self.run(self._sweep)

    def kick(self, peer: ServerPeer, text: str) -> None:
        """Ends a client's session."""
        self.core.close_peer(peer, DisconnectReason.KICKED, text, self.now)
        self.turn()

    # --- the shell ------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, source: Address) -> None:
        if self._serves:
            self.core.receive_datagram(data, source, self.now, self.unix_time)

    def handle_core_timer(self) -> None:
        if self._serves:
            self.core.handle_timer(self.now, self.unix_time)

    @property
    def _serves(self) -> bool:
        return self.is_running and not self.is_stopping

    def turn(self) -> None:
        if not self._serves:
            return
        core = self.core
        self._take_core_events()
        for peer in core.take_ready():
            self._serve(peer)
        self._finish_turn()

    def flush(self, peer: ServerPeer) -> None:
        """Sends what may leave to one client: something was queued for it."""
        if self._serves:
            self._serve(peer)
            self._finish_turn()

    def catch_up(self) -> None:
        if self._serves:
            for seat in list(self._seats.values()):
                self._serve(seat.peer)
            self._finish_turn()

    def _finish_turn(self) -> None:
        core = self.core
        self._take_core_events()
        self.transmit(core.datagrams_to_send(), self.address)
        self.arm_core_timer(core.next_timer())

    def _serve(self, peer: ServerPeer) -> None:
        self._take_session(peer)
        self.core.flush(peer, self._timeline.now)
        self._take_news(peer)
        if peer.user is not None:
            self._arm(peer.user)

    def _take_news(self, peer: ServerPeer) -> None:
        while (event := peer.next_event()) is not None:
            self.world.witnesses.tell("session_event", peer.session, event)

    def _take_session(self, peer: ServerPeer) -> None:
        session, tell = peer.session, self.world.witnesses.tell
        self._take_news(peer)
        if not self.is_busy and peer.user is not None:
            while (message := session.next_call()) is not None:
                tell("message_received", session, message)
            while (message := session.next_message()) is not None:
                tell("message_received", session, message)

    def _take_core_events(self) -> None:
        while (event := self.core.next_event()) is not None:
            peer = event.peer
            if isinstance(event, PeerJoined):
                peer.user = self._seats[peer.session_id] = Seat(peer)
                session = peer.session
                assert isinstance(session, TappedSession)
                session.session_id = peer.session_id
            self.world.trace.add(self.now, "event", f"{peer.name}", type(event).__name__)
            self.world.witnesses.tell("server_event", self, event)
            if isinstance(event, (PeerJoined, PeerResumed)) and peer.is_connected:
                self._push_state(peer.user)
                self._serve(peer)
            elif isinstance(event, PeerLeft):
                self._take_session(peer)
                self._seats.pop(peer.session_id, None)

    def _arm(self, seat: Seat) -> None:
        due = seat.peer.session.next_timer()
        if due is not None and (seat.timer_at is None or due < seat.timer_at):
            seat.timer_at = due
            self._timeline.at(max(due, self._timeline.now + SHORTEST_TURN_S), self._seat_came_due, seat, due)

    def _seat_came_due(self, seat: Seat, due: float) -> None:
        if due == seat.timer_at:
            seat.timer_at = None
            self.run(lambda: self._handle_seat(seat))

    def _handle_seat(self, seat: Seat) -> None:
        if self._serves and seat.peer.session_id in self._seats:
            self.count_turn()
            self.core.handle_peer_timer(seat.peer, self.now)
            self._take_session(seat.peer)
            self._arm(seat)
            self._finish_turn()

    # --- the state's way out, as pusher.py has it -----------------------------------------------

    def _sweep(self) -> None:
        if not self._serves:
            return
        now = self.now
        next_at = None
        for seat in list(self._seats.values()):
            if not seat.peer.is_connected:
                continue
            if now >= seat.next_state_at:
                self._push_state(seat)
                self._serve(seat.peer)
            elif next_at is None or seat.next_state_at < next_at:
                next_at = seat.next_state_at
        if next_at is not None and (self._sweep_at is None or self._sweep_at <= now):
            self._sweep_at = next_at
            self.world.timeline.at(next_at, self.run, self._sweep)
        self._finish_turn()

    def _push_state(self, seat: Seat) -> None:
        session = seat.peer.session
        config = self.config
        is_bad = session.latency > config.bad_latency_s or session.loss > config.bad_loss
        interval_s = self._state_interval_s * (2.0 if is_bad else 1.0)
        seat.next_state_at = max(seat.next_state_at, self.now - interval_s) + interval_s
        session.queue_state(self._encoder, self.now)
