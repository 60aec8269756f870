"""`Watchdog`: names what held the hub, and nothing else."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic

import gevent
import greenlet
import pytest
from conftest import RunScript
from native import native_sleep

from pygase_gevent.config import Config
from pygase_gevent.hub.monitor import Monitor
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
    gevent.sleep(0.001)  # what it logs is logged in the hub
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


def test_switches_are_traced_only_while_something_is_watched(watchdog: Watchdog, clock: Clock) -> None:
    gevent.sleep(0)
    assert greenlet.gettrace() is None
    with watchdog.watch("handler"):
        assert greenlet.gettrace() is not None
        gevent.sleep(0)
        assert greenlet.gettrace() is not None
    gevent.sleep(0)
    assert greenlet.gettrace() is None
    with watchdog.watch("handler"):
        clock.compute(0.2)
        gevent.sleep(0)
    assert watchdog.blocked == {"handler": 1}
    gevent.sleep(0)


def test_a_tracer_that_was_there_before_is_still_called(watchdog: Watchdog) -> None:
    events: list[str] = []

    def tracer(event: str, args: object) -> None:
        events.append(event)

    greenlet.settrace(tracer)
    with watchdog.watch("handler"):
        gevent.sleep(0)
        assert events
        events.clear()
    gevent.sleep(0)
    assert events
    assert greenlet.gettrace() is tracer
    greenlet.settrace(None)


def test_a_tracer_that_comes_and_goes_during_a_watch_leaves_it_watched(
    watchdog: Watchdog, clock: Clock
) -> None:
    ours = None

    def tracer(event: str, args: object) -> None:
        if ours is not None:
            ours(event, args)

    with watchdog.watch("handler"):
        ours = greenlet.settrace(tracer)
    gevent.sleep(0)
    assert greenlet.gettrace() is tracer
    with watchdog.watch("handler"):
        clock.compute(0.2)
        gevent.sleep(0)
        greenlet.settrace(ours)
        clock.compute(0.2)
    assert watchdog.blocked == {"handler": 2}
    gevent.sleep(0)


def test_a_tracer_that_goes_without_a_look_at_others_ends_one_watch_at_the_most(
    watchdog: Watchdog, clock: Clock
) -> None:
    greenlet.settrace(lambda event, args: None)
    with watchdog.watch("handler"):
        greenlet.settrace(None)
    with watchdog.watch("handler"):
        clock.compute(0.2)
        gevent.sleep(0)
        clock.compute(0.2)
    assert watchdog.blocked == {"handler": 2}
    gevent.sleep(0)


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


# --- the monitor ------------------------------------------------------------------------------------


def block_natively(seconds: float) -> None:
    native_sleep(seconds)  # the line that the stack has to show


def test_a_blocked_hub_is_named_with_its_stack(warnings: Callable[[], list[str]]) -> None:
    monitor = Monitor()
    watchdog = Watchdog(Config(blocked_hub_s=0.02), monotonic, monitor)
    counter: Counter[str] = Counter()
    with watchdog.watch("handler MOVE", " of Ann", counter):
        block_natively(0.3)
    (message,) = warnings()
    watchdog.close()
    assert message.startswith("handler MOVE of Ann held the hub for 3")
    assert "it was here:\n" in message
    assert "in block_natively\n    native_sleep(seconds)" in message
    assert watchdog.blocked == counter == {"handler MOVE": 1}


def test_the_stack_is_that_of_the_stretch_that_was_too_long(warnings: Callable[[], list[str]]) -> None:
    """A handler that computes a little, waits, and then blocks is not blamed for where it waited."""
    monitor = Monitor()
    watchdog = Watchdog(Config(blocked_hub_s=0.05), monotonic, monitor)

    def handler() -> None:
        with watchdog.watch("handler MOVE"):
            for _ in range(20):
                gevent.sleep(0.01)
            block_natively(0.4)

    gevent.spawn(handler).join()
    (message,) = warnings()
    watchdog.close()
    assert "block_natively" in message
    assert "gevent.sleep" not in message


def test_who_waits_cooperatively_is_not_named_by_the_monitor_either(
    warnings: Callable[[], list[str]],
) -> None:
    monitor = Monitor()
    watchdog = Watchdog(Config(blocked_hub_s=0.1), monotonic, monitor)

    def handler() -> None:
        with watchdog.watch("handler MOVE"):
            gevent.sleep(0.3)

    gevent.joinall([gevent.spawn(handler) for _ in range(5)])
    assert warnings() == []
    watchdog.close()
    assert not watchdog.blocked


@pytest.mark.crosses_threads
@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs /proc")
def test_the_monitor_is_one_thread_for_all_hubs_and_ends_with_the_last(run_script: RunScript) -> None:
    result = run_script(
        """
        import os, sys; sys.path.insert(0, "tests")
        from native import native_sleep
        from pygase_gevent.config import Config
        from pygase_gevent.hub.environment import current_environment
        from pygase_gevent.hub.signal import Outcome
        from pygase_gevent.hub.thread import HubThread
        def wait_for(count):
            for _ in range(2000):
                if len(os.listdir("/proc/self/task")) == count:
                    return True
                native_sleep(0.005)
        def watch():
            watchdog = current_environment().watchdog(Config())
            go_on.wait()
            watchdog.close()
        for _ in range(3):
            go_on = Outcome()
            threads = [HubThread(watch, name="watched", daemon=True) for _ in range(4)]
            for thread in threads:
                thread.start()
            print(wait_for(1 + 4 + 1))
            go_on.set_result(None)
            for thread in threads:
                thread.join(10)
            print(wait_for(1))
        """
    )
    assert (result.stderr, result.stdout, result.returncode) == ("", "True\n" * 6, 0)


@pytest.mark.crosses_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_the_child_has_a_monitor_of_its_own(run_script: RunScript) -> None:
    result = run_script(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import logging; logging.basicConfig(format="%(message)s")
        import gevent
        from gevent import monkey
        from pygase_gevent.config import Config
        from pygase_gevent.hub.environment import current_environment
        sleep = monkey.get_original("time", "sleep")
        watchdog = current_environment().watchdog(Config())
        child = os.fork()
        if child == 0:
            watchdog = current_environment().watchdog(Config())
            with watchdog.watch("the child"):
                sleep(0.4)
            gevent.sleep(0.01)
            os._exit(0)
        monkey.get_original("os", "waitpid")(child, 0)
        with watchdog.watch("the parent"):
            sleep(0.4)
        gevent.sleep(0.01)
        watchdog.close()
        """
    )
    assert result.returncode == 0
    child, parent = result.stderr.split("the parent held the hub")
    assert child.startswith("the child held the hub")
    assert "it was here" in child
    assert "it was here" in parent


def test_watchdogs_of_one_hub_share_its_trace_function(clock: Clock) -> None:
    first = Watchdog(Config(), clock)
    second = Watchdog(Config(), clock)
    with first.watch("outer"):
        trace = greenlet.gettrace()
        with second.watch("inner"):
            assert greenlet.gettrace() == trace
            clock.compute(0.2)
            gevent.sleep(0)
    first.close()
    assert greenlet.gettrace() == trace
    with second.watch("inner"):
        clock.compute(0.2)
    second.close()
    second.close()
    assert greenlet.gettrace() is None
    assert (first.blocked, second.blocked) == ({}, {"inner": 2})
    gevent.sleep(0.001)  # it is logged in the hub
