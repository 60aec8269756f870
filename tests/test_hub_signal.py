"""`Signal` and `Outcome`: waiting across threads, greenlets and hubs."""

from __future__ import annotations

import signal as signals

import gevent
import gevent.event
import pytest
from native import native_sleep, run_natively, switching_often

from pygase_gevent.errors import LocalError, WaitTimeoutError
from pygase_gevent.hub.signal import Outcome, Signal, hub_of_this_thread

LIMIT_S = 10.0
crosses_threads = pytest.mark.crosses_threads


class Flag:
    """What is waited for."""

    def __init__(self) -> None:
        self.signal = Signal()
        self.value = 0

    def set(self, value: int = 1) -> None:
        self.value = value
        self.signal.notify()

    def wait(self, value: int = 1, timeout: float | None = LIMIT_S) -> bool:
        return self.signal.wait_for(lambda: self.value >= value, timeout)


def test_what_is_already_true_needs_no_notify_and_no_hub() -> None:
    assert Signal().wait_for(lambda: True, timeout=0)
    assert not Signal().wait_for(lambda: False, timeout=0)
    assert not Signal().wait_for(lambda: False, timeout=-1)


def test_a_notify_that_changes_nothing_does_not_end_the_wait() -> None:
    flag = Flag()
    waiter = gevent.spawn(flag.wait)
    gevent.sleep(0.01)
    flag.signal.notify()
    gevent.sleep(0.01)
    assert not waiter.ready()
    flag.set()
    assert waiter.get(timeout=LIMIT_S)


def test_the_predicates_error_is_raised_where_it_is_waited() -> None:
    calls = []

    def predicate() -> bool:
        calls.append(1)
        if len(calls) > 1:
            raise KeyError("gone")
        return False

    flag = Flag()
    gevent.spawn_later(0.01, flag.set)
    with pytest.raises(KeyError):
        flag.signal.wait_for(predicate, LIMIT_S)


def test_a_predicate_may_yield_and_misses_nothing_meanwhile() -> None:
    flag = Flag()

    def predicate() -> bool:
        value = flag.value
        gevent.sleep(0.02)  # the notify comes now, after the look
        return value > 0

    gevent.spawn_later(0.03, flag.set)
    assert flag.signal.wait_for(predicate, LIMIT_S)


def test_a_timeout_looks_once_more_and_says_no() -> None:
    flag = Flag()
    assert not flag.wait(timeout=0.01)
    flag.value = 1  # changed without a notify
    assert flag.wait(timeout=0.01)


@pytest.mark.parametrize("timeout", [float("inf"), 1e12])
def test_endless_timeouts_work(timeout: float) -> None:
    flag = Flag()
    gevent.spawn_later(0.01, flag.set)
    assert flag.wait(timeout=timeout)


def test_waiting_inside_the_hub_is_a_clear_error() -> None:
    flag = Flag()
    errors: list[BaseException] = []

    def callback() -> None:
        try:
            flag.wait()
        except LocalError as error:
            errors.append(error)

    gevent.get_hub().loop.run_callback(callback)
    gevent.sleep(0.01)
    assert "spawn a greenlet" in str(errors[0])


@crosses_threads
def test_a_native_thread_wakes_greenlets_while_others_run() -> None:
    flag, turns = Flag(), []

    def ticker() -> None:
        while True:
            turns.append(1)
            gevent.sleep(0.001)

    ticking = gevent.spawn(ticker)
    waiters = [gevent.spawn(flag.wait) for _ in range(5)]

    def notify_when_they_ran() -> None:
        while len(turns) < 5:
            native_sleep(0.001)
        flag.set()

    run_natively(notify_when_they_ran).wait(LIMIT_S)
    assert [waiter.get(timeout=LIMIT_S) for waiter in waiters] == [True] * 5
    ticking.kill()


@crosses_threads
def test_a_thread_without_a_hub_waits_natively_and_makes_none() -> None:
    flag = Flag()

    def wait() -> tuple[bool, bool, object]:
        return flag.wait(), flag.signal.wait_for(lambda: False, 0.01), hub_of_this_thread()

    waiting = [run_natively(wait) for _ in range(3)]
    gevent.sleep(0.02)
    flag.set()
    assert [outcome.wait(LIMIT_S) for outcome in waiting] == [(True, False, None)] * 3


@crosses_threads
@switching_often()
def test_no_wake_up_is_lost_between_two_threads() -> None:
    """Two sides that take turns: one lost wake-up and they stand."""
    ping, pong = Flag(), Flag()

    def answer() -> bool:
        for turn in range(1, 1001):
            if not ping.wait(turn):
                return False
            pong.set(turn)
        return True

    for run in (run_natively, _run_in_hub):
        ping.value = pong.value = 0
        answering = run(answer)
        for turn in range(1, 1001):
            ping.set(turn)
            assert pong.wait(turn)
        assert answering.wait(LIMIT_S)


def _run_in_hub(function: object) -> Outcome[bool]:
    def run() -> object:
        try:
            return gevent.spawn(function).get()
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    return run_natively(run)


@crosses_threads
def test_many_waiters_of_all_kinds_at_once() -> None:
    flag = Flag()
    native = [run_natively(flag.wait) for _ in range(4)]
    hubs = [_run_in_hub(flag.wait) for _ in range(4)]
    greenlets = [gevent.spawn(flag.wait) for _ in range(20)]
    gevent.sleep(0.02)
    run_natively(flag.set).wait(LIMIT_S)
    assert all(outcome.wait(LIMIT_S) for outcome in native + hubs)
    assert all(waiter.get(timeout=LIMIT_S) for waiter in greenlets)


@crosses_threads
@pytest.mark.parametrize("error", [gevent.Timeout, gevent.GreenletExit, KeyboardInterrupt, SystemExit])
def test_an_interrupted_waiter_leaves_nothing_behind(error: type[BaseException]) -> None:
    flag = Flag()
    loop = gevent.get_hub().loop
    active_before = loop.activecnt

    def wait() -> str:
        try:
            flag.wait(timeout=60)
        except error:
            return "interrupted"
        return "woken"

    waiter = gevent.spawn(wait)
    gevent.sleep(0.01)
    assert loop.activecnt > active_before
    waiter.kill(error, block=False)
    assert waiter.get(timeout=LIMIT_S) == "interrupted"
    gevent.sleep(0)
    assert loop.activecnt <= active_before
    assert not flag.signal._waiters
    flag.set()


@crosses_threads
def test_waits_cost_no_descriptors(no_leaks: None) -> None:
    flag = Flag()
    for _ in range(200):
        assert not flag.wait(timeout=0.0001)
    assert not flag.signal._waiters


def test_a_waiter_whose_hub_was_destroyed_is_forgotten() -> None:
    flag = Flag()

    def start_waiting_and_destroy_the_hub() -> None:
        gevent.spawn(flag.wait)
        gevent.sleep(0.01)
        gevent.get_hub().destroy(destroy_loop=True)

    run_natively(start_waiting_and_destroy_the_hub).wait(LIMIT_S)
    assert flag.signal._waiters
    flag.set()
    assert not flag.signal._waiters


@pytest.mark.parametrize("has_hub", [False, True])
@pytest.mark.crosses_threads
def test_ctrl_c_interrupts_the_main_threads_wait(run_script, has_hub: bool) -> None:
    done = run_script(
        f"""
        import os, signal, sys, _thread
        sys.path.insert(0, "tests")
        import gevent
        from native import run_natively, native_sleep
        from pygase_gevent.hub.signal import Signal
        if {has_hub}:
            gevent.sleep(0)
        def interrupt():
            native_sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)
        run_natively(interrupt)
        signal_ = Signal()
        try:
            signal_.wait_for(lambda: False, 20)
        except KeyboardInterrupt:
            print("interrupted", len(signal_._waiters))
        """
    )
    assert done.stdout == "interrupted 0\n", done.stderr


@crosses_threads
def test_a_python_signal_handler_may_notify_the_signal_that_is_waited_for() -> None:
    flag = Flag()
    before = signals.signal(signals.SIGALRM, lambda *_: flag.set())
    try:
        signals.setitimer(signals.ITIMER_REAL, 0.02)
        assert flag.wait()
    finally:
        signals.signal(signals.SIGALRM, before)


@crosses_threads
def test_an_outcome_reaches_every_thread_once() -> None:
    outcome: Outcome[str] = Outcome()
    waiting = [run_natively(outcome.wait, LIMIT_S) for _ in range(2)]
    greenlet = gevent.spawn(outcome.wait, LIMIT_S)
    gevent.sleep(0.01)
    outcome.set_result("first")
    outcome.set_result("second")
    outcome.set_error(OSError("third"))
    assert [other.wait(LIMIT_S) for other in waiting] == ["first"] * 2
    assert greenlet.get(timeout=LIMIT_S) == "first"
    assert outcome.wait() == "first"


@crosses_threads
def test_an_outcomes_error_is_raised_in_the_waiter() -> None:
    outcome: Outcome[str] = Outcome()
    with pytest.raises(WaitTimeoutError):
        outcome.wait(0.001)
    run_natively(outcome.set_error, OSError("port taken"))
    with pytest.raises(OSError, match="port taken"):
        outcome.wait(LIMIT_S)
