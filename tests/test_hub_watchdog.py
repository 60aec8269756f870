"""`Watchdog`: names what held the hub, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import gevent
import greenlet
import pytest

from pygase_gevent.config import Config
from pygase_gevent.hub.watchdog import Watchdog


class Clock:
    """Time passes only where a test says so: held by a greenlet that computes."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time

    def compute(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watchdog(clock: Clock) -> Iterator[Watchdog]:
    watchdog = Watchdog(Config(), clock)
    yield watchdog
    watchdog.close()
    assert greenlet.gettrace() is None


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING)

    def read() -> list[str]:
        gevent.sleep(0.005)
        return [record.getMessage() for record in caplog.records]

    return read


def test_what_computes_too_long_is_named(
    watchdog: Watchdog, clock: Clock, warnings: Callable[[], list[str]]
) -> None:
    with watchdog.watch("handler SHOOT"):
        clock.compute(0.25)
    with watchdog.watch("handler MOVE"):
        clock.compute(0.05)
    assert watchdog.blocked == {"handler SHOOT": 1}
    assert warnings() == ["handler SHOOT held the hub for 250 ms; everybody else on it waited (limit 100 ms)"]


def test_it_is_logged_once_a_minute_and_counted_always(
    watchdog: Watchdog, clock: Clock, warnings: Callable[[], list[str]]
) -> None:
    for _ in range(10):
        with watchdog.watch("time_step"):
            clock.compute(0.2)
    assert len(warnings()) == 1
    clock.compute(60)
    with watchdog.watch("time_step"):
        clock.compute(0.2)
    assert len(warnings()) == 2
    assert watchdog.blocked == {"time_step": 11}


def test_cooperative_waiting_is_nobodys_fault(watchdog: Watchdog, clock: Clock) -> None:
    def other() -> None:
        clock.compute(5)  # unwatched, while the handler sleeps

    def handler() -> None:
        with watchdog.watch("sleeper"):
            gevent.spawn(other)
            clock.compute(0.09)
            gevent.sleep(0.001)
            clock.compute(0.09)
            gevent.sleep(0)
            clock.compute(0.09)

    gevent.spawn(handler).join()
    assert watchdog.blocked == {}


def test_each_stretch_between_two_switches_counts(watchdog: Watchdog, clock: Clock) -> None:
    def handler() -> None:
        with watchdog.watch("stutter"):
            for _ in range(3):
                clock.compute(0.2)
                gevent.sleep(0)

    def innocent() -> None:
        with watchdog.watch("innocent"):
            for _ in range(3):
                clock.compute(0.01)
                gevent.sleep(0)

    gevent.joinall([gevent.spawn(handler), gevent.spawn(innocent)])
    assert watchdog.blocked == {"stutter": 3}


def test_watches_nest_and_the_inner_one_is_blamed(watchdog: Watchdog, clock: Clock) -> None:
    with watchdog.watch("outer"):
        clock.compute(0.05)
        with watchdog.watch("inner"):
            clock.compute(0.2)
        clock.compute(0.05)
    assert watchdog.blocked == {"inner": 1}


def test_a_handler_that_raises_or_is_killed_is_watched_no_longer(watchdog: Watchdog, clock: Clock) -> None:
    def handler() -> None:
        with watchdog.watch("killed"):
            gevent.sleep(10)

    victim = gevent.spawn(handler)
    gevent.sleep(0.001)
    victim.kill()
    with pytest.raises(ValueError), watchdog.watch("raises"):
        raise ValueError
    assert not watchdog._watches
    clock.compute(1)
    gevent.sleep(0)
    assert watchdog.blocked == {}


def test_what_goes_on_after_its_end_is_nobodys_fault(watchdog: Watchdog, clock: Clock) -> None:
    with watchdog.watch("handler SHOOT"):
        watchdog.close()
        clock.compute(5.0)
    assert not watchdog.blocked


def test_a_real_clock_and_a_real_block() -> None:
    from time import monotonic, perf_counter

    watchdog = Watchdog(Config(blocked_hub_s=0.01), monotonic)

    def handler() -> None:
        with watchdog.watch("burner"):
            end = perf_counter() + 0.02
            while perf_counter() < end:
                pass
            gevent.sleep(0.05)

    gevent.spawn(handler).join()
    watchdog.close()
    assert watchdog.blocked["burner"] == 1


def test_a_tracer_that_was_there_before_is_still_called(clock: Clock) -> None:
    events: list[str] = []

    def tracer(event: str, args: object) -> None:
        events.append(event)

    greenlet.settrace(tracer)
    watchdog = Watchdog(Config(), clock)
    gevent.sleep(0)
    watchdog.close()
    assert greenlet.gettrace() is tracer
    greenlet.settrace(None)
    assert events


@pytest.mark.parametrize("order", ["first in", "last in"])
def test_two_watchdogs_of_one_hub_close_in_any_order(clock: Clock, order: str) -> None:
    server, machine = Watchdog(Config(), clock), Watchdog(Config(), clock)

    def handler(watchdog: Watchdog) -> None:
        with watchdog.watch("handler"):
            clock.compute(0.2)
            gevent.sleep(0)

    first, second = (server, machine) if order == "first in" else (machine, server)
    for watchdog in (first, second):
        gevent.spawn(handler, watchdog).join()
    first.close()
    gevent.spawn(handler, second).join()
    gevent.sleep(0.001)
    second.close()
    assert greenlet.gettrace() is None
    assert (first.blocked["handler"], second.blocked["handler"]) == (1, 2)
