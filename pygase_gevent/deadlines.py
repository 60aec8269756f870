"""When the sessions of a server's clients want to be looked at: a list for each millisecond, one timer.

Most deadlines move on before they come due: an acknowledgement leaves with the next state, a probe timeout
is put off by each packet. A watcher of the hub for each connection would be made anew dozens of times a
second. Here a deadline that moved is found out when it is reached, and entered again.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from pygase_gevent.clients import Client
from pygase_gevent.hub.environment import Timer

TICKS_PER_S: Final = 1000
"""A session is looked at in the first tick after its deadline: RFC 9002, 6.1.2, has timers no finer."""
NEVER: Final = -1


class Deadlines:
    """The deadlines of many clients. For the hub's thread.

    Args:
        timer: calls back when the earliest has been reached; it asks for a turn, say.
    """

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._timer_at = NEVER
        self._clients: dict[int, list[Client]] = {}  # by the tick in which they are looked at
        self._ticks: list[int] = []  # of these, as a heap

    def enter(self, client: Client, due: float) -> None:
        """Look at this client at `due`, at the latest; an earlier deadline of its stays."""
        tick = int(due * TICKS_PER_S) + 1
        at = client.deadline
        if at == NEVER or tick < at:
            client.deadline = tick
            clients = self._clients.get(tick)
            if clients is None:
                self._clients[tick] = [client]
                heappush(self._ticks, tick)
            else:
                clients.append(client)

    def is_looked_at(self, client: Client, until: float) -> bool:
        """Whether this client is looked at before `until` anyway."""
        return NEVER < client.deadline <= until * TICKS_PER_S

    def take_due(self, now: float) -> list[Client]:
        """The clients whose deadlines have been reached; they have none any more."""
        due: list[Client] = []
        tick = int(now * TICKS_PER_S)
        while self._ticks and self._ticks[0] <= tick:
            at = heappop(self._ticks)
            for client in self._clients.pop(at):
                if client.deadline == at:  # else it has an earlier one, or is not looked at any more
                    client.deadline = NEVER
                    due.append(client)
        return due

    def set_timer(self, now: float) -> None:
        """See that the hub wakes at the earliest."""
        if self._ticks and (self._timer_at == NEVER or self._ticks[0] < self._timer_at):
            self._timer_at = self._ticks[0]
            self._timer.start(max(0.0, self._timer_at / TICKS_PER_S - now))

    def reached(self) -> None:
        """The timer has called back."""
        self._timer_at = NEVER

    def close(self) -> None:
        """Nothing is due any more."""
        self._timer.close()
        self._clients.clear()
        self._ticks.clear()
