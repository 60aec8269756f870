"""The hub side that server and client share: what arrives is taken in short steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import gevent
import pytest

from pygase_gevent import Config
from pygase_gevent.hub.environment import current_environment
from pygase_gevent.network_loop import NetworkLoop
from pygase_gevent.protocol.address import Address

COST_S = 0.003
"""Of one datagram: more than a whole batch may take."""


class CostlyLoop(NetworkLoop):
    """Each datagram holds the hub for a while; a bad one raises."""

    def __init__(self) -> None:
        super().__init__(current_environment(), Config())
        self.received: list[bytes] = []
        self.timers: list[int] = []
        self.cost_s = COST_S
        self._due_at: float | None = None

    def use_timer(self, due_in_s: float) -> None:
        self._due_at = self.environment.now() + due_in_s
        self.request_turn()

    def receive_datagram(self, data: bytes, address: Address, now: float, unix_time: int) -> None:
        if data == b"bad":
            raise RuntimeError("no")
        hold_hub(self.cost_s)
        self.received.append(data)

    def take_arrivals(self, now: float) -> None:
        pass

    def next_core_timer(self) -> float | None:
        return self._due_at

    def handle_core_timer(self, now: float, unix_time: int) -> None:
        self.timers.append(len(self.received))
        self._due_at = None

    def send_due(self, now: float) -> list[tuple[bytes, Address]]:
        return []


@contextmanager
def costly_loop() -> Iterator[tuple[CostlyLoop, Callable[[list[bytes]], object]]]:
    """A loop that receives, and what sends datagrams to it."""
    loop = CostlyLoop()
    environment = loop.environment
    socket = environment.open_udp(bind=("127.0.0.1", 0), config=loop.config)
    sender = environment.open_udp(bind=("127.0.0.1", 0), config=loop.config)
    loop.use_socket(socket)
    try:
        yield loop, lambda datagrams: sender.send_all([(data, socket.address) for data in datagrams])
    finally:
        sender.close()
        loop.close()


def test_costly_datagrams_let_others_run_in_between() -> None:
    with costly_loop() as (loop, send):
        send([b"costly"] * 60)
        seen: set[int] = set()
        while len(loop.received) < 60:
            seen.add(len(loop.received))
            gevent.sleep(0)
        assert len(seen) >= 30


def test_a_datagram_that_fails_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    with costly_loop() as (loop, send):
        datagrams = [b"1", b"bad", b"2", b"bad", b"3"]
        send(datagrams)
        until(lambda: loop.received == [b"1", b"2", b"3"])
        assert "bug" in caplog.text


def test_a_flood_holds_up_no_timer() -> None:
    with costly_loop() as (loop, send):
        send([b"costly"] * 300)
        loop.use_timer(0.01)
        until(lambda: loop.timers)
        assert loop.timers[0] < 200


def test_a_timer_that_waits_for_what_has_arrived_leaves_others_their_turn() -> None:
    with costly_loop() as (loop, send):
        send([b"costly"] * 100)
        loop.use_timer(0.001)
        turns = [0]
        while not loop.timers:
            gevent.sleep(0.001)
            turns.append(len(loop.received))
        assert max(b - a for a, b in itertools.pairwise(turns)) <= 4


def test_after_a_stall_what_waits_is_heard_before_the_timer() -> None:
    with costly_loop() as (loop, send):
        loop.use_timer(0.01)
        gevent.sleep(0)  # the turn arms the timer
        gevent.sleep(0)
        send([b"costly"] * 30)
        hold_hub(0.5)
        until(lambda: loop.timers)
        assert loop.timers == [30]


def test_after_a_stall_all_is_heard_that_waits_in_the_kernel() -> None:
    with costly_loop() as (loop, send):
        loop.cost_s = 0.001  # so that what a batch leaves is gone before the next one
        loop.use_timer(0.01)
        gevent.sleep(0)  # the turn arms the timer
        gevent.sleep(0)
        send([b"cheap"] * 150)
        hold_hub(2.0)
        until(lambda: loop.timers)
        assert loop.timers == [150]


def test_who_took_exactly_a_batch_is_not_behind_for_ever() -> None:
    with costly_loop() as (loop, send):
        loop.cost_s = 0.0
        send([b"free"] * loop.config.receive_batch)
        until(lambda: len(loop.received) == loop.config.receive_batch)
        until(lambda: not loop.is_behind)


def hold_hub(seconds: float) -> None:
    """Lets nobody else run."""
    ends_at = monotonic() + seconds
    while monotonic() < ends_at:
        pass


def until(condition: Callable[[], object]) -> None:
    """Lets this thread's hub run until the condition holds."""
    with gevent.Timeout(10.0):
        while not condition():
            gevent.sleep(0.001)
