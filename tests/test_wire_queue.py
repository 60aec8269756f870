"""What waits for the game loop: order, turns, bounds, and that nothing of a client stays."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from native import native_sleep, run_natively, switching_often

from pygase_gevent.config import Config
from pygase_gevent.event import Event, Handler
from pygase_gevent.wire_queue import WireCall, WireQueue

CLIENTS = ["a", "b", "c", None]


class Clock:
    """Each look at it costs a second."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        self.time += 1.0
        return self.time


def step(queue: WireQueue, limit_s: float = 1e9) -> list[tuple[object, object]]:
    clock = Clock()
    queue.begin_step(clock, limit_s)  # type: ignore[arg-type]
    handled = []
    while (item := queue.next_item()) is not None:
        handled.append((queue.client, item.handler_args[0] if isinstance(item, Event) else item.name))
    queue.end_step()
    return handled


def test_clients_take_turns() -> None:
    queue = WireQueue(Config())
    for client, count in (("a", 3), ("b", 1), ("c", 2)):
        for number in range(count):
            assert queue.push_event(Event("E", number), client)
    assert step(queue) == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("c", 1), ("a", 2)]
    assert step(queue) == []


def test_when_it_is_late_each_had_one() -> None:
    queue = WireQueue(Config())
    for number in range(4):
        for client in ("a", "b"):
            assert queue.push_event(Event("E", number), client)
    assert step(queue, limit_s=1.0) == [("a", 0), ("b", 0)]
    assert queue.push_event(Event("E", 0), "c")
    assert queue.push_event(Event("E", 4), "a")
    assert step(queue, limit_s=2.0) == [("a", 1), ("b", 1), ("c", 0), ("a", 2)]
    assert step(queue) == [("b", 2), ("a", 3), ("b", 3), ("a", 4)]


@pytest.mark.parametrize("seed", range(20))
def test_each_client_s_items_stay_in_order_and_none_is_lost(seed: int) -> None:
    chance = random.Random(seed)
    queue = WireQueue(Config(max_wire_events=40, max_wire_events_per_client=12))
    open_lines = {client: queue.open_line(client) for client in ("a", "b")}
    pushed: dict[object, list[object]] = {client: [] for client in CLIENTS}
    handled: dict[object, list[object]] = {client: [] for client in CLIENTS}
    number = 0
    for _ in range(300):
        for _ in range(chance.randrange(12)):
            client, number = chance.choice(CLIENTS), number + 1
            if chance.random() < 0.1:
                is_in = queue.push_call(WireCall(str(number), Handler(len), {}), client)
            elif client in open_lines and chance.random() < 0.7:
                is_in = queue.push_to(open_lines[client], Event("E", str(number)))
            else:
                is_in = queue.push_event(Event("E", str(number)), client)
            waiting = len(pushed[client]) - len(handled[client])
            assert is_in or waiting
            if is_in:
                pushed[client].append(str(number))
        had_some = {client for client in CLIENTS if len(pushed[client]) > len(handled[client])}
        done = step(queue, chance.choice([1.0, 3.0, 9.0]))
        assert {client for client, _ in done} == had_some
        for client, item in done:
            handled[client].append(item)
    for client, item in step(queue):
        handled[client].append(item)
    assert handled == pushed
    assert set(queue._lines) == {"a", "b"}
    for line in open_lines.values():
        queue.close_line(line)
    assert not queue._lines


def test_each_client_has_its_bound_and_all_together_have_one() -> None:
    queue = WireQueue(Config(max_wire_events=6, max_wire_events_per_client=3))
    line = queue.open_line("a")
    assert [queue.push_to(line, Event("E", number)) for number in range(5)] == [True] * 3 + [False] * 2
    step(queue, limit_s=1.0)  # of three, two are held back
    assert [queue.push_to(line, Event("E", number)) for number in range(5, 8)] == [True, False, False]
    assert [queue.push_event(Event("E", number), None) for number in range(5)] == [True] * 3 + [False] * 2
    assert queue.push_event(Event("E", 0), "b")  # of whom nothing waits
    assert not queue.push_event(Event("E", 1), "b")
    calls = [queue.push_call(WireCall("hook", Handler(len), {}), "b") for _ in range(9)]
    assert calls == [True] * 5 + [False] * 4


def test_bytes_are_bounded() -> None:
    config = Config(max_received_bytes=Config().max_event_bytes)
    queue = WireQueue(config)

    def event_of(size_bytes: int) -> Event:
        event = Event("E", 0)
        event.size_bytes = size_bytes
        return event

    half = config.max_received_bytes // 2
    assert queue.push_event(event_of(10 * half), "a")  # of whom nothing waits
    assert not queue.push_event(event_of(1), "a")
    assert step(queue) == [("a", 0)]
    assert [queue.push_event(event_of(half), "a") for _ in range(3)] == [True, True, False]
    assert len(step(queue)) == 2


def test_a_client_that_is_gone_leaves_nothing() -> None:
    queue = WireQueue(Config())
    line = queue.open_line("a")
    assert queue.push_to(line, Event("E", 0))
    queue.close_line(line)
    again = queue.open_line("a")  # before that was handled: the same, in order
    assert queue.push_to(again, Event("E", 1))
    queue.close_line(again)
    assert step(queue) == [("a", 0), ("a", 1)]
    assert not queue._lines


def test_two_may_have_a_client_s_line_open() -> None:
    queue = WireQueue(Config())
    line, same = queue.open_line("a"), queue.open_line("a")
    assert same is line
    queue.close_line(line)
    assert queue.push_to(same, Event("E", 0)) and step(queue) == [("a", 0)]
    assert queue.push_event(Event("E", 1), "a") and queue.push_to(same, Event("E", 2))
    assert step(queue) == [("a", 1), ("a", 2)]
    queue.close_line(same)
    assert not queue._lines


def test_who_has_a_line_open_pushes_beside_others_and_nothing_is_lost_or_miscounted() -> None:
    queue = WireQueue(Config(max_wire_events=100, max_wire_events_per_client=20))
    line = queue.open_line("a")
    pushed = 1500
    with switching_often():
        pushers = [
            run_natively(_push_all, lambda event: queue.push_to(line, event), pushed),
            run_natively(_push_all, lambda event: queue.push_event(event, "a"), pushed),
        ]
        handled = 0
        while handled < 2 * pushed:
            handled += len(step(queue))
            native_sleep(0)
        for pusher in pushers:
            pusher.wait(10)
    assert not line.waiting and not line.waiting_bytes
    queue.close_line(line)
    assert not queue._lines


def _push_all(push: Callable[[Event], bool], count: int) -> None:
    for number in range(count):
        while not push(Event("E", number)):
            native_sleep(0)


@pytest.mark.pure
@pytest.mark.parametrize("where", ["_hand_out", "_next_held"])
def test_what_a_signal_s_handler_interrupts_goes_on(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = WireQueue(Config())
    lines = [queue.open_line(client) for client in ("a", "b")]
    for number in range(4):
        for line in lines:
            assert queue.push_to(line, Event("E", number))
    assert step(queue, limit_s=1.0) == [("a", 0), ("b", 0)]
    with monkeypatch.context() as patch:
        patch.setattr(queue, where, interrupted)
        with pytest.raises(KeyboardInterrupt):
            step(queue)
        queue.end_step()
    assert queue.push_to(lines[0], Event("E", 4))
    handled = step(queue)
    of_each = {client: [number for whose, number in handled if whose == client] for client in ("a", "b")}
    lost = {"a": [2, 3, 4] if where == "_hand_out" else [1, 2, 3, 4], "b": [1, 2, 3]}
    assert of_each == lost
    for line in lines:
        assert not line.waiting and not line.waiting_bytes
        queue.close_line(line)
    assert not queue._lines and not queue._held


@pytest.mark.pure
def test_what_is_pushed_while_it_is_counted_anew_stays_in_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = WireQueue(Config())
    line = queue.open_line("a")

    class Arrived(deque[Any]):
        """Another thread pushes whenever this is looked at."""

        def copy(self) -> Arrived:
            assert queue.push_to(line, Event("E", 1))
            seen = Arrived(self)
            assert queue.push_to(line, Event("E", 2))
            return seen

    queue._arrived = Arrived()
    assert queue.push_to(line, Event("E", 0))
    with monkeypatch.context() as patch:
        patch.setattr(queue, "_hand_out", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step(queue)
    assert step(queue) == [("a", 1), ("a", 2)]
    assert line.waiting <= 0
    queue.close_line(line)
    assert not queue._lines


def interrupted(*arguments: object) -> None:
    raise KeyboardInterrupt
