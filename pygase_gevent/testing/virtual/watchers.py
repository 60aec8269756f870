"""What waits on a virtual loop: callbacks, timers, and signals between greenlets, as gevent knows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pygase_gevent.testing.virtual.loop import VirtualLoop


class Callback:
    """What `run_callback` returns.

    Attributes:
        callback: what is to be called; None from then on, or if it was stopped.
        args: its arguments; None once it has returned, or if it was stopped.
        thread: the virtual thread that it works for.
    """

    __slots__ = ("args", "callback", "thread")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], thread: object) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args: tuple[Any, ...] | None = args
        self.thread = thread

    def stop(self) -> None:
        self.callback = self.args = None

    close = stop

    def __bool__(self) -> bool:  # gevent means by it: it waits, or runs just now
        return self.args is not None

    @property
    def pending(self) -> bool:
        return self.callback is not None


class Watcher:
    """What all watchers have in common. This one never calls back."""

    __slots__ = ("__weakref__", "args", "callback", "loop", "priority", "ref", "thread")

    def __init__(self, loop: VirtualLoop, ref: bool, priority: int) -> None:
        self.loop = loop
        self.ref = ref
        self.priority = priority
        self.callback: Callable[..., object] | None = None
        self.args: tuple[Any, ...] = ()
        self.thread: object = None

    def start(self, callback: Callable[..., object], *args: Any, update: bool = False) -> None:
        if self.callback is not None:
            self.stop()
        self.thread = self.loop.thread_for(callback)
        self.callback, self.args = callback, args

    def stop(self) -> None:
        self.callback, self.args = None, ()

    def close(self) -> None:
        self.stop()

    @property
    def active(self) -> bool:
        return self.callback is not None

    pending = False

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Timer(Watcher):
    """Calls back once, or every `repeat` seconds after the first time."""

    __slots__ = ("after", "number", "repeat")

    def __init__(self, loop: VirtualLoop, after: float, repeat: float, ref: bool, priority: int) -> None:
        super().__init__(loop, ref, priority)
        self.after = after
        self.repeat = repeat
        self.number = 0  # of its entry in the loop; 0 while it is not active

    def start(self, callback: Callable[..., object], *args: Any, update: bool = False) -> None:
        super().start(callback, *args)
        self.number = self.loop.enter(self, self.after)

    def again(self, callback: Callable[..., object], *args: Any, update: bool = False) -> None:
        super().start(callback, *args)
        self.number = self.loop.enter(self, self.repeat)

    def stop(self) -> None:
        if self.number:
            self.number = 0
            self.loop.leave(self)
        self.callback, self.args = None, ()

    def fire(self) -> None:
        """Its time has come."""
        callback, args = self.callback, self.args
        assert callback is not None
        self.stop()
        if self.repeat:
            self.callback, self.args = callback, args
            self.number = self.loop.enter(self, self.repeat)
        callback(*args)


class Appointment:
    """Calls back once, and cannot be stopped: a timer for what there are very many of."""

    __slots__ = ("_args", "_function", "_loop", "number", "thread")

    priority = 0
    ref = True

    def __init__(self, loop: VirtualLoop, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._loop = loop
        self._function = function
        self._args = args
        self.thread: object = None
        self.number = 0

    def fire(self) -> None:
        """Its time has come."""
        self._loop.leave(self)
        self._function(*self._args)


class AsyncWatcher(Watcher):
    """Calls back in the hub after `send`; many before that make one."""

    __slots__ = ("_queued",)

    def __init__(self, loop: VirtualLoop, ref: bool, priority: int) -> None:
        super().__init__(loop, ref, priority)
        self._queued: Callback | None = None

    def send(self) -> None:
        if self.loop.is_destroyed:
            raise ValueError("operation on destroyed loop")
        if not self._queued and self.callback is not None:
            self._queued = Callback(self._fire, (), self.thread)
            self.loop.queue(self._queued)

    def send_ignoring_arg(self, ignored: object) -> None:
        self.send()

    @property
    def pending(self) -> bool:  # type: ignore[override]
        return bool(self._queued)

    def _fire(self) -> None:
        self._queued = None
        if self.callback is not None:
            self.callback(*self.args)
