"""PyGaSe's coroutines, for programs that wrote some: handlers that are, and methods that may be awaited.

A coroutine that a program registered as a handler runs on an asyncio loop in a native thread of its own,
while the handler's greenlet waits. A method that PyGaSe let its programs await is a blocking one here;
called from a coroutine it runs in a thread of its own, and what the call returns can be awaited on asyncio
and on curio.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, TypeVar

from gevent import GreenletExit

from pygase_gevent.config import Config
from pygase_gevent.errors import LocalError
from pygase_gevent.hub.environment import Environment
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.locks import allocate_lock

T = TypeVar("T")

_COROUTINE_FLAGS = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR


class ForeignAwaitError(LocalError, TypeError):
    """A coroutine awaited something that does not work on asyncio, such as `curio.sleep`."""


# --- coroutines as handlers -----------------------------------------------------------------------


def completed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function for one that may be a coroutine function: returns when it has run to its end.

    Raises:
        TypeError: not callable.
    """
    if not callable(function):
        raise TypeError(f"'{function.__class__.__name__}' object is not callable.")

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return complete(function(*args, **kwargs))

    return run


def complete(value: Any) -> Any:
    """What a handler returned; if that is a coroutine, what it returns when it has run to its end."""
    return _loop_of_process(os.getpid()).run(value) if inspect.isawaitable(value) else value


def call_later(delay_s: float, function: Callable[[], Any]) -> None:
    """Call a plain or coroutine function from the loop of the coroutines, after a while."""
    _loop_of_process(os.getpid()).call_later(delay_s, function)


class _HelperLoop:
    """An asyncio loop in a native daemon thread, for as long as the process lives."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._started: Outcome[asyncio.AbstractEventLoop] | None = None
        self._tasks: set[asyncio.Future[Any]] = set()  # the loop itself holds them only weakly

    def run(self, awaitable: Awaitable[T]) -> T:
        """Await it there, and wait for that here; cooperatively where the calling thread has a hub."""
        loop = self._running_loop()
        if _asyncio_loop() is loop:
            raise LocalError("a coroutine cannot wait for another without awaiting it")
        outcome: Outcome[T] = Outcome()
        task: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal task
            task = loop.create_task(_settle(awaitable, outcome))

        def cancel() -> None:
            if task is not None:
                task.cancel()

        loop.call_soon_threadsafe(begin)
        try:
            return outcome.wait()
        finally:
            if not outcome.is_done:  # the waiting greenlet was killed
                loop.call_soon_threadsafe(cancel)

    def call_later(self, delay_s: float, function: Callable[[], Any]) -> None:
        """Call a function there after a while; what it returns is awaited, if it can be."""
        loop = self._running_loop()

        def call() -> None:
            value = function()
            if inspect.isawaitable(value):
                self._tasks.add(task := asyncio.ensure_future(value, loop=loop))
                task.add_done_callback(self._tasks.discard)

        loop.call_soon_threadsafe(loop.call_later, delay_s, call)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            started, is_mine = self._started, self._started is None
            if started is None:
                started = self._started = Outcome()
        if is_mine:
            Environment().start_thread(
                functools.partial(self._serve, started),
                name="pygase-asyncio",
                daemon=True,
                stop=self._stop,
                config=Config(),
            )
        return started.wait()

    def _serve(self, started: Outcome[asyncio.AbstractEventLoop]) -> None:
        try:
            loop = asyncio.new_event_loop()
        except BaseException as error:
            started.set_error(error)
            raise
        asyncio.set_event_loop(loop)
        started.set_result(loop)
        try:
            loop.run_forever()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _stop(self) -> None:
        started = self._started
        if started is not None:
            loop = started.wait()
            loop.call_soon_threadsafe(loop.stop)


@functools.lru_cache(maxsize=1)
def _loop_of_process(process_id: int) -> _HelperLoop:
    """One loop for all coroutines, since what asyncio makes belongs to one; a fork's child has none yet."""
    return _HelperLoop()


async def _settle(awaitable: Awaitable[T], outcome: Outcome[T]) -> None:
    try:
        outcome.set_result(await awaitable)
    except asyncio.CancelledError:
        outcome.set_error(GreenletExit())  # the process ends, and the handler with it
    except RuntimeError as error:
        if not str(error).startswith("Task got bad yield"):
            outcome.set_error(error)
            return
        text = (
            "handlers that are coroutines run on asyncio, and this one awaited something that does not work "
            "there, such as curio.sleep; await asyncio's instead, or make the handler a plain function"
        )
        foreign = ForeignAwaitError(text)
        foreign.__cause__ = error
        outcome.set_error(foreign)
    except BaseException as error:
        outcome.set_error(error)


# --- methods that may be awaited ------------------------------------------------------------------


def awaitable_method(
    stop: Callable[[Any], object] | None = None, coroutine: str = ""
) -> Callable[[Callable[..., T]], Any]:
    """Decorator: a blocking method that returns something to await when a coroutine calls it.

    Args:
        stop: called with the object when who awaits is cancelled; sets the method's end going.
        coroutine: names the coroutine method that is called then, instead of the method in a thread.
    """

    def decorate(method: Callable[..., T]) -> Any:
        @functools.wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            run = functools.partial(method, self, *args, **kwargs)
            if not _is_coroutine(sys._getframe(1)):
                return run()
            if coroutine:
                return getattr(self, coroutine)(*args, **kwargs)
            return in_own_thread(run, _do_nothing if stop is None else functools.partial(stop, self))

        # What curio looks for in a callable that it is given to spawn or run.
        call._awaitable = True  # type: ignore[attr-defined]
        return call

    return decorate


def _is_coroutine(frame: FrameType | None) -> bool:
    """Whether a frame is that of a coroutine; a comprehension or lambda inside one counts as it."""
    while frame is not None:
        if frame.f_code.co_flags & _COROUTINE_FLAGS:
            return True
        if not (frame.f_code.co_flags & inspect.CO_NESTED and frame.f_code.co_name.endswith("comp>")):
            return False
        frame = frame.f_back
    return False


async def pause(delay_s: float) -> None:
    """Let the other coroutines of this thread run, on asyncio or curio."""
    curio = sys.modules.get("curio")
    if _asyncio_loop() is None and curio is not None:
        await curio.sleep(delay_s)
    else:
        await asyncio.sleep(delay_s)


async def in_own_thread(function: Callable[[], T], stop: Callable[[], object]) -> T:
    """Run a blocking function in a thread of its own; `stop` sets its end going if this is cancelled."""
    outcome: Outcome[T] = Outcome()
    wait, wake = _doorbell()

    def body() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_error(error)
        wake()

    Environment().start_thread(body, name="pygase-awaited", daemon=True, stop=stop, config=Config())
    try:
        await wait()
    finally:
        if not outcome.is_done:
            stop()
    return outcome.wait()


def _doorbell() -> tuple[Callable[[], Awaitable[Any]], Callable[[], None]]:
    """What a coroutine awaits until another thread calls the second; on asyncio or curio.

    Raises:
        LocalError: neither of them runs in this thread.
    """
    loop = _asyncio_loop()
    if loop is not None:
        event = asyncio.Event()
        return event.wait, functools.partial(_call_if_open, loop.call_soon_threadsafe, event.set)
    curio = sys.modules.get("curio")  # who runs it has imported it
    if curio is not None and curio.meta.curio_running():
        queue = curio.UniversalQueue()
        return queue.get, functools.partial(_call_if_open, queue.put, None)
    raise LocalError("this can be awaited on asyncio and on curio, and neither runs in this thread")


def _call_if_open(function: Callable[[Any], object], argument: Any) -> None:
    # The loop of who awaited may be over: nobody waits any more.
    with contextlib.suppress(RuntimeError, OSError):
        function(argument)


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _do_nothing() -> None:
    pass
