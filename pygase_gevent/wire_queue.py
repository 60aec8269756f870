"""What waits for the game loop's next step: events and hooks of all clients, who take turns."""

from __future__ import annotations

from collections import deque
from typing import Any

from pygase_gevent.config import Config
from pygase_gevent.event import Event, Handler
from pygase_gevent.hub.environment import Environment
from pygase_gevent.locks import allocate_lock


class WireCall:
    """A call that waits for the next step, with the library's arguments only."""

    __slots__ = ("handler", "kwargs", "name", "size_bytes")

    def __init__(self, name: str, handler: Handler, kwargs: dict[str, Any]) -> None:
        self.name = name
        self.handler = handler
        self.kwargs = kwargs
        self.size_bytes = 0


WireItem = Event | WireCall


class WireQueue:
    """What waits for the next step, by client. Any thread may push; one at a time takes.

    Clients take turns, so none waits for what another one sent; each one's items stay in order. What a step
    takes is set apart at its beginning, so that taking needs no lock for each item; what is not taken
    yet counts all the same.
    """

    def __init__(self, config: Config) -> None:
        self._max_events = config.max_wire_events
        self._max_events_per_client = config.max_wire_events_per_client
        self._max_bytes = config.max_received_bytes
        self._lock = allocate_lock()
        self._waiting: dict[object, _ClientQueue] = {}  # whose turn is next stands first
        self._taken: dict[object, _ClientQueue] = {}  # of the step that is being made; newest item first
        self._turns: deque[tuple[object, _ClientQueue]] = deque()
        self._left_of_first_round = 0
        self._environment: Environment | None = None
        self._until = 0.0
        self.client: object = None
        """Whose item was handed out last."""
        self._pushed = 0  # ever; changed with the lock
        self._handed_out = 0  # ever; changed by who takes

    def push_event(self, event: Event, client: object) -> bool:
        """Queue an event; whether there was room. A client of whom nothing waits has room for one.

        What no client sent (its address is `None`) is bounded with all others only.
        """
        with self._lock:
            queue = self._waiting.get(client)
            taken = self._taken.get(client) if self._taken else None
            if queue is not None or (taken is not None and taken.items):
                waiting = size_bytes = 0
                for part in (queue, taken):
                    if part is not None:
                        waiting += len(part.items)
                        size_bytes += part.size_bytes
                if (
                    self._pushed - self._handed_out >= self._max_events
                    or (client is not None and waiting >= self._max_events_per_client)
                    or size_bytes + event.size_bytes > self._max_bytes
                ):
                    return False
            if queue is None:
                queue = self._waiting[client] = _ClientQueue()
            queue.items.append(event)
            queue.size_bytes += event.size_bytes
            self._pushed += 1
        return True

    def push_call(self, call: WireCall, client: object) -> bool:
        """Queue a call; whether there was room, which is twice as much as for events."""
        with self._lock:
            if self._pushed - self._handed_out >= 2 * self._max_events:
                return False
            queue = self._waiting.get(client)
            if queue is None:
                queue = self._waiting[client] = _ClientQueue()
            queue.items.append(call)
            self._pushed += 1
        return True

    def begin_step(self, environment: Environment, until: float) -> None:
        """Set apart what waits now: one item of each client, then others until `until` by this clock."""
        with self._lock:
            taken = self._taken = self._waiting
            self._waiting = {}
        for queue in taken.values():
            queue.items.reverse()
        self._turns = deque(taken.items())
        self._left_of_first_round = len(taken)
        self._environment = environment
        self._until = until

    def next_item(self) -> WireItem | None:
        """The next of those, whose client is in `client` then; `None` if there is no more, or it is late."""
        turns = self._turns
        if not turns:
            return None
        if self._left_of_first_round:
            self._left_of_first_round -= 1
        elif self._environment is None or self._environment.now() >= self._until:
            return None
        turn = turns.popleft()
        self.client, queue = turn
        item = queue.items.pop()
        queue.size_bytes -= item.size_bytes
        self._handed_out += 1
        if queue.items:
            turns.append(turn)  # behind the others
        return item

    def end_step(self) -> None:
        """What was not taken waits for the next step."""
        turns, self._turns = self._turns, deque()
        self._environment = self.client = None
        self._put_back(turns)

    def _put_back(self, turns: deque[tuple[object, _ClientQueue]]) -> None:
        """What was not taken waits for the next step, before what came meanwhile."""
        with self._lock:
            self._taken = {}
            if not turns:
                return
            newer = self._waiting
            self._waiting = dict(turns)
            for queue in self._waiting.values():
                queue.items.reverse()
            for client, queue in newer.items():
                older = self._waiting.setdefault(client, queue)
                if older is not queue:
                    older.items += queue.items
                    older.size_bytes += queue.size_bytes


class _ClientQueue:
    """What waits of one client, oldest first."""

    __slots__ = ("items", "size_bytes")

    def __init__(self) -> None:
        self.items: list[WireItem] = []
        self.size_bytes = 0
