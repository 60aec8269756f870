"""The greenlets that handlers run in: one for all connections of a hub, until a handler waits.

A greenlet of its own for every batch of messages costs more than most handlers do. So one runner goes from
connection to connection; when one of its handlers waits (it sleeps, calls, asks a database) another runner
takes its place, and it goes on with that handler and its connection alone. So a handler that waits holds up
its own client only.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Protocol

import gevent

from pygase_gevent.config import Config
from pygase_gevent.hub.environment import Environment

logger = logging.getLogger(__name__)


class Runnable(Protocol):
    """Work of one connection."""

    def run(self, runner: Runner) -> None:
        """Do what there is while `runner.goes_on()`; `runner.is_busy` while in a handler."""


class HandlerRunners:
    """All of one hub. Made, used and closed in its thread.

    Args:
        environment: spawns them.
        config: `receive_batch_s`: after so long the hub's others have their turn.
    """

    def __init__(self, environment: Environment, config: Config) -> None:
        self.environment = environment
        self.pause_after_s = config.receive_batch_s
        self.ready: deque[Runnable] = deque()
        self.current: Runner | None = None
        self.is_finishing = False
        self._is_look_posted = False
        self._hub = gevent.get_hub()

    def add(self, work: Runnable) -> None:
        """There is work to run, soon and in turn."""
        self.ready.append(work)
        runner = self.current
        if runner is None or runner.is_busy:
            runner = self.current = Runner(self)
        runner.wake()

    def look_soon(self) -> None:
        """A handler begins and others are ready: see in the hub whether it waits."""
        if not self._is_look_posted:
            self._is_look_posted = True
            self._hub.loop.run_callback(self._look)

    def _look(self) -> None:
        # The hub runs only when the runner has given it back: if it is in a handler, that handler waits.
        self._is_look_posted = False
        runner = self.current
        if self.ready and runner is not None and runner.is_busy:
            self.current = Runner(self)

    def finish(self) -> None:
        """Run what is ready; runners end when there is no more. Idempotent."""
        self.is_finishing = True
        runner = self.current
        if runner is not None:
            runner.wake()

    def close(self) -> None:
        """Begin nothing any more: who is in a handler ends after it. Idempotent."""
        self.ready.clear()
        self.finish()
        self.current = None


class Runner:
    """One greenlet that runs handlers.

    Attributes:
        greenlet: it.
        is_busy: whether it is in a handler, which may wait.
    """

    def __init__(self, runners: HandlerRunners) -> None:
        self.is_busy = False
        self._runners = runners
        self._hub = gevent.get_hub()
        self._is_awake = True
        self._pause_at = 0.0
        self.greenlet: Any = runners.environment.spawn(self._run)

    def wake(self) -> None:
        """There is something to run."""
        if not self._is_awake:
            self._is_awake = True
            self._hub.loop.run_callback(self.greenlet.switch)

    def goes_on(self) -> bool:
        """Whether it runs more of the same connection: it is the one in charge, and its time is not up."""
        runners = self._runners
        return runners.current is self and runners.environment.now() < self._pause_at

    def _run(self) -> None:
        runners = self._runners
        try:
            while runners.current is self:
                self._run_ready(runners)
                if runners.current is self and not runners.ready:
                    if runners.is_finishing:
                        return
                    self._is_awake = False
                    self._hub.switch()
        finally:
            self.is_busy = False
            if runners.current is self:
                runners.current = None
                if runners.ready:  # a handler ended the greenlet
                    runners.current = Runner(runners)

    def _run_ready(self, runners: HandlerRunners) -> None:
        environment = runners.environment
        self._pause_at = environment.now() + runners.pause_after_s
        while runners.ready and runners.current is self:
            work = runners.ready.popleft()
            if runners.ready:
                runners.look_soon()
            work.run(self)
            del work  # or a runner that waits for more would hold on to a client that leaves
            if environment.now() >= self._pause_at:  # others have work, too
                environment.sleep(0)
                self._pause_at = environment.now() + runners.pause_after_s
