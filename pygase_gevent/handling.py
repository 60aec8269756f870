"""Where handlers run: one after the other for a connection, in a greenlet or in the caller's `pump`.

Both queues take *jobs* (hooks and callbacks, pushed) and *messages* (events, pulled from the
session one at a time, so that its bounded inbox is where they wait). A hook stands behind the
events that arrived before it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import GreenletExit

from pygase_gevent.config import Config
from pygase_gevent.connection import HandlerCounters
from pygase_gevent.hub.environment import Environment
from pygase_gevent.hub.watchdog import Watchdog
from pygase_gevent.protocol.session import ReceivedMessage

logger = logging.getLogger(__name__)

Job = Callable[[], object]
MessageSource = Callable[[], ReceivedMessage | None]


class Handling:
    """Runs functions of the application for one connection.

    Args:
        label: names the peer in the log.
    """

    def __init__(self, label: str) -> None:
        self.counters = HandlerCounters()
        self.watchdog: Watchdog | None = None
        self._label = label

    def run(self, what: str, function: Callable[..., object], *args: Any) -> None:
        """Call a function of the application: what it raises is logged and counted, and ends here.

        Args:
            what: what it is, for the log: `handler of event 'MOVE'`.
            function: the application's.
            args: its arguments.
        """
        try:
            self.watch(what, function, *args)
        except (GreenletExit, KeyboardInterrupt):
            raise
        except BaseException:  # a gevent.Timeout or SystemExit of a handler is the handler's, too
            self.counters.handler_errors += 1
            logger.exception("%s: the %s raised", self._label, what)

    def watch(self, what: str, function: Callable[..., object], *args: Any) -> Any:
        """Call a function under the eyes of the watchdog, if there is one."""
        watchdog = self.watchdog
        if watchdog is None:
            return function(*args)
        with watchdog.watch(f"{what} of the {self._label}"):
            return function(*args)


class HandlerQueue:
    """The jobs and messages of one connection, run in order in a greenlet that lives while there is work.

    Args:
        config: bounds of the queue, and how long one greenlet goes on without yielding.
        handle: runs the handlers of one message; never raises.
    """

    def __init__(self, config: Config, handle: Callable[[ReceivedMessage], None]) -> None:
        self._config = config
        self._handle = handle
        self._jobs: deque[Job] = deque()
        self._next_message: MessageSource | None = None
        self._run: _Run | None = None
        self._greenlet: Any = None

    # --- in the hub's thread --------------------------------------------------------------------

    def start(self, environment: Environment) -> None:
        """From now on there is a hub to run in; what waited goes on."""
        self._run = _Run(environment)
        self._greenlet = None  # one of an earlier run that would not end is on its own
        self.wake()

    def stop(self) -> None:
        """No new job is begun."""
        self._run = None

    @property
    def at_work(self) -> list[Any]:
        """The greenlet at work, if there is one."""
        return [] if self._greenlet is None else [self._greenlet]

    def bind(self, next_message: MessageSource | None) -> None:
        """Pull messages from here from now on; those of the source before go first."""
        self._settle()
        self._next_message = next_message

    def push(self, job: Job) -> bool:
        """Queue a callback; whether there was room."""
        if len(self._jobs) >= self._config.max_queued_events:
            return False
        self._jobs.append(job)
        self.wake()
        return True

    def push_in_order(self, job: Job) -> None:
        """Queue a hook behind every message that has arrived."""
        self._settle()
        self._jobs.append(job)
        self.wake()

    def put_back(self, job: Job) -> None:
        """What could not be done now is the next job again."""
        self._jobs.appendleft(job)

    def wake(self) -> None:
        """There may be work."""
        run = self._run
        if self._greenlet is None and run is not None:
            self._greenlet = run.environment.spawn(self._work, run)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is at work or waits."""
        return self._greenlet is None and not self._jobs

    def _settle(self) -> None:
        """Messages that have arrived take their place before whatever comes now."""
        next_message = self._next_message
        if next_message is None:
            return
        # The bound holds off a peer that resumes again and again while its handler blocks.
        while len(self._jobs) < 2 * self._config.max_received_events:
            message = next_message()
            if message is None:
                return
            self._jobs.append(_MessageJob(self._handle, message))

    def _work(self, run: _Run) -> None:
        environment = run.environment
        try:
            pause_at = environment.now() + self._config.receive_batch_s
            while self._run is run:
                if self._jobs:
                    self._jobs.popleft()()
                else:
                    message = self._next_message() if self._next_message is not None else None
                    if message is None:
                        return
                    self._handle(message)
                if environment.now() >= pause_at:  # others have handlers, too
                    environment.sleep(0)
                    pause_at = environment.now() + self._config.receive_batch_s
        finally:
            if self._run is run or self._run is None:
                self._greenlet = None


class PumpQueue(HandlerQueue):
    """The same, run by whoever calls `pump`, on his thread.

    Args:
        config: bounds.
        handle: runs the handlers of one message; never raises.
        ask_for_more: called in the pumping thread when the session may hold more messages.
    """

    def __init__(
        self, config: Config, handle: Callable[[ReceivedMessage], None], ask_for_more: Callable[[], None]
    ) -> None:
        super().__init__(config, handle)
        self._ask_for_more = ask_for_more
        self._is_full = False

    def wake(self) -> None:
        """Fetch messages for the pump, up to the bound; the rest waits in the session."""
        next_message = self._next_message
        while next_message is not None:
            if len(self._jobs) >= self._config.max_received_events:
                self._is_full = True
                return
            message = next_message()
            if message is None:
                return
            self._jobs.append(_MessageJob(self._handle, message))

    @property
    def is_idle(self) -> bool:
        """Always: nothing is at work in the hub, and what waits, waits for `pump`."""
        return True

    def pump(self) -> int:
        """Run what has arrived up to now; how many jobs that were. Any thread."""
        count = len(self._jobs)
        for done in range(count):
            try:
                job = self._jobs.popleft()
            except IndexError:  # another thread pumps as well
                count = done
                break
            job()
        if self._is_full:
            self._is_full = False
            self._ask_for_more()
        return count


class _Run:
    """From a start to the next stop."""

    __slots__ = ("environment",)

    def __init__(self, environment: Environment) -> None:
        self.environment = environment


class _MessageJob:
    """A message as a job."""

    __slots__ = ("_handle", "_message")

    def __init__(self, handle: Callable[[ReceivedMessage], None], message: ReceivedMessage) -> None:
        self._handle = handle
        self._message = message

    def __call__(self) -> None:
        self._handle(self._message)
