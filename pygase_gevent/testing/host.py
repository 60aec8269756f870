"""What a server's and a client's process have in common: one thread of work, timers, and fits of sleep."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pygase_gevent.protocol.address import Address

if TYPE_CHECKING:
    from pygase_gevent.testing.world import World

MAX_KERNEL_DATAGRAMS = 2048
"""What waits in a kernel's buffer for a process that sleeps."""
SPIN_LIMIT = 1000
"""Turns on end in which a timer was due at once and nothing was sent."""
SHORTEST_TURN_S = 20e-6
"""A turn of an event loop takes this long at the least, so a timer due at once is due after it."""


class SpinError(AssertionError):
    """A timer comes due again and again, at once, and nothing comes of it."""


class Host:
    """A process with one event loop.

    Attributes:
        wall_offset_s: how far its calendar is off; jumps.
        is_busy: the application does not take messages out.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self._timeline = world.timeline
        self.name = name
        self.wall_offset_s = 0.0
        self.is_busy = False
        self._is_asleep = False
        self._kernel: list[tuple[bytes, Address]] = []
        self._postponed: list[Callable[[], object]] = []
        self._core_timer_at: float | None = None
        self._spins = 0
        self._spun_at = -1.0

    @property
    def now(self) -> float:
        """The monotonic clock."""
        return self._timeline.now

    @property
    def unix_time(self) -> int:
        """The calendar as this host sees it."""
        return int(self.world.unix_time + self.wall_offset_s)

    # --- fits of sleep --------------------------------------------------------------------------

    def fall_asleep(self, seconds: float) -> None:
        """The process is stopped (SIGSTOP) and goes on later; datagrams wait in the kernel."""
        if not self._is_asleep:
            self._is_asleep = True
            self.world.timeline.after(seconds, self.wake_up)

    def wake_up(self) -> None:
        """The process goes on: it drains its socket before it looks at its timers, as the shells do."""
        if not self._is_asleep:
            return
        self._is_asleep = False
        kernel, self._kernel = self._kernel, []
        for data, source in kernel:
            self.receive_datagram(data, source)
        self.turn()
        postponed, self._postponed = self._postponed, []
        for callback in postponed:
            callback()

    @property
    def is_asleep(self) -> bool:
        """Whether the process is stopped."""
        return self._is_asleep

    def be_busy(self, seconds: float) -> None:
        """The application takes no messages out for so long."""
        if not self.is_busy:
            self.is_busy = True
            self.world.timeline.after(seconds, self.rest)

    def rest(self) -> None:
        """The application takes messages out again."""
        if self.is_busy:
            self.is_busy = False
            self.run(self.catch_up)

    def catch_up(self) -> None:
        """Takes out the messages that waited."""
        self.turn()

    def run(self, callback: Callable[[], object]) -> None:
        """Runs something of the application's, or a timer; later if the process sleeps."""
        if self._is_asleep:
            self._postponed.append(callback)
        else:
            callback()

    # --- datagrams and timers -------------------------------------------------------------------

    def listen(self, data: bytes, source: Address) -> None:
        """A datagram is there."""
        if self._is_asleep:
            if len(self._kernel) < MAX_KERNEL_DATAGRAMS:
                self._kernel.append((data, source))
            return
        self.receive_datagram(data, source)
        self.turn()

    def receive_datagram(self, data: bytes, source: Address) -> None:
        """Gives it to the core."""
        raise NotImplementedError

    def turn(self) -> None:
        """Takes in what came, sends what may leave, arms timers."""
        raise NotImplementedError

    def arm_core_timer(self, due: float | None) -> None:
        """As the shells do: an earlier deadline arms the timer anew, a later one lets it fire in vain."""
        if due is not None and (self._core_timer_at is None or due < self._core_timer_at):
            self._core_timer_at = due
            self._timeline.at(max(due, self._timeline.now + SHORTEST_TURN_S), self._core_came_due, due)

    def handle_core_timer(self) -> None:
        """Lets the core's time pass."""
        raise NotImplementedError

    def after_core_timer(self) -> None:
        """Takes in and sends what came of that; a core has flushed what it could."""
        self.turn()

    def _core_came_due(self, due: float) -> None:
        if due == self._core_timer_at:
            self._core_timer_at = None
            self.run(self._core_turn)

    def _core_turn(self) -> None:
        self.count_turn()
        self.handle_core_timer()
        self.after_core_timer()

    def count_turn(self) -> None:
        """A timer came due. Many on end, with nothing sent between them, are a loop that burns its CPU."""
        if self.now - self._spun_at > 5 * SHORTEST_TURN_S:
            self._spins = 0
        self._spins += 1
        self._spun_at = self.now
        if self._spins > SPIN_LIMIT:
            raise SpinError(f"{self.name}: {SPIN_LIMIT} timers on end came due at once, and nothing was sent")

    def transmit(self, datagrams: list[tuple[bytes, Address]], source: Address) -> None:
        """Sends datagrams."""
        if datagrams:
            self._spins = 0
            send = self.world.network.send
            for data, target in datagrams:
                send(data, source, target)
