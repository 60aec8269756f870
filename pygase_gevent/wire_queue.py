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


class WireLine:
    """What one client has under way to the game loop."""

    __slots__ = (
        "client",
        "handed_out",
        "handed_out_bytes",
        "held",
        "openers",
        "pushed",
        "pushed_bytes",
        "pushed_unlocked",
        "pushed_unlocked_bytes",
        "served_in",
    )

    def __init__(self, client: object) -> None:
        self.client = client
        self.openers = 0
        self.held: deque[WireItem] | None = None
        """What steps found behind this client's first item, oldest first."""
        self.served_in = 0
        """The last step in which an item of this client was handed out."""
        self.pushed = 0  # ever; changed with the queue's lock
        self.pushed_bytes = 0
        self.pushed_unlocked = 0  # besides; changed by the one opener that there is
        self.pushed_unlocked_bytes = 0
        self.handed_out = 0  # ever; changed by who takes
        self.handed_out_bytes = 0

    @property
    def waiting(self) -> int:
        """How many items are under way; less for a moment where another thread looks."""
        return self.pushed + self.pushed_unlocked - self.handed_out

    @property
    def waiting_bytes(self) -> int:
        """Bytes of them."""
        return self.pushed_bytes + self.pushed_unlocked_bytes - self.handed_out_bytes


class WireQueue:
    """What waits for the next step, by client. Any thread may push; one at a time takes.

    Clients take turns, so none waits for what another one sent; each one's items stay in order. All stand in
    one line as they came. A step that finds a second item of a client there holds it back for a later round,
    and what it has no time for waits in both places.
    """

    def __init__(self, config: Config) -> None:
        self._max_events = config.max_wire_events
        self._max_events_per_client = config.max_wire_events_per_client
        self._max_bytes = config.max_received_bytes
        self._lock = allocate_lock()
        self._lines: dict[object, WireLine] = {}  # by client: open ones, and those with something under way
        self._arrived: deque[tuple[WireLine, WireItem]] = deque()
        self._held = 0  # items that the lines hold; changed by who takes
        self._turns: deque[WireLine] = deque()  # those lines; whose turn is next stands first
        self._left_of_first_round = 0  # of `_turns`
        self._left_of_arrived = 0
        self._step = 0
        self._is_taking = False
        self._environment: Environment | None = None
        self._until = 0.0
        self.client: object = None
        """Whose item was handed out last."""

    # --- any thread -----------------------------------------------------------------------------

    def open_line(self, client: object) -> WireLine:
        """The line of a client, to push to until `close_line`."""
        with self._lock:
            line = self._line_of(client)
            line.openers += 1
        return line

    def close_line(self, line: WireLine) -> None:
        """Who opened it pushes to it no more; what is under way is handed out."""
        with self._lock:
            line.openers -= 1
        self._forget_unused(line)

    def push_event(self, event: Event, client: object) -> bool:
        """Queue an event; whether there was room. A client of whom nothing waits has room for one.

        What no client sent (its address is `None`) is bounded with all others only.
        """
        with self._lock:
            return self._push_event(self._line_of(client), event)

    def push_to(self, line: WireLine, event: Event) -> bool:
        """The same, to a line that its opener has open.

        Nearly always there is one opener, with one thread, and what it alone counts needs no lock.
        """
        if line.openers != 1:
            with self._lock:
                return self._push_event(line, event)
        if not self._has_room(line, event):
            return False
        line.pushed_unlocked += 1
        line.pushed_unlocked_bytes += event.size_bytes
        self._arrived.append((line, event))
        return True

    def push_call(self, call: WireCall, client: object) -> bool:
        """Queue a call; whether there was room, which is twice as much as for events."""
        with self._lock:
            if len(self._arrived) + self._held >= 2 * self._max_events:
                return False
            line = self._line_of(client)
            line.pushed += 1
            self._arrived.append((line, call))
        return True

    # --- the loop -------------------------------------------------------------------------------

    def begin_step(self, environment: Environment, until: float) -> None:
        """Take what waits now: one item of each client, then others until `until` by this clock."""
        if self._is_taking:
            self._count_anew()
        self._step += 1
        self._left_of_first_round = len(self._turns)
        self._left_of_arrived = len(self._arrived)
        self._environment = environment
        self._until = until

    def next_item(self) -> WireItem | None:
        """The next of those, whose client is in `client` then; `None` if there is no more, or it is late."""
        self._is_taking = True
        item = self._take()
        self._is_taking = False
        return item

    def end_step(self) -> None:
        """What was not taken waits for the next step."""
        self._environment = self.client = None

    # --- inside ---------------------------------------------------------------------------------

    def _take(self) -> WireItem | None:
        if self._left_of_first_round:
            self._left_of_first_round -= 1
            return self._next_held()
        while self._left_of_arrived:
            self._left_of_arrived -= 1
            line, item = self._arrived.popleft()
            if line.served_in != self._step:
                return self._hand_out(line, item)
            if line.held is None:
                line.held = deque()
            if not line.held:
                self._turns.append(line)
            line.held.append(item)
            self._held += 1
        if not self._turns or self._environment is None or self._environment.now() >= self._until:
            return None
        return self._next_held()

    def _count_anew(self) -> None:
        """A signal's handler raised in the middle of `next_item`, in a loop that runs once more."""
        with self._lock:
            # First: what is pushed without the lock meanwhile counts as through then, which does no harm.
            arrived = self._arrived.copy()
            for line in self._lines.values():
                held = line.held or ()
                line.handed_out += line.waiting - len(held)
                line.handed_out_bytes += line.waiting_bytes - sum(item.size_bytes for item in held)
            for line, item in arrived:
                line.handed_out -= 1
                line.handed_out_bytes -= item.size_bytes
            self._turns = deque(line for line in self._lines.values() if line.held)
            self._held = sum(len(line.held or ()) for line in self._turns)
        self._is_taking = False

    def _line_of(self, client: object) -> WireLine:
        line = self._lines.get(client)
        if line is None:
            line = self._lines[client] = WireLine(client)
        return line

    def _has_room(self, line: WireLine, event: Event) -> bool:
        waiting = line.waiting
        return waiting <= 0 or (
            len(self._arrived) + self._held < self._max_events
            and (waiting < self._max_events_per_client or line.client is None)
            and line.waiting_bytes + event.size_bytes <= self._max_bytes
        )

    def _push_event(self, line: WireLine, event: Event) -> bool:
        if not self._has_room(line, event):
            return False
        line.pushed += 1
        line.pushed_bytes += event.size_bytes
        self._arrived.append((line, event))
        return True

    def _next_held(self) -> WireItem:
        line = self._turns.popleft()
        held = line.held
        assert held is not None
        item = held.popleft()
        self._held -= 1
        if held:
            self._turns.append(line)  # behind the others
        else:
            line.held = None
        return self._hand_out(line, item)

    def _hand_out(self, line: WireLine, item: WireItem) -> WireItem:
        line.served_in = self._step
        line.handed_out += 1
        line.handed_out_bytes += item.size_bytes
        self.client = line.client
        if not line.openers:
            self._forget_unused(line)
        return item

    def _forget_unused(self, line: WireLine) -> None:
        with self._lock:
            is_used = line.openers or line.waiting > 0
            if not is_used and self._lines.get(line.client) is line:
                del self._lines[line.client]
