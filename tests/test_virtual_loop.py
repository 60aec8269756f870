"""gevent's own functions in virtual time, and what happens where time cannot go on."""

from __future__ import annotations

import threading
from time import monotonic, sleep  # the real ones: bound before any virtual world

import gevent
import pytest
from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from gevent.queue import Empty, Queue
from gevent.socket import create_connection, wait_read

from pygase_gevent.errors import AlreadyRunningError, NotRunningError
from pygase_gevent.hub.signal import hub_of_this_thread
from pygase_gevent.testing import DeadlockError, RealTimeLimitError, VirtualNetwork, VirtualTimeError


def test_sleeping_takes_its_time_and_no_real_time(virtual_network: VirtualNetwork) -> None:
    started = monotonic()
    for _ in range(24 * 365):
        gevent.sleep(3600)
    assert virtual_network.now == 24 * 365 * 3600
    assert monotonic() - started < 30


def test_who_is_due_first_runs_first_whatever_the_order_of_the_starts(
    virtual_network: VirtualNetwork,
) -> None:
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, virtual_network.now))

    for name, delay in (("c", 0.5), ("a", 0.25), ("d", 0.5), ("b", 0.375)):
        gevent.spawn_later(delay, note, name)
    gevent.spawn(note, "first")
    gevent.sleep(1)
    assert seen == [("first", 0.0), ("a", 0.25), ("b", 0.375), ("c", 0.5), ("d", 0.5)]


def test_timeouts_end_what_waits_too_long(virtual_network: VirtualNetwork) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(2.5):
        gevent.sleep(100)
    assert virtual_network.now == 2.5
    assert gevent.with_timeout(1, gevent.sleep, 5, timeout_value="late") == "late"
    assert Event().wait(0.5) is False
    assert virtual_network.now == 4.0
    with pytest.raises(Empty):
        Queue().get(timeout=1)
    assert BoundedSemaphore(1).acquire(timeout=1)
    assert virtual_network.now == 5.0


def test_greenlets_wake_each_other_without_time_passing(virtual_network: VirtualNetwork) -> None:
    queue: Queue[int] = Queue()
    answer: AsyncResult[int] = AsyncResult()

    def add_up() -> None:
        answer.set(sum(queue.get() for _ in range(1000)))

    gevent.spawn(add_up)
    for number in range(1000):
        queue.put(number)
    assert answer.get() == 499_500
    assert Pool(3).map(lambda number: number * 2, range(5)) == [0, 2, 4, 6, 8]
    assert virtual_network.now == 0.0


def test_polling_does_not_stop_time(virtual_network: VirtualNetwork) -> None:
    done = Event()
    gevent.spawn_later(0.5, done.set)
    while not done.is_set():
        gevent.sleep(0)
    assert 0.5 <= virtual_network.now < 0.6


def test_a_deadline_nearer_than_a_float_can_tell_is_reached(virtual_network: VirtualNetwork) -> None:
    deadline = virtual_network.now + 0.1 + 1e-14
    while (left := deadline - virtual_network.now) > 0:
        gevent.sleep(left)
    assert virtual_network.now == pytest.approx(0.1, abs=1e-5)


def test_waiting_for_nothing_in_particular_ends_with_the_last_greenlet(
    virtual_network: VirtualNetwork,
) -> None:
    gevent.spawn_later(3, gevent.sleep, 4)
    assert gevent.wait() is True
    assert virtual_network.now == 7.0
    gevent.idle()


def test_a_deadlock_is_an_error_that_says_who_waits_where(virtual_network: VirtualNetwork) -> None:
    def wait_for_godot() -> None:
        Event().wait()

    gevent.spawn(wait_for_godot)
    with pytest.raises(DeadlockError, match=r"test_virtual_loop\.py:\d+ in wait_for_godot"):
        Event().wait()
    gevent.sleep(1)  # all is not lost
    assert virtual_network.now == 1.0


def test_what_never_ends_is_given_up_in_real_time() -> None:
    def live_for_ever() -> None:
        while True:
            gevent.sleep(1)

    def play() -> None:
        gevent.spawn(live_for_ever).join()

    with pytest.raises(RealTimeLimitError, match=r"(?s)0\.2 s of real time.*in live_for_ever"):
        VirtualNetwork(real_limit_s=0.2).run(play)


def test_what_needs_the_real_world_is_refused(virtual_network: VirtualNetwork) -> None:
    with pytest.raises(VirtualTimeError, match="virtual network"):
        wait_read(0)
    with pytest.raises(VirtualTimeError, match="name servers"):
        create_connection(("localhost", 1))
    with pytest.raises(VirtualTimeError, match="thread pool"):
        gevent.get_hub().threadpool.apply(sleep, (1,))
    with pytest.raises(VirtualTimeError, match="signals"):
        gevent.signal_handler(1, print)


def test_errors_of_greenlets_are_told_and_an_interrupt_comes_to_the_main_one(
    virtual_network: VirtualNetwork, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ValueError("mine")

    def interrupt() -> None:
        raise KeyboardInterrupt

    gevent.spawn(fail)
    gevent.spawn_later(1, interrupt)
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(10)
    assert "ValueError: mine" in capsys.readouterr().err
    gevent.sleep(1)
    assert virtual_network.now == 2.0


def test_the_end_of_the_world_ends_everything_in_it() -> None:
    before = hub_of_this_thread()
    ended: list[str] = []

    def wait(name: str) -> None:
        try:
            Event().wait()
        finally:
            gevent.sleep(0)  # also the orderly kind of end
            ended.append(name)

    def play() -> None:
        gevent.spawn(wait, "a")
        gevent.spawn(wait, "b")
        gevent.spawn_raw(wait, "raw")
        gevent.sleep(1)

    VirtualNetwork().run(play)
    assert sorted(ended) == ["a", "b", "raw"]
    assert hub_of_this_thread() is before


def test_a_thread_without_a_hub_has_none_afterwards() -> None:
    hubs = []

    def use_in_thread() -> None:
        VirtualNetwork().run(gevent.sleep, 5)
        hubs.append(hub_of_this_thread())

    thread = threading.Thread(target=use_in_thread)
    thread.start()
    thread.join()
    assert hubs == [None]


def test_worlds_cannot_be_nested_or_used_outside(virtual_network: VirtualNetwork) -> None:
    with pytest.raises(AlreadyRunningError, match="nested"):
        VirtualNetwork().run(print)
    with pytest.raises(AlreadyRunningError, match="in use"):
        virtual_network.run(print)
    with pytest.raises(NotRunningError, match="within its block"):
        VirtualNetwork().link(1234)
