"""Plays a whole game in virtual time: servers, clients and players' code, unchanged, in one thread.

See docs/testing.md for how to test a game with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, ParamSpec, TypeVar

import gevent
from gevent import GreenletExit
from gevent.hub import set_hub  # type: ignore[attr-defined]  # not in the stubs
from greenlet import getcurrent, greenlet

from pygase_gevent.errors import AlreadyRunningError, NotRunningError
from pygase_gevent.hub.signal import hub_of_this_thread
from pygase_gevent.hub.thread import destroy_hub_of_this_thread
from pygase_gevent.protocol.address import Address
from pygase_gevent.testing.link import PERFECT_LINE, LinkOptions
from pygase_gevent.testing.virtual.environment import VirtualEnvironment
from pygase_gevent.testing.virtual.loop import VirtualHub, VirtualLoop, VirtualTimeError
from pygase_gevent.testing.virtual.stdlib import virtual_stdlib
from pygase_gevent.testing.virtual.wires import VirtualLink, VirtualWires

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

START_S = 1000.0
"""What the monotonic clock shows at first: no machine's shows zero."""
UNIX_TIME_AT_START = 1_900_000_000
"""The calendar at first: 17 March 2030."""
_KILL_TIMEOUT_S = 5.0


class VirtualNetwork:
    """A world of its own, with virtual time and a virtual network, for the code within the block.

    What blocks there, blocks in virtual time: `gevent`'s functions, `time.sleep`, everything of
    `pygase_gevent`. Time passes only while everybody waits, and then at once. Threads are greenlets.
    The same seed gives the same run, to the bit.

    Args:
        seed: of the lines, of all keys and tokens, and of `random`.
        real_limit_s: seconds of real time after which the run is given up with a `RealTimeLimitError`.

    Attributes:
        seed: as given.

    Example:
        with VirtualNetwork(seed=1) as network:
            backend.run_in_thread()
            line = network.link(backend.server.port, up=LinkOptions(loss=0.2, delay_s=0.05))
            client.connect_in_thread(line.port)
            client.wait_connected()
            time.sleep(600)             # ten minutes of play
            assert ...
    """

    def __init__(self, *, seed: int = 0, real_limit_s: float = 120.0) -> None:
        self.seed = seed
        self._real_limit_s = real_limit_s
        self._world: _World | None = None

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `function(*args, **kwargs)` in a world of its own and returns what it returns."""
        with self:
            return function(*args, **kwargs)

    def link(
        self,
        target: Address | int,
        *,
        up: LinkOptions = PERFECT_LINE,
        down: LinkOptions | None = None,
        seed: int | None = None,
    ) -> VirtualLink:
        """Lays a line to a server; who connects to its `port` instead of the server's uses it.

        Args:
            target: the server's port, or its host and port.
            up: the line from the clients to the server.
            down: the line back; as `up` if not given.
            seed: of this line; one that follows from the network's if not given.
        """
        world = self._running()
        host, port = ("localhost", target) if isinstance(target, int) else target
        address = world.wires.resolve(host, port)[0]
        world.links += 1
        if seed is None:
            seed = self.seed * 1000 + world.links
        return VirtualLink(world.wires, address, up=up, down=down, seed=seed)

    @property
    def now(self) -> float:
        """Virtual seconds since the block began."""
        return self._running().loop.now() - START_S

    @property
    def fingerprint(self) -> str:
        """A hash of every datagram sent so far; equal for equal runs."""
        return self._running().wires.fingerprint

    @property
    def datagrams(self) -> int:
        """How many were sent so far."""
        return self._running().wires.counts["sent"]

    def __enter__(self) -> VirtualNetwork:
        if self._world is not None:
            raise AlreadyRunningError("this virtual network is in use; make another one")
        hub = hub_of_this_thread()
        if hub is not None and isinstance(hub.loop, VirtualLoop):
            raise AlreadyRunningError("a virtual network is in use in this thread; they cannot be nested")
        self._world = _World(self.seed, self._real_limit_s)
        return self

    def __exit__(self, *exc_info: object) -> None:
        world, self._world = self._world, None
        if world is not None:
            world.end()

    def _running(self) -> _World:
        if self._world is None:
            raise NotRunningError("the virtual network exists only within its block: use `with`, or `run`")
        return self._world


class _World:
    """One run: from taking the place of the thread's hub to giving it back."""

    def __init__(self, seed: int, real_limit_s: float) -> None:
        self.links = 0
        self.loop = VirtualLoop(now=START_S, real_limit_s=real_limit_s)
        self.wires = VirtualWires(self.loop)
        self._environment = VirtualEnvironment(
            self.loop, self.wires, seed=f"entropy {seed}", unix_time_at_start=UNIX_TIME_AT_START
        )
        self._main = getcurrent()
        self.loop.adopt(self._main, None)
        self._stack = ExitStack()
        self._stack.callback(_give_back_hub, hub_of_this_thread())
        hub = VirtualHub(self.loop)
        hub.name = "virtual"
        set_hub(hub)
        self._stack.callback(destroy_hub_of_this_thread)
        try:
            self._stack.enter_context(virtual_stdlib(self._environment, seed=f"random {seed}"))
        except BaseException:
            self._stack.close()
            raise

    def end(self) -> None:
        """Ends everything as the interpreter's exit would, and then with force."""
        self.loop.allow_cleaning_up()
        with self._stack:
            with suppress(VirtualTimeError):
                self._end_threads()
            with suppress(VirtualTimeError):
                self._kill_greenlets()

    def _end_threads(self) -> None:
        threads = self._environment.threads
        for thread in list(threads):
            thread.request_stop()
        for thread in list(threads):
            thread.join(thread.exit_timeout_s)

    def _kill_greenlets(self) -> None:
        left = [each for each in self.loop.greenlets if not each.dead and each is not self._main]
        for each in left:
            if isinstance(each, gevent.Greenlet):
                each.kill(block=False)
            else:
                self.loop.run_callback(_throw_exit, each)
        # Two turns of the hub: what was killed may have something to put in order.
        gevent.joinall([each for each in left if isinstance(each, gevent.Greenlet)], timeout=_KILL_TIMEOUT_S)
        gevent.sleep(0)


def _throw_exit(waiting: greenlet) -> None:
    if not waiting.dead:
        waiting.throw(GreenletExit)


def _give_back_hub(hub: Any) -> None:
    set_hub(hub)
