"""Eight threads call everything that may be called from any thread, ten thousand times each.

python -m tests.stress [THREADS CALLS]

The interpreter switches threads as often as it can (`sys.setswitchinterval(1e-6)`). What is dispatched
must arrive once and in each thread's order, what is pushed must be in the state, calls must be
answered, and nothing may get stuck. Under `patch_all()` half of the threads are greenlets of the main
thread's hub, the others native threads; else half of them have a hub.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey

from pygase_gevent import (
    Client,
    Config,
    Delivery,
    GameState,
    GameStateMachine,
    GameStateStore,
    GameStateUpdate,
    QueueFullError,
    Server,
)
from tests.native import native_sleep, run_natively, switching_often

LIMIT_S = 60.0
PATIENT = Config(blocked_hub_s=10.0)
"""Eight threads compute here, and a hub waits for its turn."""
DELIVERIES = {f"FROM{thread}": Delivery.RELIABLE_ORDERED for thread in range(64)}


class World:
    """A server, its game loop and a client, each in a thread of its own, and what arrived where."""

    def __init__(self) -> None:
        self.at_server: defaultdict[int, list[int]] = defaultdict(list)
        self.at_client: defaultdict[int, list[int]] = defaultdict(list)
        self.acknowledged: defaultdict[int, list[int]] = defaultdict(list)
        self.stepped = 0
        self.store = GameStateStore(GameState(pushed={}, steps=0))
        self.machine = GameStateMachine(self.store)
        self.machine.time_step = lambda state, dt: {"steps": state.steps + 1}  # type: ignore[method-assign]
        self.server = Server(self.store, deliveries=DELIVERIES, config=PATIENT)
        self.client = Client(deliveries=DELIVERIES, config=PATIENT)
        self.server.register_event_handler("ADD", lambda a, b: a + b)
        self.client.register_event_handler("ADD", lambda a, b: a + b)
        self.threads = [
            self.machine.run_game_loop_in_thread(),
            self.server.run_in_thread(event_wire=self.machine),
        ]
        assert self.server.port is not None
        self.threads.append(self.client.connect_in_thread(self.server.port))
        self.client.wait_connected(LIMIT_S)
        (self.name,) = self.server.connections

    def end(self) -> None:
        self.client.disconnect()
        self.server.shutdown()
        assert self.machine.stop(LIMIT_S)
        for thread in self.threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()


class Caller:
    """One of the threads."""

    def __init__(self, world: World, number: int, calls: int, sleep: Callable[[float], object]) -> None:
        self.world = world
        self.number = number
        self.calls = calls
        self.sleep = sleep
        self.sent_up = self.sent_down = self.pushed = self.packets_seen = 0
        self.error: BaseException | None = None
        self.is_done = False

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.error = error
        self.is_done = True

    def _run(self) -> None:
        server, client, mine = self.world.server, self.world.client, self.number
        event_type = f"FROM{mine}"
        server.register_event_handler(event_type, self.world.at_server[mine].append)
        client.register_event_handler(event_type, self.world.at_client[mine].append)
        for call in range(self.calls):
            match call % 10:
                case 0 | 5:
                    acknowledge = lambda number=self.sent_up: self.world.acknowledged[mine].append(number)  # noqa: E731
                    self.persist(client.dispatch_event, event_type, self.sent_up, ack_callback=acknowledge)
                    self.sent_up += 1
                case 1 | 6:
                    self.persist(server.dispatch_event, event_type, self.sent_down)
                    self.sent_down += 1
                case 2:
                    self.world.store.push_update(GameStateUpdate(0, pushed={f"{mine}": {self.pushed: True}}))
                    self.pushed += 1
                    state = self.world.store.get_game_state()
                    assert len(state.pushed[f"{mine}"]) == self.pushed
                case 3:
                    with client.access_game_state() as seen:
                        before = getattr(seen, "steps", 0)
                        assert getattr(seen, "steps", 0) == before
                case 4:
                    stats = client.connection.stats
                    assert stats.packets_sent >= self.packets_seen
                    self.packets_seen = stats.packets_sent
                    assert client.connection.quality in ("good", "bad")
                    assert server.stats.joined == 1 and server.connections[self.world.name].latency >= 0
                case 7:
                    times = [state.server_time for state in client.recent_states()]
                    assert times == sorted(times)
                case 8:
                    handler = f"OTHER{call % 64}"
                    (server if call % 20 == 8 else client).register_event_handler(handler, lambda: None)
                    assert server.host_client == self.world.name and client.server_time != 0.0
                case 9 if call % 200 == 9:
                    assert client.call("ADD", call, mine, timeout=LIMIT_S) == call + mine
                    assert server.call(self.world.name, "ADD", mine, call, timeout=LIMIT_S) == call + mine
                case 9:
                    client.wait_until(lambda state: True)
                    assert len(server.connections) == 1

    def persist(self, dispatch: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """As a program does where there is no room: later."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                return dispatch(*args, **kwargs)
            except QueueFullError:
                assert time.monotonic() < deadline
                self.sleep(0.001)


def main(count: int = 8, calls: int = 10_000) -> None:
    is_patched = monkey.is_module_patched("threading")
    world = World()
    callers = []
    with switching_often():
        for number in range(count):
            with_hub = number % 2 == 0
            caller = Caller(world, number, calls, gevent.sleep if with_hub else native_sleep)
            callers.append(caller)
            if is_patched and with_hub:
                threading.Thread(target=caller.run).start()
            else:
                run_natively(*((run_with_hub, caller) if with_hub else (caller.run,)))
        wait_for(lambda: all(caller.is_done for caller in callers), "the callers")
    for caller in callers:
        if caller.error is not None:
            raise caller.error
    for caller in callers:
        mine = caller.number
        ups, downs = list(range(caller.sent_up)), list(range(caller.sent_down))
        wait_for(lambda mine=mine, ups=ups: len(world.at_server[mine]) >= len(ups), "events up")
        wait_for(lambda mine=mine, downs=downs: len(world.at_client[mine]) >= len(downs), "events down")
        wait_for(lambda mine=mine, ups=ups: len(world.acknowledged[mine]) >= len(ups), "acks")
        assert world.at_server[mine] == ups
        assert world.at_client[mine] == downs
        assert sorted(world.acknowledged[mine]) == ups
    pushed = {f"{caller.number}": dict.fromkeys(range(caller.pushed), True) for caller in callers}
    assert world.store.get_game_state().pushed == pushed
    world.client.wait_until(lambda state: state.pushed == pushed, LIMIT_S)
    assert world.client.connection.stats.handler_errors == 0
    world.end()
    print("nothing lost, doubled or stuck")


def run_with_hub(caller: Caller) -> None:
    gevent.sleep(0)
    caller.run()
    gevent.get_hub().destroy(destroy_loop=True)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}"
        gevent.sleep(0.01)


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:]))
    except BaseException:  # the server and its client are still there and would stay
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
