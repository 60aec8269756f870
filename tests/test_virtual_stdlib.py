"""The standard library in a virtual world, and that it is itself again afterwards."""

from __future__ import annotations

import os
import queue
import random
import threading
import time

import gevent
import pytest

from pygase_gevent.testing import VirtualNetwork
from pygase_gevent.tokens import issue_connect_token


def test_clocks_and_sleep_are_virtual(virtual_network: VirtualNetwork) -> None:
    before = time.monotonic(), time.time(), time.perf_counter_ns()
    time.sleep(90)
    assert time.monotonic() - before[0] == 90
    assert time.time() - before[1] == 90
    assert time.perf_counter_ns() - before[2] == 90_000_000_000
    assert virtual_network.now == 90


def test_events_conditions_and_queues_are_cooperative(virtual_network: VirtualNetwork) -> None:
    event, condition, numbers = threading.Event(), threading.Condition(), queue.Queue[int](maxsize=1)
    simple = queue.SimpleQueue[str]()
    assert not event.wait(5)
    gevent.spawn_later(1, event.set)
    assert event.wait(5)
    assert virtual_network.now == 6

    def notify() -> None:
        with condition:
            condition.notify_all()

    gevent.spawn_later(1, notify)
    with condition:
        assert condition.wait(5)
    gevent.spawn_later(1, numbers.get)
    numbers.put(1)
    numbers.put(2)
    gevent.spawn_later(1, simple.put, "x")
    assert simple.get(timeout=5) == "x"
    assert virtual_network.now == 9
    with pytest.raises(queue.Empty):
        simple.get(timeout=1)
    with pytest.raises(queue.Full):
        numbers.put(3, timeout=1)
    with condition:
        assert not condition.wait_for(lambda: False, timeout=1)
    assert virtual_network.now == 12


def test_threads_are_greenlets_of_the_same_hub(virtual_network: VirtualNetwork) -> None:
    names: list[str] = []

    class Worker(threading.Thread):
        def run(self) -> None:
            time.sleep(2)
            names.append(threading.current_thread().name)

    native = set(threading.enumerate())
    threads = [Worker(name="a"), threading.Thread(target=lambda: time.sleep(5), name="b", daemon=True)]
    for thread in threads:
        thread.start()
    assert set(threading.enumerate()) == native
    with pytest.raises(RuntimeError):
        threads[0].start()
    threads[0].join()
    assert (names, virtual_network.now) == (["a"], 2)
    threads[1].join(1)
    assert [thread.is_alive() for thread in threads] == [False, True]
    threads[1].join()
    assert virtual_network.now == 5
    timer = threading.Timer(10, lambda: names.append("timer"))
    timer.start()
    timer.join()
    assert (names[-1], virtual_network.now) == ("timer", 15)


def test_chance_comes_from_the_seed() -> None:
    def draw() -> list[object]:
        return [random.random(), random.Random().random(), random.Random(5).random(), os.urandom(8)]

    first, again, other = (VirtualNetwork(seed=seed).run(draw) for seed in (1, 1, 2))
    assert first == again
    assert [a == b for a, b in zip(first, other, strict=True)] == [False, False, True, False]


def test_tokens_are_made_in_virtual_time(virtual_network: VirtualNetwork) -> None:
    def make() -> bytes:
        return issue_connect_token(key=bytes(32), server_addresses=[("127.0.0.1", 1)])

    first = make()
    assert int.from_bytes(first[21:29], "little") == int(time.time())  # create timestamp
    time.sleep(60)
    assert int.from_bytes(make()[21:29], "little") == int(time.time())


def test_afterwards_everything_is_as_before() -> None:
    def look() -> list[object]:
        thread = threading.Thread
        return [
            *(getattr(time, name) for name in ("sleep", "monotonic", "time", "time_ns", "perf_counter")),
            *(threading.Lock, threading.RLock, threading._allocate_lock, threading.current_thread),  # type: ignore[attr-defined]
            *(thread.start, thread.join, thread.is_alive, random.Random.seed, queue.SimpleQueue, os.urandom),
            random.getstate(),
        ]

    before = look()
    VirtualNetwork().run(random.random)
    assert look() == before


def test_native_threads_beside_it_keep_their_own_time() -> None:
    go_on, seen = threading.Event(), []  # native: made before

    def live_outside() -> None:
        go_on.wait()
        lock = threading.Lock()
        seen.append((time.monotonic(), type(lock)))

    thread = threading.Thread(target=live_outside)
    thread.start()
    real, lock_type = time.monotonic(), type(threading.Lock())

    def play() -> None:
        go_on.set()
        while not seen:
            time.sleep(1e-3)  # virtual: the other one is what takes time

    VirtualNetwork().run(play)
    thread.join()
    assert seen[0][1] is lock_type
    assert 0 <= seen[0][0] - real < 100
