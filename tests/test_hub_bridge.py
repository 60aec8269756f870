"""`Bridge`: calls into another thread's hub."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.event
import pytest
from native import native_sleep, run_natively, switching_often

from pygase_gevent.config import Config
from pygase_gevent.errors import NotRunningError, QueueFullError, WaitTimeoutError
from pygase_gevent.hub.bridge import Bridge
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.hub.thread import HubThread

LIMIT_S = 10.0
crosses_threads = pytest.mark.crosses_threads


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge(Config())
    yield bridge
    bridge.close()


class OtherHub:
    """A bridge into a hub in a thread of its own."""

    def __init__(self, config: Config | None = None) -> None:
        ready: Outcome[Bridge] = Outcome()
        self.thread = HubThread(
            lambda: self._run(ready, config or Config()), name="other", daemon=True, ready=ready
        )
        self.thread.start()
        self.bridge = ready.wait(LIMIT_S)

    def _run(self, ready: Outcome[Bridge], config: Config) -> None:
        self.stopped = gevent.event.Event()
        bridge = Bridge(config)
        ready.set_result(bridge)
        self.stopped.wait()
        bridge.close()

    def close(self) -> None:
        if self.thread.is_alive():
            self.bridge.post(self.stopped.set)
            self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()


@pytest.fixture
def other() -> Iterator[OtherHub]:
    other = OtherHub()
    yield other
    other.close()


@crosses_threads
@switching_often()
def test_each_posters_order_is_kept(other: OtherHub) -> None:
    arrived: list[tuple[int, int]] = []

    def post(poster: int) -> None:
        for number in range(2000):
            other.bridge.post(arrived.append, (poster, number))

    for posting in [run_natively(post, poster) for poster in range(4)]:
        posting.wait(LIMIT_S)
    other.bridge.call(lambda: None, timeout=LIMIT_S)
    for poster in range(4):
        assert [number for who, number in arrived if who == poster] == list(range(2000))


@crosses_threads
def test_a_call_answers_or_raises(other: OtherHub) -> None:
    def divide(a: int, b: int) -> tuple[float, bool]:
        return a / b, other.bridge.is_owner_thread()

    assert other.bridge.call(divide, 6, 3) == (2.0, True)
    with pytest.raises(ZeroDivisionError):
        other.bridge.call(divide, 6, 0)
    assert run_natively(other.bridge.call, divide, 6, 3).wait(LIMIT_S) == (2.0, True)
    assert not other.bridge.is_owner_thread()


@crosses_threads
def test_calls_from_many_greenlets_at_once(other: OtherHub) -> None:
    callers = [gevent.spawn(other.bridge.call, lambda n=n: n) for n in range(200)]
    assert [caller.get(timeout=LIMIT_S) for caller in callers] == list(range(200))


@crosses_threads
def test_a_call_that_had_to_wait_too_long_never_begins(other: OtherHub) -> None:
    begun: list[int] = []
    other.bridge.post(native_sleep, 0.1)
    with pytest.raises(WaitTimeoutError):
        other.bridge.call(begun.append, 1, timeout=0.01)
    other.bridge.call(lambda: None, timeout=LIMIT_S)
    assert begun == []


@crosses_threads
def test_an_interrupted_caller_leaves_nothing_behind(other: OtherHub) -> None:
    begun: list[int] = []
    other.bridge.post(native_sleep, 0.1)
    caller = gevent.spawn(other.bridge.call, begun.append, 1)
    gevent.sleep(0.01)
    caller.kill()
    other.bridge.call(lambda: None, timeout=LIMIT_S)
    assert begun == []


@crosses_threads
def test_two_hubs_may_call_each_other_crosswise(other: OtherHub, bridge: Bridge) -> None:
    def there_and_back() -> bool:
        back: Outcome[bool] = Outcome()
        gevent.spawn(lambda: back.set_result(bridge.call(bridge.is_owner_thread)))
        return back.wait(LIMIT_S)

    assert gevent.spawn(other.bridge.call, there_and_back).get(timeout=LIMIT_S)


def test_a_call_in_the_owners_thread_runs_at_once(bridge: Bridge) -> None:
    assert bridge.call(lambda: "now") == "now"
    ran: list[int] = []
    bridge.run_soon(ran.append, 1)
    assert ran == [1]
    bridge.post(ran.append, 2)
    assert ran == [1]
    gevent.sleep(0.01)
    assert ran == [1, 2]


@crosses_threads
def test_run_soon_from_another_thread_is_posted(other: OtherHub) -> None:
    done: Outcome[bool] = Outcome()
    other.bridge.run_soon(lambda: done.set_result(other.bridge.is_owner_thread()))
    assert done.wait(LIMIT_S)


def test_posts_do_not_starve_the_hub(bridge: Bridge) -> None:
    """A function that always posts itself anew lets timers and greenlets have their turn."""
    running = True

    def again() -> None:
        if running:
            bridge.post(again)

    bridge.post(again)
    with gevent.Timeout(LIMIT_S):
        for _ in range(3):
            gevent.sleep(0.01)
    running = False


def test_one_wake_up_takes_all(bridge: Bridge) -> None:
    turns: list[int] = []
    loop = gevent.get_hub().loop
    done = gevent.event.Event()
    for _ in range(100):
        bridge.post(lambda: turns.append(loop.iteration))
    bridge.post(done.set)
    done.wait(LIMIT_S)
    assert len(turns) == 100
    assert len(set(turns)) == 1


@pytest.mark.parametrize("error", [ValueError, gevent.GreenletExit, gevent.Timeout, BaseException])
def test_what_a_posted_function_raises_is_logged(
    bridge: Bridge, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error("oops")

    done = gevent.event.Event()
    with caplog.at_level(logging.ERROR):
        bridge.post(fail)
        bridge.post(done.set)
        assert done.wait(LIMIT_S)
    assert [record.name for record in caplog.records] == ["pygase_gevent.hub"]
    assert "oops" in caplog.text


def test_ctrl_c_in_a_posted_function_reaches_the_main_greenlet(bridge: Bridge) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    bridge.post(interrupt)
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(LIMIT_S)
    done = gevent.event.Event()
    bridge.post(done.set)
    assert done.wait(LIMIT_S), "the bridge works on"


@crosses_threads
def test_a_full_bridge_refuses(request: pytest.FixtureRequest) -> None:
    other = OtherHub(Config(max_bridge_calls=10))
    holding: Outcome[None] = Outcome()

    def hold() -> None:
        holding.set_result(None)
        native_sleep(0.1)

    other.bridge.post(hold)
    holding.wait(LIMIT_S)
    for _ in range(10):
        other.bridge.post(lambda: None)
    with pytest.raises(QueueFullError, match="10 calls"):
        other.bridge.post(lambda: None)
    with pytest.raises(QueueFullError):
        other.bridge.call(lambda: None)
    other.thread.join(0.2)
    other.close()


@crosses_threads
def test_a_closed_bridge_ran_what_it_accepted_and_refuses_the_rest() -> None:
    other = OtherHub()
    ran: list[int] = []

    def close_with_calls_waiting() -> None:
        for number in range(5):
            other.bridge.post(ran.append, number)
        other.bridge.close()
        other.bridge.close()
        other.stopped.set()

    other.bridge.call(close_with_calls_waiting)
    assert ran == list(range(5))
    for use in (other.bridge.post, other.bridge.call, other.bridge.run_soon):
        with pytest.raises(NotRunningError):
            use(ran.append, 5)
        with pytest.raises(NotRunningError):
            run_natively(use, ran.append, 5).wait(LIMIT_S)
    other.thread.join(LIMIT_S)
    with pytest.raises(NotRunningError):
        other.bridge.post(ran.append, 5)


@crosses_threads
def test_every_call_is_answered_while_the_bridge_closes() -> None:
    """A post is either refused or runs: no caller hangs."""
    for _ in range(20):
        other = OtherHub()
        ran: list[int] = []

        def call(bridge: Bridge = other.bridge, ran: list[int] = ran) -> int:
            for number in range(100_000):
                try:
                    bridge.call(ran.append, number, timeout=LIMIT_S)
                except NotRunningError:
                    return number
            return -1

        calling = [run_natively(call) for _ in range(3)]
        gevent.sleep(0.002)
        other.close()
        assert sum(outcome.wait(LIMIT_S) for outcome in calling) == len(ran)


@crosses_threads
def test_a_destroyed_hub_is_not_running() -> None:
    def forget_to_close() -> Bridge:
        bridge = Bridge(Config())
        gevent.get_hub().destroy(destroy_loop=True)
        return bridge

    bridge: Any = run_natively(forget_to_close).wait(LIMIT_S)
    with pytest.raises(NotRunningError, match="destroyed"):
        bridge.post(print)


def test_after_a_fork_it_refuses(bridge: Bridge) -> None:
    bridge.after_fork()
    with pytest.raises(NotRunningError):
        bridge.post(print)


@crosses_threads
def test_a_posted_function_may_block_and_keeps_its_place(bridge: Bridge) -> None:
    ran: list[str] = []

    def slow() -> None:
        gevent.sleep(0.01)
        ran.append("slow")

    done = gevent.event.Event()
    bridge.post(slow)
    gevent.sleep(0)
    calls: list[tuple[Callable[..., object], Any]] = [(ran.append, "next"), (lambda _: done.set(), None)]
    for function, argument in calls:
        bridge.post(function, argument)
    assert done.wait(LIMIT_S)
    assert ran == ["slow", "next"]
