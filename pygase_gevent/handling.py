"""Where handlers run: one after the other for a connection, in a runner or in the caller's `pump`.

Both queues take *jobs* (hooks and callbacks, pushed) and *messages* (events, pulled from the
session one at a time, so that its bounded inbox is where they wait). A hook stands behind the
events that arrived before it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from gevent import GreenletExit

from pygase_gevent.config import Config
from pygase_gevent.connection import HandlerCounters
from pygase_gevent.hub.environment import current_environment
from pygase_gevent.hub.watchdog import Watchdog
from pygase_gevent.locks import allocate_lock
from pygase_gevent.protocol.session import ReceivedMessage
from pygase_gevent.runners import HandlerRunners, Runner

logger = logging.getLogger(__name__)

Job = Callable[[], object]
MessageSource = Callable[[], ReceivedMessage | None]

_MAX_SHOWN: Final = 100
"""Characters of a peer's event type that the log shows."""


class HandlerLog:
    """What the log says of handlers: one for a whole server or client, so that no peer floods it.

    Args:
        config: `handler_log_s`, and `max_streams` for how many names are kept apart.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._unhandled: set[str] = set()
        self._raised: dict[str, _Raised] = {}

    def unhandled(self, label: str, event_type: str) -> None:
        """Nobody handles events of this type: said once."""
        shown = event_type[:_MAX_SHOWN]
        if shown not in self._unhandled and len(self._unhandled) < self._config.max_streams:
            self._unhandled.add(shown)
            logger.warning("%s: no handler is registered for events of type %r", label, shown)

    def raised(self, label: str, what: str) -> None:
        """The exception being handled is that of `what`: said once in a while, and the rest counted."""
        now = current_environment().now()
        key = what if what in self._raised or len(self._raised) < self._config.max_streams else ""
        last = self._raised.get(key)
        if last is None:
            self._raised[key] = _Raised(now)
            logger.exception("%s: the %s raised", label, what)
        elif now - last.logged_at < self._config.handler_log_s:
            last.count += 1
        else:
            count, last.count, last.logged_at = last.count, 0, now
            logger.exception("%s: the %s raised (%s more since the last time)", label, what, count)


class Handling:
    """Runs functions of the application for one connection.

    Args:
        label: names the peer in the log.
        log: where exceptions go.
    """

    def __init__(self, label: str, log: HandlerLog) -> None:
        self.counters = HandlerCounters()
        self.watchdog: Watchdog | None = None
        self.log = log
        self._label = label
        self._whose = f" of the {label}"

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
            self.log.raised(self._label, what)

    def watch(self, what: str, function: Callable[..., object], *args: Any) -> Any:
        """Call a function under the eyes of the watchdog, if there is one."""
        watchdog = self.watchdog
        if watchdog is None:
            return function(*args)
        with watchdog.watch(what, self._whose, self.counters.blocked):
            return function(*args)


class HandlerQueue:
    """The jobs and messages of one connection, run in order by a runner while there is work.

    Args:
        config: bounds of the queue, and how long one connection goes on before the others have their turn.
        handle: runs the handlers of one message; never raises.
    """

    def __init__(self, config: Config, handle: Callable[[ReceivedMessage], None]) -> None:
        self._config = config
        self._handle = handle
        self._jobs: list[Job] = []  # an empty deque has 760 bytes
        self._held_bytes = 0
        self._held_lock = allocate_lock()
        self._next_message: MessageSource | None = None
        self._runners: HandlerRunners | None = None
        self._is_waiting = False  # for a runner
        self._greenlet: Any = None

    # --- in the hub's thread --------------------------------------------------------------------

    def start(self, runners: HandlerRunners) -> None:
        """From now on there is somebody to run handlers; what waited goes on."""
        self._runners = runners
        self._is_waiting = False
        self._greenlet = None  # one of an earlier run that would not end is on its own
        self.wake()

    def stop(self) -> None:
        """No new job is begun."""
        self._runners = None

    @property
    def at_work(self) -> list[Any]:
        """The greenlet at work, or about to be, if there is one."""
        if self._greenlet is not None:
            return [self._greenlet]
        runner = None if self._runners is None or not self._is_waiting else self._runners.current
        return [] if runner is None else [runner.greenlet]

    def bind(self, next_message: MessageSource | None) -> None:
        """Pull messages from here from now on; those of the source before go first."""
        self._settle()
        self._next_message = next_message

    def push(self, job: Job) -> None:
        """Queue a callback or call. Who pushes bounds how many."""
        self._jobs.append(job)
        self.wake()

    def push_in_order(self, job: Job) -> None:
        """Queue a hook behind every message that has arrived."""
        self._settle()
        self._jobs.append(_Hook(job))
        self.wake()

    def take_hooks(self) -> tuple[list[Job], int]:
        """Nothing else is run: the hooks that are left, and how many other jobs are dropped."""
        jobs = list(self._jobs)
        self._jobs.clear()
        self._held_bytes = 0
        hooks = [job for job in jobs if isinstance(job, _Hook)]
        return list(hooks), len(jobs) - len(hooks)

    def put_back(self, job: Job) -> None:
        """What could not be done now is the next job again."""
        self._jobs.insert(0, job)

    def wake(self) -> None:
        """There may be work."""
        runners = self._runners
        if runners is not None and self._greenlet is None and not self._is_waiting:
            self._is_waiting = True
            runners.add(self)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is at work or waits."""
        return self._greenlet is None and not self._is_waiting and not self._jobs

    def run(self, runner: Runner) -> None:
        """Run what is there, one after the other, until there is no more or the time is up."""
        self._is_waiting = False
        runners = self._runners
        if runners is None or self._greenlet is not None:
            return
        self._greenlet = runner.greenlet
        is_drained = False
        try:
            while self._runners is runners and not is_drained and runner.goes_on():
                is_drained = not self._run_next(runner)
        finally:
            if self._runners is runners or self._runners is None:
                self._greenlet = None
                if not is_drained:
                    self.wake()

    def _run_next(self, runner: Runner) -> bool:
        """Run the next job or message; whether there was one."""
        runner.is_busy = True
        if self._jobs:
            self._jobs.pop(0)()
        else:
            message = self._next_message() if self._next_message is not None else None
            if message is None:
                runner.is_busy = False
                return False
            self._handle(message)
        runner.is_busy = False
        return True

    def _settle(self) -> None:
        """Messages that have arrived take their place before whatever comes now."""
        next_message = self._next_message
        if next_message is None:
            return
        # The bound holds off a peer that resumes again and again while its handler blocks.
        while self._may_hold(2 * self._config.max_received_events):
            message = next_message()
            if message is None:
                return
            self._hold(message)

    def _may_hold(self, limit: int) -> bool:
        return len(self._jobs) < limit and self._held_bytes < self._config.max_received_bytes

    def _hold(self, message: ReceivedMessage) -> None:
        with self._held_lock:
            self._held_bytes += len(message.body)
        self._jobs.append(partial(self._handle_held, message))

    def _handle_held(self, message: ReceivedMessage) -> None:
        with self._held_lock:
            self._held_bytes -= len(message.body)
        self._handle(message)


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
            if not self._may_hold(self._config.max_received_events):
                self._is_full = True
                return
            message = next_message()
            if message is None:
                return
            self._hold(message)

    @property
    def is_idle(self) -> bool:
        """Always: nothing is at work in the hub, and what waits, waits for `pump`."""
        return True

    def pump(self) -> int:
        """Run what has arrived up to now; how many jobs that were. Any thread."""
        count = len(self._jobs)
        for done in range(count):
            try:
                job = self._jobs.pop(0)
            except IndexError:  # another thread pumps as well
                count = done
                break
            job()
        if self._is_full:
            self._is_full = False
            self._ask_for_more()
        return count


class _Hook:
    """A job that is run in any case."""

    __slots__ = ("_job",)

    def __init__(self, job: Job) -> None:
        self._job = job

    def __call__(self) -> None:
        self._job()


class _Raised:
    """When the exceptions of something were logged last, and how many were not since."""

    __slots__ = ("count", "logged_at")

    def __init__(self, logged_at: float) -> None:
        self.logged_at = logged_at
        self.count = 0
