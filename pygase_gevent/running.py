"""Whether something runs, who runs it, and how others wait for its end. Servers and clients have one each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from gevent import get_hub

from pygase_gevent.config import Config
from pygase_gevent.errors import AlreadyRunningError, NotRunningError
from pygase_gevent.hub.environment import current_environment
from pygase_gevent.hub.process import forget_fork, is_hub_thread, on_fork
from pygase_gevent.hub.signal import Outcome, Signal, hub_of_this_thread
from pygase_gevent.hub.thread import HubThread, destroy_hub_of_this_thread
from pygase_gevent.interrupts import ended_by_exit, ended_by_signals
from pygase_gevent.locks import allocate_rlock


@contextmanager
def own_hub() -> Iterator[None]:
    """Within the block the thread has a hub; one made for it is destroyed at the end.

    Never the main thread's.
    """
    had_hub = hub_of_this_thread() is not None
    hub = get_hub()
    try:
        yield
    finally:
        if not had_hub and not hub.main_hub:
            destroy_hub_of_this_thread()


class RunGuard:
    """One run at a time, from `claim` to the end of `running`.

    Args:
        what: names the object in errors: `server`.
        state: what it does while it runs: `runs`.
        exit_timeout_s: how long the interpreter's exit waits for the end of a run.
        forget: called in the child of a fork during a run: it must hold no keys.
    """

    def __init__(
        self, what: str, state: str, exit_timeout_s: float, forget: Callable[[], None] | None = None
    ) -> None:
        self._what = what
        self._state = state
        self._exit_timeout_s = exit_timeout_s
        self._forget = forget
        self._lock = allocate_rlock()
        self._ended = Signal()
        self._claims = 0
        self._ends = 0
        self._is_stop_requested = False
        self._request_stop: Callable[[], None] | None = None
        self._say_goodbye: Callable[[], None] | None = None
        self._thread_ident: int | None = None
        self._is_forked = False

    @property
    def is_claimed(self) -> bool:
        """Whether it runs, or is about to."""
        return self._claims != self._ends

    def check_process(self) -> None:
        """Raises `NotRunningError` in the child of a fork."""
        if self._is_forked:
            raise NotRunningError(
                f"this {self._what} ran in the parent process when it forked; make a new one in the child"
            )

    @property
    def is_stop_requested(self) -> bool:
        """Whether the run is to end."""
        return self._is_stop_requested

    def claim(self, request_stop: Callable[[], None] | None = None) -> None:
        """Reserve the run, which `request_stop` will end. Raises `AlreadyRunningError`."""
        self.check_process()
        with self._lock:
            if self.is_claimed:
                raise AlreadyRunningError(
                    f"this {self._what} {self._state} already; one object serves one run at a time"
                )
            self._claims += 1
            self._is_stop_requested = False
            self._request_stop = request_stop
            self._thread_ident = None
        on_fork(self._after_fork)

    def release(self) -> None:
        """The run that was claimed is over, or did not come about."""
        forget_fork(self._after_fork)
        with self._lock:
            self._ends = self._claims
            self._request_stop = self._say_goodbye = None
        self._ended.notify()

    def start_in_thread(
        self, run: Callable[[Outcome[None]], None], *, name: str, daemon: bool, config: Config
    ) -> HubThread:
        """Begin the claimed run in a native thread; returns when it says that it is ready.

        Args:
            run: the run; sets the outcome it is given, once it stands. What it raises before is raised here.
            name: of the thread.
            daemon: whether the interpreter's exit ends the run.
            config: limits.
        """
        ready: Outcome[None] = Outcome()
        try:
            thread = current_environment().start_thread(
                lambda: run(ready),
                name=name,
                daemon=daemon,
                stop=self.request_stop,
                ready=ready,
                config=config,
            )
        except BaseException:
            self.release()
            raise
        try:
            ready.wait()
        except BaseException:  # whoever was interrupted here has no thread to end it by
            self.request_stop()
            raise
        return thread

    @contextmanager
    def running(self) -> Iterator[None]:
        """The claimed run, in the thread that runs it; what hub it made there is destroyed at its end."""
        self._thread_ident = current_environment().thread_ident()
        try:
            with own_hub():
                yield
        finally:
            self.release()

    @contextmanager
    def stoppable(self, request_stop: Callable[[], None], say_goodbye: Callable[[], None]) -> Iterator[None]:
        """Within the block `stop` works, and so do Ctrl-C, SIGTERM and the interpreter's exit."""
        with self._lock:
            self._request_stop, self._say_goodbye = request_stop, say_goodbye
            is_stop_requested = self._is_stop_requested
        if is_stop_requested:
            request_stop()
        # Not `threading.current_thread()`: where that is patched each greenlet is a thread of its own.
        is_cared_for = is_hub_thread(current_environment().thread_ident())
        with nullcontext() if is_cared_for else ended_by_exit(self._exit), ended_by_signals(request_stop):
            yield

    def stop(self, *, block: bool = True) -> None:
        """End the run, if there is one; wait for it unless this is the very hub that it would end."""
        self.check_process()
        with self._lock:
            if not self.is_claimed:
                return
            number = self._claims
            self._is_stop_requested = True
            request_stop = self._request_stop
        if request_stop is not None:
            request_stop()
        if block and not self.is_this_thread():
            self._ended.wait_for(lambda: self._ends >= number)

    def request_stop(self) -> None:
        """Set the end going, from any thread."""
        self.stop(block=False)

    def is_this_thread(self) -> bool:
        """Whether the calling thread is the one that runs it."""
        return self._thread_ident == current_environment().thread_ident()

    def _exit(self) -> None:
        say_goodbye = self._say_goodbye
        if self.is_this_thread():
            if say_goodbye is not None:
                say_goodbye()
        else:
            self.request_stop()
            self._ended.wait_for(lambda: not self.is_claimed, self._exit_timeout_s)

    def _after_fork(self) -> None:
        self._is_forked = True
        self._lock = allocate_rlock()
        self._ended.after_fork()
        if self._forget is not None:
            self._forget()
