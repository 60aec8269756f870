"""How fast virtual time runs: `python -m benchmarks.simulator`.

One server and eight clients at 40 states a second on one core; the goal is 20 virtual seconds a second. First
the protocol alone over a line that loses 2 %, then with messages each way and all checkers.
"""

from __future__ import annotations

import argparse
import random
import time

from pygase_gevent.gamestate import GameState, GameStateUpdate
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.options import SimulationOptions
from pygase_gevent.testing.simulator import Simulation
from pygase_gevent.testing.world import World

GOAL = 20.0
CLIENTS = 8
HZ = 40.0
LINE = LinkOptions(loss=0.02, delay_s=0.03, jitter_s=0.005)


def run_protocol(seconds: float) -> tuple[float, int]:
    """Virtual seconds and datagrams of a server that moves eight players."""
    players = {i: {"x": 0.0, "y": 0.0} for i in range(CLIENTS)}
    world = World(1, line=LINE, state=GameState(players=players))
    rng = random.Random(1)

    def tick() -> None:
        moved = {i: {"x": rng.random(), "y": rng.random()} for i in range(CLIENTS)}
        world.server.push(GameStateUpdate(0, players=moved))
        world.timeline.after(1 / HZ, tick)

    world.server.start()
    for _ in range(CLIENTS):
        world.add_client()
    tick()
    begun_at = world.now
    world.run(seconds)
    assert all(client.is_connected for client in world.clients)
    return world.now - begun_at, world.trace.entries


def run_checked(seconds: float) -> tuple[float, int]:
    """The same with two messages a second each way and client, and every checker."""
    options = SimulationOptions(duration_s=seconds, clients=CLIENTS, tick_hz=HZ, events_hz=2.0, line=LINE)
    result = Simulation(options).run()
    assert result.violation is None, result.violation
    return result.virtual_s, result.datagrams


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulator", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="virtual seconds (default: 30)")
    seconds = parser.parse_args().seconds
    print(f"{CLIENTS} clients at {HZ:g} Hz; goal: {GOAL:g} virtual seconds a second")
    for name, run in (("the protocol alone", run_protocol), ("with messages and checkers", run_checked)):
        wall, cpu = time.perf_counter(), time.process_time()
        virtual_s, datagrams = run(seconds)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(
            f"{name}: {virtual_s / wall:.1f} virtual seconds a second ({virtual_s / cpu:.1f} of CPU), "
            f"{datagrams / virtual_s:.0f} datagrams in each, {cpu / datagrams * 1e6:.0f} us of CPU a datagram"
        )


if __name__ == "__main__":
    main()
