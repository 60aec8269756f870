"""The one object that clock, entropy, timers, UDP and threads come from.

All shells of the library ask an `Environment` for them, and get it from `current_environment()` once,
when they start to run. So a virtual one can take the place of the real one: a subclass of gevent's
loop, whose timers live on a heap and whose clock jumps to the next of them, carries an attribute
`environment`; whatever starts to run in that loop's hub then lives in virtual time. It overrides

* `now` and `unix_time` (the heap's clock), `entropy` (seeded),
* `open_udp` and `resolve` (the virtual network),
* `start_thread`: a `HubThread` subclass whose `_launch` spawns a greenlet of the one virtual hub; and
  `thread_ident`, which tells those apart,
* `watchdog`: computing takes no virtual time.

What waits does so on the hub's loop (`gevent.sleep`, `Timer`, `Signal`, `Bridge`): those take the
loop's own timers and `async_` watchers, and need no overriding.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import gevent
from gevent import monkey
from gevent.hub import Hub
from mypy_extensions import mypyc_attr

from pygase_gevent.config import Config
from pygase_gevent.hub.monitor import Monitor
from pygase_gevent.hub.signal import Outcome, hub_of_this_thread
from pygase_gevent.hub.thread import HubThread
from pygase_gevent.hub.udp import UdpSocket, resolve
from pygase_gevent.hub.watchdog import Watchdog
from pygase_gevent.locks import get_ident
from pygase_gevent.protocol.address import Address

if TYPE_CHECKING:
    from gevent._types import _TimerWatcher

logger = logging.getLogger("pygase_gevent.hub")

_monotonic: Final = time.monotonic
_native_sleep = cast("Callable[[float], None]", monkey.get_original("time", "sleep"))


@mypyc_attr(allow_interpreted_subclasses=True)
class Environment:
    """Real time, the kernel's network, native threads."""

    def now(self) -> float:
        """Monotonic seconds."""
        return _monotonic()

    def unix_time(self) -> int:
        """Seconds since 1970, for what expires by the calendar."""
        return int(time.time())

    def entropy(self, size: int) -> bytes:
        """`size` unpredictable bytes."""
        return os.urandom(size)

    def sleep(self, seconds: float) -> None:
        """Waits; cooperatively where the thread has a hub. It makes none."""
        if hub_of_this_thread() is None:
            _native_sleep(max(seconds, 0.0))
        else:
            gevent.sleep(max(seconds, 0.0))

    def timer(self, callback: Callable[[], object]) -> Timer:
        """A timer of the calling thread's hub, not yet started."""
        return Timer(gevent.get_hub(), callback)

    def spawn(self, function: Callable[..., object], *args: Any) -> gevent.Greenlet[..., object]:
        """Runs `function(*args)` in a greenlet of the calling thread's hub."""
        return gevent.spawn(function, *args)

    def start_thread(
        self,
        target: Callable[[], object],
        *,
        name: str,
        daemon: bool,
        stop: Callable[[], object] | None = None,
        ready: Outcome[Any] | None = None,
        config: Config,
    ) -> HubThread:
        """Starts a native thread with a hub of its own; see `HubThread`."""
        thread = HubThread(
            target, name=name, daemon=daemon, stop=stop, ready=ready, exit_timeout_s=config.exit_timeout_s
        )
        thread.start()
        return thread

    def thread_ident(self) -> int:
        """Tells the calling thread from all others."""
        return get_ident()

    def watchdog(self, config: Config) -> Watchdog:
        """Looks after the calling thread's hub; see `Watchdog`."""
        return Watchdog(config, _monotonic, _MONITOR)

    def open_udp(self, *, bind: Address | None, family: int | None = None, config: Config) -> UdpSocket:
        """Opens a UDP socket in the calling thread's hub; see `UdpSocket`."""
        return UdpSocket(bind=bind, family=family, config=config)

    def resolve(self, hostname: str, port: int) -> list[Address]:
        """The addresses of a host, in the order in which they should be tried."""
        return resolve(hostname, port)


class Timer:
    """Calls back once, after a delay that can be set anew at any time. For its hub's thread only.

    The callback runs in the hub and must not block. What it raises is logged.
    """

    __slots__ = ("_callback", "_hub", "_watcher")

    def __init__(self, hub: Hub, callback: Callable[[], object]) -> None:
        self._hub = hub
        self._callback = callback
        self._watcher: _TimerWatcher | None = None

    @property
    def active(self) -> bool:
        """Whether it is going to call back."""
        return self._watcher is not None

    def start(self, delay_s: float) -> None:
        """Calls back `delay_s` seconds from now, and not when an earlier start said."""
        self.stop()
        # gevent's timers keep the delay they were made with. A new one costs 0.4 us.
        self._watcher = self._hub.loop.timer(max(delay_s, 0.0))
        self._watcher.start(self._fire, update=True)

    def stop(self) -> None:
        """Does not call back, unless started again."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()

    def close(self) -> None:
        """As `stop`; it can be started again all the same."""
        self.stop()

    def _fire(self) -> None:
        self.stop()
        try:
            self._callback()
        except Exception:
            logger.exception("a timer's callback failed")


_REAL: Final = Environment()
_carrying_none: set[type] = set()  # types of loops
_MONITOR: Final = Monitor()
"""Of the process, as its threads are; see there why there is one only."""


def current_environment() -> Environment:
    """The environment of the calling thread's hub, where its loop carries one; else the real one."""
    hub = hub_of_this_thread()
    if hub is None or type(hub.loop) in _carrying_none:
        return _REAL
    found = getattr(hub.loop, "environment", None)
    if found is None:
        if not hasattr(hub.loop, "__dict__"):  # gevent's own loop: nobody can give it one later
            _carrying_none.add(type(hub.loop))
        return _REAL
    return cast("Environment", found)
