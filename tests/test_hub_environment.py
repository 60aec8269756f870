"""`Environment`: the one place that clock, entropy, timers, UDP and threads come from."""

from __future__ import annotations

import logging
import time

import gevent
import gevent.event
import pytest
from native import run_natively

from pygase_gevent.config import Config
from pygase_gevent.hub.environment import Environment, current_environment
from pygase_gevent.hub.signal import Outcome, Signal, hub_of_this_thread
from pygase_gevent.hub.thread import HubThread, destroy_hub_of_this_thread

LIMIT_S = 10.0
crosses_threads = pytest.mark.crosses_threads


@crosses_threads
def test_asking_for_it_makes_no_hub() -> None:
    def ask() -> tuple[Environment, object]:
        environment = current_environment()
        environment.sleep(0.001)
        environment.sleep(-1)
        return environment, hub_of_this_thread()

    assert run_natively(ask).wait(LIMIT_S) == (current_environment(), None)


def test_clocks_and_entropy() -> None:
    environment = current_environment()
    assert environment.now() <= environment.now()
    assert abs(environment.unix_time() - time.time()) < 5
    assert len(environment.entropy(32)) == 32
    assert environment.entropy(32) != environment.entropy(32)


@crosses_threads
def test_sleep_lets_other_greenlets_run() -> None:
    ran = gevent.event.Event()
    gevent.spawn(ran.set)
    current_environment().sleep(0.001)
    assert ran.is_set()


@crosses_threads
def test_a_timer_fires_once_and_can_be_set_anew() -> None:
    environment = current_environment()
    fired = gevent.event.Event()
    count: list[float] = []

    def callback() -> None:
        count.append(environment.now())
        fired.set()

    timer = environment.timer(callback)
    assert not timer.active
    timer.start(60)
    started = environment.now()
    timer.start(0.02)
    assert timer.active
    assert fired.wait(LIMIT_S)
    assert not timer.active
    assert count[0] - started >= 0.019
    timer.start(0)
    timer.stop()
    timer.stop()
    assert not timer.active
    fired.clear()
    timer.start(-1)
    assert fired.wait(LIMIT_S)
    timer.close()
    assert len(count) == 2


def test_a_timer_may_start_itself_anew_in_its_callback() -> None:
    done = gevent.event.Event()
    turns: list[int] = []

    def callback() -> None:
        turns.append(1)
        if len(turns) < 5:
            timer.start(0.001)
        else:
            done.set()

    timer = current_environment().timer(callback)
    timer.start(0.001)
    assert done.wait(LIMIT_S)
    assert len(turns) == 5


def test_a_timers_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        timer = current_environment().timer(lambda: 1 / 0)
        timer.start(0)
        gevent.sleep(0.01)
    assert "division by zero" in caplog.text


def test_timers_leave_no_watchers() -> None:
    loop = gevent.get_hub().loop
    before = loop.activecnt
    timer = current_environment().timer(lambda: None)
    for _ in range(100):
        timer.start(60)
    assert loop.activecnt <= before + 1
    timer.close()
    assert loop.activecnt <= before


@crosses_threads
def test_threads_and_sockets_come_from_it() -> None:
    environment = current_environment()
    config = Config()
    ready: Outcome[tuple[str, int]] = Outcome()
    ended = Signal()

    def serve() -> None:
        udp = current_environment().open_udp(bind=("127.0.0.1", 0), config=config)
        ready.set_result(udp.address)
        while not udp.receive_batch(1, 0.1):
            udp.wait_readable()
        udp.close()

    thread = environment.start_thread(serve, name="serve", daemon=True, ready=ready, config=config)
    assert isinstance(thread, HubThread)
    udp = environment.open_udp(bind=None, config=config)
    udp.send_all([(b"end", ready.wait(LIMIT_S))])
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    udp.close()
    assert environment.resolve("localhost", 1)[0] == ("127.0.0.1", 1)
    assert environment.spawn(lambda: 7).get(timeout=LIMIT_S) == 7
    ended.notify()


def test_a_loop_that_carries_an_environment_has_its_own() -> None:
    """How the virtual one takes the place of the real one."""

    class VirtualEnvironment(Environment):
        def now(self) -> float:
            return 42.0

    class VirtualLoop(gevent.config.loop):  # type: ignore[misc]
        environment = VirtualEnvironment()

    def run_virtually() -> float:
        hub = gevent.hub.Hub(loop=VirtualLoop(default=False))
        gevent._hub_local.set_hub(hub)
        gevent.sleep(0.001)
        now = gevent.spawn(lambda: current_environment().now()).get()
        destroy_hub_of_this_thread()
        return now

    assert run_natively(run_virtually).wait(LIMIT_S) == 42.0
    assert current_environment().now() != 42.0
