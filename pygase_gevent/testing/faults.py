"""What goes wrong: lines are cut, clocks jump, processes sleep, die and come back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from pygase_gevent.gamestate import GameState
from pygase_gevent.testing.checker import Pairs
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.options import SimulationOptions
from pygase_gevent.testing.virtual_client import VirtualClient
from pygase_gevent.testing.world import World

SHORTEST_STOP_S = 0.1
"""A server's shutdown takes this long."""
COME_BACK_S = 1.0
"""After this long somebody else takes the place of a client that left."""


class Faults:
    """Injects each kind of fault at random times, at the rates that the options say.

    Args:
        world: where.
        options: rates.
        rng: of times, victims and durations.
        counts: how many of each kind.
        pairs: is told who died.
        new_state: the first state of a new server process.
        add_client: lets somebody else come.
    """

    def __init__(
        self,
        world: World,
        options: SimulationOptions,
        rng: random.Random,
        counts: Counter[str],
        pairs: Pairs,
        new_state: Callable[[], GameState],
        add_client: Callable[[], VirtualClient],
    ) -> None:
        self._world = world
        self._options = options
        self._rng = rng
        self._counts = counts
        self._pairs = pairs
        self._new_state = new_state
        self._add_client = add_client
        self._is_active = True

    def start(self) -> None:
        """Begins."""
        for kind, per_min in self._options.faults_per_min.items():
            self._plan(per_min / 60, getattr(self, f"_{kind}"))
        self._look_who_left()

    def heal(self) -> None:
        """No more faults; whatever is broken is well from now on."""
        self._is_active = False
        world = self._world
        well = LinkOptions(delay_s=self._options.line.delay_s)
        for line in world.network.lines.values():
            line.set_options(well)
            line.cut(up=False, down=False)
        world.server.wake_up()
        self._start_server()
        for host in (world.server, *world.clients):
            host.wake_up()
            host.rest()

    # --- when -----------------------------------------------------------------------------------

    def _plan(self, hz: float, fault: Callable[[], bool]) -> None:
        self._world.timeline.after(self._rng.expovariate(hz), self._happen, hz, fault)

    def _happen(self, hz: float, fault: Callable[[], bool]) -> None:
        if self._is_active:
            self._plan(hz, fault)
            if fault():
                self._counts[fault.__name__.strip("_")] += 1

    def _later(self, callback: Callable[[], object]) -> None:
        """Ends a fault some time later."""
        duration_s = min(
            self._rng.expovariate(4 / self._options.longest_fault_s), self._options.longest_fault_s
        )
        self._world.timeline.after(duration_s, lambda: callback() if self._is_active else None)

    def _victim(self) -> VirtualClient | None:
        alive = [client for client in self._world.clients if not client.is_over]
        return self._rng.choice(alive) if alive else None

    def _look_who_left(self) -> None:
        """Whose connection is over makes room for somebody else."""
        if not self._is_active:
            return
        world = self._world
        world.timeline.after(COME_BACK_S, self._look_who_left)
        over = [client for client in world.clients if client.is_over and not client.is_asleep]
        for client in over:
            world.clients.remove(client)
            client.die()
            self._add_client()

    # --- lines ----------------------------------------------------------------------------------

    def _cut(self, *, up: bool, down: bool) -> bool:
        client = self._victim()
        if client is None:
            return False
        line = self._world.line_of(client)
        line.cut(up=up, down=down)
        self._later(lambda: line.cut(up=False, down=False))
        return True

    def _partition(self) -> bool:
        return self._cut(up=True, down=True)

    def _one_way_up(self) -> bool:
        return self._cut(up=True, down=False)

    def _one_way_down(self) -> bool:
        return self._cut(up=False, down=True)

    def _bad_line(self) -> bool:
        client = self._victim()
        if client is None:
            return False
        line = self._world.line_of(client)
        line.set_options(self._options.bad_line)
        self._later(lambda: line.set_options(self._options.line))
        return True

    def _rebind(self) -> bool:
        client = self._victim()
        if client is not None:
            client.rebind()
        return client is not None

    # --- clocks and processes -------------------------------------------------------------------

    def _wall_jump(self) -> bool:
        hosts = [self._world.server, *self._world.clients]
        self._rng.choice(hosts).wall_offset_s += self._rng.choice((-86_400, -60, -3, 3, 60, 86_400))
        return True

    def _client_stall(self) -> bool:
        client = self._victim()
        if client is None or client.is_asleep:
            return False
        client.fall_asleep(self._rng.uniform(0.2, self._options.longest_fault_s))
        return True

    def _server_stall(self) -> bool:
        if not self._world.server.is_running or self._world.server.is_asleep:
            return False
        self._world.server.fall_asleep(self._rng.uniform(0.2, self._options.longest_fault_s))
        return True

    def _client_busy(self) -> bool:
        client = self._victim()
        if client is not None:
            client.be_busy(self._rng.uniform(0.5, self._options.longest_fault_s))
        return client is not None

    def _server_busy(self) -> bool:
        self._world.server.be_busy(self._rng.uniform(0.5, self._options.longest_fault_s))
        return True

    # --- comings and goings ---------------------------------------------------------------------

    def _goodbye(self) -> bool:
        client = self._victim()
        if client is None or client.is_asleep:
            return False
        client.disconnect()
        return True

    def _death(self) -> bool:
        client = self._victim()
        if client is None:
            return False
        client.die()
        self._pairs.client_died(client)
        return True

    def _kick(self) -> bool:
        server = self._world.server
        peers = list(server.core.sessions.values())
        if not server.is_running or server.is_stopping or server.is_asleep or not peers:
            return False
        server.kick(self._rng.choice(peers), "out")
        return True

    def _shutdown(self) -> bool:
        server = self._world.server
        if not server.is_running or server.is_stopping or server.is_asleep:
            return False
        server.stop()
        self._world.timeline.after(SHORTEST_STOP_S, self._later, self._start_server)
        return True

    def _restart_from_nothing(self) -> bool:
        self._world.replace_server(self._new_state())
        self._later(self._start_server)
        return True

    def _start_server(self) -> None:
        server = self._world.server
        if not server.is_running:
            server.start()
        elif server.is_stopping:
            self._world.timeline.after(SHORTEST_STOP_S, self._start_server)
