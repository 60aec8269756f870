"""When the sessions of a server's clients want to be looked at: one heap, and one timer of the hub.

Most deadlines move on before they come due: an acknowledgement leaves with the next state, a probe timeout
is put off by each packet. A watcher of the hub for each connection would be made anew dozens of times a
second. Here a deadline that moved is found out when it is reached, and entered again.
"""

from __future__ import annotations

from heapq import heappop, heappush

from pygase_gevent.clients import Client
from pygase_gevent.hub.environment import Timer


class Deadlines:
    """The deadlines of many clients. For the hub's thread.

    Args:
        timer: calls back when the earliest has been reached; it asks for a turn, say.
    """

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._timer_at = 0.0  # 0: it is not set
        self._heap: list[tuple[float, int, Client]] = []
        self._entries = 0

    def enter(self, client: Client, due: float) -> None:
        """Look at this client at `due`, at the latest; an earlier deadline of its stays."""
        at = client.timer_at
        if at is None or due < at:
            client.timer_at = due
            self._entries += 1  # tells apart what is due at once
            heappush(self._heap, (due, self._entries, client))

    def take_due(self, now: float) -> list[Client]:
        """The clients whose deadlines have been reached; they have none any more."""
        due: list[Client] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, client = heappop(heap)
            if client.timer_at == at:  # else it has an earlier one, or is not looked at any more
                client.timer_at = None
                due.append(client)
        return due

    def set_timer(self, now: float) -> None:
        """See that the hub wakes at the earliest."""
        heap = self._heap
        if heap and (self._timer_at == 0.0 or heap[0][0] < self._timer_at):
            self._timer_at = heap[0][0]
            self._timer.start(max(0.0, self._timer_at - now))

    def reached(self) -> None:
        """The timer has called back."""
        self._timer_at = 0.0

    def close(self) -> None:
        """Nothing is due any more."""
        self._timer.close()
        self._heap.clear()
