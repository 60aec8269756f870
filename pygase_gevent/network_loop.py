"""What a running server and a running client have in common: a hub's worth of socket, turns and timers.

    receiver greenlet   waits for the socket, takes a batch of datagrams, asks for a turn
    turn greenlet       runs once however often it was asked for, when the hub has gone
                        through what is ready: timers that came due, then everything to send
    timers              only say what is due and ask for a turn

So the protocol is entered by two greenlets that never block inside it, and what several handlers
send in one round of the hub leaves in one batch. Where that is much, it leaves in slices, and between them
the socket is emptied: the kernel's own buffer holds no more than some hundred datagrams.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from pygase_gevent.config import Config
from pygase_gevent.errors import NotRunningError, QueueFullError
from pygase_gevent.hub.bridge import Bridge
from pygase_gevent.hub.environment import Environment, Timer
from pygase_gevent.hub.process import forget_fork, on_fork
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.hub.udp import UdpSocket
from pygase_gevent.hub.worker import Worker
from pygase_gevent.protocol.address import Address, OpaqueAddress
from pygase_gevent.runners import HandlerRunners

logger = logging.getLogger(__name__)

ONE_ROUND_S: Final = 1e-9
"""A sleep after which greenlets, timers and sockets have had their turn, and the hub did not rest. (A sleep
of 0 lets greenlets run, but no timers and sockets.)"""


class NetworkLoop:
    """One run of a server or client, made and closed in its hub's thread.

    Args:
        environment: clock, timers, sockets and greenlets.
        config: limits.
    """

    def __init__(self, environment: Environment, config: Config) -> None:
        self.environment = environment
        self.config = config
        self.stop_requested: Outcome[None] = Outcome()
        self.bridge = Bridge(config)
        self.watchdog = environment.watchdog(config)
        self.runners = HandlerRunners(environment, config)
        self.socket: UdpSocket | None = None
        self._turner = Worker(self._turn)
        self._is_wake_posted = False
        self._is_core_due = False
        self._core_timer: Timer = environment.timer(self._core_came_due)
        self._core_timer_at: float | None = None
        self._catch_up_until = 0.0
        self._arrived: list[tuple[bytes, OpaqueAddress]] = []
        self._receiver: Any = None
        self._arrivals = 0
        self._arrivals_since = environment.now()
        self._is_dense = False
        self.is_behind = False  # whether more has arrived than was taken last
        on_fork(self._after_fork)

    # --- what server and client do differently --------------------------------------------------

    def receive_datagram(self, data: bytes, address: OpaqueAddress, now: float, unix_time: int) -> None:
        """Give a datagram to the core."""
        raise NotImplementedError

    def take_arrivals(self, now: float) -> None:
        """See what the datagrams brought: events of the core, messages, calls."""
        raise NotImplementedError

    def handle_core_timer(self, now: float, unix_time: int) -> None:
        """The time that `next_core_timer` named has come."""
        raise NotImplementedError

    def next_core_timer(self) -> float | None:
        """When `handle_core_timer` is due."""
        raise NotImplementedError

    def send_due(self, now: float) -> list[tuple[bytes, Address]]:
        """Let everything leave that may; the datagrams of it."""
        raise NotImplementedError

    # --- any thread -----------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Set the end going. Any thread, also from a signal handler."""
        self.stop_requested.set_result(None)

    def wake(self) -> None:
        """Something changed that the next turn will see. However often it is asked for, it posts once."""
        if self.bridge.is_owner_thread():
            self.request_turn()
        elif not self._is_wake_posted:
            self._is_wake_posted = True
            try:
                self.bridge.post(self._take_wake)
            except (NotRunningError, QueueFullError):
                # Too late; or so many calls wait that there will be turns enough.
                self._is_wake_posted = False

    # --- the hub's thread -----------------------------------------------------------------------

    def request_turn(self) -> None:
        """There is something to send, or may be."""
        self._turner.ask()

    def _take_wake(self) -> None:
        self._is_wake_posted = False
        self.request_turn()

    def use_socket(self, socket: UdpSocket) -> None:
        """Receive from this socket from now on, and close the one before."""
        self.stop_receiving()
        if self.socket is not None:
            self.socket.close()
        self.socket = socket
        self._receiver = self.environment.spawn(self._receive_loop, socket)

    def stop_receiving(self) -> None:
        """What arrives from now on stays in the kernel."""
        if self._receiver is not None:
            self._receiver.kill(block=False)
            self._receiver = None
        self.is_behind = False

    def send_now(self) -> None:
        """Send without waiting for the turn; for what is said last."""
        self.send(self.send_due(self.environment.now()))

    def send(self, datagrams: list[tuple[bytes, Address]]) -> None:
        """Send datagrams while there is a socket."""
        if datagrams and self.socket is not None and not self.socket.is_closed:
            self.socket.send_all(datagrams)

    def make_room(self) -> None:
        """Take datagrams out of the kernel in the middle of much else; they are looked at later."""
        arrived, config = self._arrived, self.config
        if self._receiver is not None and self.socket is not None and len(arrived) < config.max_arrived:
            arrived.extend(self.socket.receive_batch(config.receive_batch, config.receive_batch_s))
            if arrived:  # the kernel has no more of which it could tell the receiver
                self.socket.wake_reader()

    def close(self) -> None:
        """Close socket, timers and bridge. Idempotent."""
        forget_fork(self._after_fork)
        self.stop_receiving()
        self._core_timer.close()
        self._turner.close()
        self.watchdog.close()
        if self.socket is not None:
            self.socket.close()
        self.bridge.close()

    # --- inside ---------------------------------------------------------------------------------

    def _receive_loop(self, socket: UdpSocket) -> None:
        while self.is_behind or self._arrived or socket.wait_readable():
            try:
                self._receive(socket, self.environment.now() + self.config.receive_batch_s)
            except Exception:
                logger.exception("taking what arrived failed; this is a bug in pygase_gevent")
            self.request_turn()
            if self.is_behind:
                self.environment.sleep(ONE_ROUND_S)
            elif self._is_dense:
                self.environment.sleep(self.config.dense_interval_s)

    def _receive(self, socket: UdpSocket, until: float) -> bool:
        """Give datagrams to the core, one batch and no longer than `until`; whether there were any."""
        environment, config = self.environment, self.config
        is_fresh = not self._arrived
        if is_fresh:
            self._arrived = socket.receive_batch(config.receive_batch, config.receive_batch_s)
        if not self._arrived:
            self.is_behind = False
            return False
        now, unix_time = environment.now(), environment.unix_time()
        arrived, self._arrived = self._arrived, []
        failed: tuple[OpaqueAddress, Exception] | None = None
        count = 0
        try:
            for data, address in arrived:
                count += 1
                try:
                    self.receive_datagram(data, address, now, unix_time)
                except Exception as error:
                    failed = address, error
                    break
                now = environment.now()
                if now >= until:
                    break
        finally:
            if count < len(arrived):
                self._arrived = arrived[count:]
        if failed is not None:  # others may run while this is written, and find the rest where it was
            logger.error(
                "a datagram of %s failed; this is a bug in pygase_gevent", failed[0], exc_info=failed[1]
            )
        # Of a rest that was taken beforehand the kernel may have more.
        self.is_behind = bool(self._arrived) or not is_fresh or count >= config.receive_batch
        self.take_arrivals(now)
        self._arrivals += count
        elapsed = now - self._arrivals_since
        if elapsed >= config.dense_window_s:
            self._is_dense = self._arrivals > config.dense_datagrams_per_s * elapsed
            self._arrivals, self._arrivals_since = 0, now
        return True

    def _turn(self) -> None:
        if self.socket is None or self.socket.is_closed:
            return
        try:
            if self._is_core_due:
                self._handle_core_timer(self.socket)
            self.send_now()
        except Exception:
            logger.exception("a turn of the network loop failed; this is a bug in pygase_gevent")
            self._is_core_due = False
        if self._is_core_due:
            self._core_timer.start(self.config.dense_interval_s)
        else:
            self._arm_core_timer(self.environment.now())

    def _handle_core_timer(self, socket: UdpSocket) -> None:
        if not self._has_caught_up(socket):
            return
        self._is_core_due = False
        now = self.environment.now()
        self.handle_core_timer(now, self.environment.unix_time())
        self.take_arrivals(now)

    def _has_caught_up(self, socket: UdpSocket) -> bool:
        """Whoever was stopped for seconds must hear what waits before it judges silence.

        Batch after batch, between which others get their turn; and it takes no longer than the stop was, so
        that a flood holds up no timer.
        """
        if self._receiver is None:
            return True
        until = self.environment.now() + self.config.receive_batch_s
        if not self._receive(socket, until) or not self.is_behind:
            return True
        return self.environment.now() >= self._catch_up_until

    def _arm_core_timer(self, now: float) -> None:
        due = self.next_core_timer()
        if due is None:
            self._core_timer.stop()
            self._core_timer_at = None
        elif self._core_timer_at is None or due < self._core_timer_at:
            # A later deadline is left to the armed timer: it looks again when it fires.
            self._core_timer_at = due
            self._core_timer.start(max(0.0, due - now))

    def _core_came_due(self) -> None:
        if not self._is_core_due:
            now = self.environment.now()
            late_s = 0.0 if self._core_timer_at is None else now - self._core_timer_at
            self._catch_up_until = now + self.config.catch_up_s + late_s
            self._core_timer_at = None
            self._is_core_due = True
        self.request_turn()

    def _after_fork(self) -> None:
        """In a child process: the parent goes on with this run. The socket looks after itself."""
        is_forked_here = self.bridge.is_owner_thread()
        self.bridge.after_fork()
        if is_forked_here:  # in a handler, say: what ran there goes on in the child, and ends
            self.request_stop()
