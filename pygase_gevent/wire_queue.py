"""What waits for the game loop's next step: events and hooks of all clients, who take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pygase_gevent.config import Config
from pygase_gevent.event import Event, Handler, UniversalEventHandler
from pygase_gevent.gamestate import GameState
from pygase_gevent.locks import allocate_lock


class WireQueue:
    """What waits for the next step, by client. Any thread may push.

    Clients take turns, so none waits for what another one sent; each one's items stay in order.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = allocate_lock()
        self._clients: dict[object, _ClientQueue] = {}  # whose turn is next stands first
        self._count = 0

    def push_event(self, item: WireItem) -> bool:
        """Queue an event; whether there was room. A client of whom nothing waits has room for one.

        What no client sent (its address is `None`) is bounded with all others only.
        """
        config = self._config
        with self._lock:
            client = item.client_address
            queue = self._clients.get(client)
            if queue is not None and (
                self._count >= config.max_wire_events
                or (client is not None and len(queue.items) >= config.max_wire_events_per_client)
                or queue.size_bytes + item.size_bytes > config.max_received_bytes
            ):
                return False
            self._append(item)
        return True

    def push_call(self, item: WireItem) -> bool:
        """Queue a call; whether there was room, which is twice as much as for events."""
        with self._lock:
            if self._count >= 2 * self._config.max_wire_events:
                return False
            self._append(item)
        return True

    def take_turns(self, may_go_on: Callable[[], bool]) -> Iterator[WireItem]:
        """Take what waits now: one item of each client, then others while `may_go_on()`."""
        with self._lock:
            turns = {client: len(queue.items) for client, queue in self._clients.items()}
        is_first_round = True
        while turns:
            for client in list(turns):
                if not is_first_round and not may_go_on():
                    return
                turns[client] -= 1
                if not turns[client]:
                    del turns[client]
                yield self._pop(client)
            is_first_round = False

    def _append(self, item: WireItem) -> None:
        queue = self._clients.get(item.client_address)
        if queue is None:
            queue = self._clients[item.client_address] = _ClientQueue()
        queue.items.append(item)
        queue.size_bytes += item.size_bytes
        self._count += 1

    def _pop(self, client: object) -> WireItem:
        with self._lock:
            queue = self._clients.pop(client)
            item = queue.items.popleft()
            queue.size_bytes -= item.size_bytes
            self._count -= 1
            if queue.items:
                self._clients[client] = queue  # behind the others
        return item


@dataclass(frozen=True, slots=True)
class WireItem:
    """What waits for the next step: an event, or a call with the library's arguments only."""

    name: str
    client_address: object
    event: Event | None
    handler: Handler | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    size_bytes: int = 0

    def call(self, event_handler: UniversalEventHandler, game_state: GameState, dt: float) -> Any:
        if self.event is not None:
            return event_handler.handle(
                self.event, game_state=game_state, dt=dt, client_address=self.client_address
            )
        assert self.handler is not None
        return self.handler([], {}, {**self.kwargs, "game_state": game_state, "dt": dt})

    def __str__(self) -> str:
        return f"handler of event {self.name}" if self.event is not None else f"hook {self.name}"


class _ClientQueue:
    """What waits of one client, oldest first."""

    __slots__ = ("items", "size_bytes")

    def __init__(self) -> None:
        self.items: deque[WireItem] = deque()
        self.size_bytes = 0
