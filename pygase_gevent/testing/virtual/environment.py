"""Clock, chance, sockets and threads of a virtual world: `pygase_gevent` takes them from here.

The virtual loop carries it as its attribute `environment`, so `current_environment()` finds it in
every greenlet of the virtual hub, and servers, clients and game loops need not know.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import gevent
from gevent import GreenletExit

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError
from pygase_gevent.hub.environment import Environment
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.hub.thread import HubThread
from pygase_gevent.hub.udp import UdpSocket
from pygase_gevent.hub.watchdog import Watch, Watchdog
from pygase_gevent.protocol.address import Address
from pygase_gevent.testing.virtual.loop import VirtualLoop

MAIN_THREAD_ID = 1


class Wires(Protocol):
    """Where sockets come from."""

    def open_udp(self, *, bind: Address | None, family: int | None, config: Config) -> UdpSocket: ...

    def resolve(self, hostname: str, port: int) -> list[Address]: ...


class VirtualEnvironment(Environment):
    """What `Environment` is to the real world.

    Args:
        loop: whose time it is.
        wires: whose sockets they are.
        seed: of all that `entropy` gives.
        unix_time_at_start: seconds since 1970 when the loop's clock showed zero.
    """

    def __init__(self, loop: VirtualLoop, wires: Wires, *, seed: str, unix_time_at_start: int) -> None:
        self.threads: list[VirtualThread] = []
        """All that were started, and have not ended."""
        self.loop = loop
        self._wires = wires
        self._rng = random.Random(seed)
        self._unix_time_at_start = unix_time_at_start
        self._thread_ids = MAIN_THREAD_ID
        loop.environment = self

    def now(self) -> float:
        return self.loop.now()

    def unix_time(self) -> int:
        return int(self.precise_unix_time())

    def precise_unix_time(self) -> float:
        """Seconds since 1970."""
        return self._unix_time_at_start + self.loop.now()

    def entropy(self, size: int) -> bytes:
        return self._rng.randbytes(size)

    def thread_ident(self) -> int:
        current = self.current_thread
        return MAIN_THREAD_ID if current is None else current.ident or 0

    def watchdog(self, config: Config) -> Watchdog:
        """One that watches nothing: computing takes no virtual time, so nobody holds up anybody."""
        return _BlindWatchdog()

    def open_udp(self, *, bind: Address | None, family: int | None = None, config: Config) -> UdpSocket:
        if bind is not None and not 0 <= bind[1] <= 65535:
            raise ArgumentError(f"a port must be in 0..65535, not {bind[1]}")
        return self._wires.open_udp(bind=bind, family=family, config=config)

    def resolve(self, hostname: str, port: int) -> list[Address]:
        return self._wires.resolve(hostname, port)

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
        """Starts a greenlet of the virtual hub in the place of a native thread."""
        thread = VirtualThread(
            self,
            target,
            name=name,
            daemon=daemon,
            stop=stop,
            ready=ready,
            exit_timeout_s=config.exit_timeout_s,
        )
        thread.start()
        return thread

    @property
    def current_thread(self) -> VirtualThread | None:
        """The virtual thread that the caller runs in; None for the main one."""
        thread = self.loop.current_thread
        return thread if isinstance(thread, VirtualThread) else None

    def next_thread_id(self) -> int:
        """Idents are numbers in the order of the starts."""
        self._thread_ids += 1
        return self._thread_ids


class VirtualThread(HubThread):
    """A thread that is a greenlet of the virtual hub, with all greenlets that it starts.

    Args:
        environment: whose virtual hub.
        target, name, daemon, stop, ready, exit_timeout_s: see `HubThread`.
    """

    def __init__(
        self,
        environment: VirtualEnvironment,
        target: Callable[[], object],
        *,
        name: str,
        daemon: bool,
        stop: Callable[[], object] | None = None,
        ready: Outcome[Any] | None = None,
        exit_timeout_s: float = 2.0,
    ) -> None:
        super().__init__(
            target, name=name, daemon=daemon, stop=stop, ready=ready, exit_timeout_s=exit_timeout_s
        )
        self.plain_thread: threading.Thread | None = None
        """The thread of the standard library that it stands for, if it does."""
        self._environment = environment

    def run(self) -> None:
        with suppress(GreenletExit):  # the end of the virtual world
            super().run()

    def _launch(self) -> None:
        environment = self._environment
        self._thread_id = self._os_thread_id = environment.next_thread_id()
        environment.threads.append(self)
        greenlet = gevent.Greenlet(self._run_virtually)
        environment.loop.adopt(greenlet, self)
        greenlet.start()

    def _is_current(self) -> bool:
        return self._environment.current_thread is self

    def _run_virtually(self) -> None:
        try:
            self._run_and_report()
        finally:
            self._environment.threads.remove(self)
            self._finish()


class _BlindWatchdog(Watchdog):
    """Sees no switch of greenlets, and so finds nobody who held the hub."""

    def __init__(self) -> None:
        self.blocked = Counter()
        self._watch = _BlindWatch()

    def watch(self, name: str, whose: str = "", counter: Counter[str] | None = None) -> Watch:
        return self._watch

    def close(self) -> None:
        pass


class _BlindWatch(Watch):
    __slots__ = ()

    def __init__(self) -> None:
        pass

    def __enter__(self) -> Watch:
        return self

    def check(self) -> None:
        pass

    def __exit__(self, *exc_info: object) -> None:
        pass
