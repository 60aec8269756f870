"""What the players and the game do: messages of all kinds each way, and a state that changes."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from pygase_gevent.errors import QueueFullError
from pygase_gevent.event import Delivery
from pygase_gevent.gamestate import TO_DELETE, GameState, GameStateUpdate
from pygase_gevent.protocol.server_peer import ServerPeer
from pygase_gevent.protocol.session import MessageKind, ReceivedMessage
from pygase_gevent.testing.ledger import SMALLEST_BYTES, Ledger
from pygase_gevent.testing.options import SimulationOptions
from pygase_gevent.testing.tap import TappedSession
from pygase_gevent.testing.virtual_client import VirtualClient
from pygase_gevent.testing.virtual_server import VirtualServer
from pygase_gevent.testing.witness import Witness
from pygase_gevent.testing.world import World

PLAYERS = 8
STREAMS = ("A", "B", "C")
LARGEST_EVENT_BYTES = 40_000
LARGEST_UPDATE_BYTES = 60_000
MAX_OPEN_CALLS = 32
"""Calls of a session that wait for their result; the shells have `Config.max_calls`."""

_MODES = (
    (Delivery.UNRELIABLE, 0),
    (Delivery.UNRELIABLE, 0),
    (Delivery.UNRELIABLE, 1),
    (Delivery.UNRELIABLE, 5),
    (Delivery.SEQUENCED, 0),
    (Delivery.SEQUENCED, 2),
    (Delivery.RELIABLE, 0),
    (Delivery.RELIABLE, 0),
    (Delivery.RELIABLE_ORDERED, 0),
    (Delivery.RELIABLE_ORDERED, 0),
    (Delivery.RELIABLE_ORDERED, 0),
)


class Workload(Witness):
    """Sends messages over all sessions at random, answers calls, and lets the state change.

    Args:
        world: where.
        options: how much of what.
        ledger: where it is written down.
        rng: of all its choices.
        counts: what it did.
    """

    def __init__(
        self,
        world: World,
        options: SimulationOptions,
        ledger: Ledger,
        rng: random.Random,
        counts: Counter[str],
    ) -> None:
        self._world = world
        self._options = options
        self._ledger = ledger
        self._rng = rng
        self._counts = counts
        self._modes = [mode for mode in _MODES if mode[0] in options.deliveries]
        self._is_active = True
        self._open_calls: Counter[TappedSession] = Counter()
        self._ticks = 0

    def start(self) -> None:
        """Begins."""
        self._tick()
        for hz, send in (
            (self._options.events_hz, self._send_small),
            (self._options.large_events_per_min / 60, self._send_large),
        ):
            if hz:
                self._world.timeline.after(self._rng.expovariate(hz), self._go_on, hz, send)

    def stop(self) -> None:
        """Sends no more, and the state stays as it is."""
        self._is_active = False

    def message_received(self, session: TappedSession, message: ReceivedMessage) -> None:
        if message.kind is MessageKind.CALL:
            self._send(session, 30, Delivery.RELIABLE, kind=MessageKind.RESULT)
            self._world.timeline.after(0.0, self._flush, session)
        elif message.kind is MessageKind.RESULT:
            self._open_calls[session] -= 1

    # --- messages -------------------------------------------------------------------------------

    def _go_on(self, hz: float, send: Any) -> None:
        if not self._is_active:
            return
        everybody = self._sessions()
        self._world.timeline.after(self._rng.expovariate(hz * max(1, len(everybody))), self._go_on, hz, send)
        if everybody:
            session = self._rng.choice(everybody)
            session.owner.run(lambda: self._send_and_flush(session, send))

    def _sessions(self) -> list[TappedSession]:
        sessions = [client.session for client in self._world.clients if not client.is_over]
        server = self._world.server
        if server.is_running:
            for peer in server.core.sessions.values():
                assert isinstance(peer.session, TappedSession)
                sessions.append(peer.session)
        return sessions

    def _send_and_flush(self, session: TappedSession, send: Any) -> None:
        send(session)
        self._flush(session)

    def _send_small(self, session: TappedSession) -> None:
        size = self._rng.randint(SMALLEST_BYTES, max(SMALLEST_BYTES, self._options.event_bytes))
        if self._rng.random() < 0.05 and self._open_calls[session] < MAX_OPEN_CALLS:
            if self._send(session, size, Delivery.RELIABLE, kind=MessageKind.CALL):
                self._open_calls[session] += 1
            return
        for _ in range(1 if self._rng.random() < 0.8 else self._rng.randint(2, 12)):
            delivery, retries = self._rng.choice(self._modes)
            self._send(session, size, delivery, retries=retries)

    def _send_large(self, session: TappedSession) -> None:
        delivery, retries = self._rng.choice(self._modes)
        self._send(session, self._rng.randint(1200, LARGEST_EVENT_BYTES), delivery, retries=retries)

    def _send(
        self,
        session: TappedSession,
        size: int,
        delivery: Delivery,
        *,
        retries: int = 0,
        kind: MessageKind = MessageKind.EVENT,
    ) -> bool:
        is_streamed = delivery in (Delivery.SEQUENCED, Delivery.RELIABLE_ORDERED)
        try:
            self._ledger.send(
                session,
                size,
                delivery,
                self._world.now,
                stream=self._rng.choice(STREAMS) if is_streamed else "",
                retries=retries,
                kind=kind,
                has_token=kind is MessageKind.EVENT and self._rng.random() < 0.5,
            )
        except QueueFullError:
            self._counts["queue_full"] += 1
            return False
        self._counts["messages"] += 1
        return True

    def _flush(self, session: TappedSession) -> None:
        owner = session.owner
        if isinstance(owner, VirtualClient):
            owner.run(owner.turn)
        elif isinstance(owner, VirtualServer):
            owner.run(lambda: self._flush_peer(owner, session))

    def _flush_peer(self, server: VirtualServer, session: TappedSession) -> None:
        peer: ServerPeer | None = server.core.sessions.get(session.session_id)
        if peer is not None:
            server.flush(peer)

    # --- state ----------------------------------------------------------------------------------

    def _tick(self) -> None:
        if not self._is_active:
            return
        self._world.timeline.after(1 / self._options.tick_hz, self._tick)
        server = self._world.server
        if server.is_running and not server.is_asleep:
            self._ticks += 1
            self._counts["states"] += 1
            server.push(GameStateUpdate(0, **self._draw_changes()))

    def _draw_changes(self) -> dict[str, Any]:
        rng = self._rng
        changes: dict[str, Any] = {}
        choice = rng.random()
        if rng.random() < self._options.large_updates_per_min / 60 / self._options.tick_hz:
            changes["map"] = rng.randbytes(rng.randint(2_000, LARGEST_UPDATE_BYTES))
        if choice < 0.75:
            moved = range(PLAYERS) if choice < 0.4 else (rng.randrange(PLAYERS),)
            changes["players"] = {i: {"x": rng.random(), "y": rng.random()} for i in moved}
        if 0.7 < choice < 0.9:
            name = rng.choice("abcdef")
            changes["things"] = {
                name: rng.choice((TO_DELETE, {rng.choice("xyz"): rng.randrange(5)}, [1, 2], None))
            }
        if choice > 0.97:
            changes["things"] = rng.choice((TO_DELETE, {"a": {"x": 1}}))
        return changes


def draw_state(options: SimulationOptions, rng: random.Random) -> GameState:
    """The first state of a server's process."""
    return GameState(
        options.first_time_order,
        players={i: {"x": 0.0, "y": 0.0, "name": f"player {i}"} for i in range(PLAYERS)},
        things={},
        terrain=rng.randbytes(options.state_bytes),
    )
