"""Handlers of many connections in few greenlets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event as GeventEvent

from pygase_gevent import GameStateMachine, GameStateStore
from pygase_gevent.config import Config
from pygase_gevent.hub.environment import current_environment
from pygase_gevent.runners import HandlerRunners, Runner


class Work:
    """A connection with one message, whose handler this is."""

    def __init__(self, handler: Callable[[], object]) -> None:
        self._handler = handler

    def run(self, runner: Runner) -> None:
        runner.is_busy = True
        self._handler()
        runner.is_busy = False


@pytest.fixture
def runners() -> Iterator[HandlerRunners]:
    gevent.get_hub()  # whose thread this is
    made = HandlerRunners(current_environment(), Config())
    yield made
    made.close()
    gevent.sleep(0)


@pytest.mark.parametrize("before", [0, 1, 3])
def test_who_is_ready_behind_a_handler_that_waits_is_not_held_up(
    runners: HandlerRunners, before: int
) -> None:
    reached, gate = GeventEvent(), GeventEvent()
    for _ in range(before):
        runners.add(Work(lambda: None))
    runners.add(Work(gate.wait))
    runners.add(Work(gate.wait))
    runners.add(Work(reached.set))
    assert reached.wait(10.0)
    gate.set()


def test_handlers_that_do_not_wait_share_a_greenlet(runners: HandlerRunners) -> None:
    seen: list[object] = []
    for _ in range(5):
        runners.add(Work(lambda: seen.append(gevent.getcurrent())))
    while len(seen) < 5:
        gevent.sleep(0)
    assert len(set(map(id, seen))) == 1


def test_a_machine_that_pushes_events_by_itself_is_not_passed_by() -> None:
    class Filter(GameStateMachine):
        def _push_event(self, event: object) -> bool:
            return True

    assert GameStateMachine(GameStateStore())._direct_events() is not None
    assert Filter(GameStateStore())._direct_events() is None
