"""Starts and stops a server and a client again and again, and prints what grew.

python -m tests.cycles threads|greenlets CYCLES WARM_UP
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gevent

from pygase_gevent import Backend, Client, Config, GameState

QUICK = Config(close_linger_s=0.01, blocked_hub_s=10.0)
"""A goodbye need not outlive losses here."""
LIMIT_S = 30.0


class Usage(NamedTuple):
    """What the process has."""

    descriptors: int
    native_threads: int
    threads: int
    objects: int
    rss_kib: int

    @staticmethod
    def now() -> Usage:
        for _ in range(3):
            gevent.sleep(0.02)  # threads that ended leave the kernel's list a little later
            gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Usage(
            len(os.listdir("/proc/self/fd")),
            len(os.listdir("/proc/self/task")),
            threading.active_count(),
            len(gc.get_objects()),
            pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        )


def cycle_in_threads() -> None:
    """Native threads with hubs of their own."""
    backend = make_backend()
    threads = [backend.run_in_thread()]
    client = Client(config=QUICK)
    threads.append(client.connect_in_thread(backend.server.port or 0))
    use(backend, client)
    client.disconnect()
    backend.shutdown()
    for thread in threads:
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def cycle_in_greenlets() -> None:
    """Greenlets of the main thread's hub, which goes on."""
    backend, client = make_backend(), Client(config=QUICK)
    serving = gevent.spawn(backend.run, "localhost", 0)
    while backend.server.port is None:
        gevent.sleep(0.001)
    playing = gevent.spawn(client.connect, backend.server.port)
    gevent.sleep(0)
    use(backend, client)
    client.disconnect()
    playing.get(timeout=LIMIT_S)
    backend.shutdown()
    serving.get(timeout=LIMIT_S)


def make_backend() -> Backend:
    backend = Backend(GameState(steps=0), lambda state, dt: {"steps": state.steps + 1}, config=QUICK)
    backend.server.register_event_handler("ADD", lambda a, b: a + b)
    backend.server.register_event_handler("PONG", lambda: None)
    return backend


def use(backend: Backend, client: Client) -> None:
    """Everything once."""
    client.register_event_handler("PING", lambda: None)
    client.wait_connected(LIMIT_S)
    client.dispatch_event("PONG", retries=1, ack_callback=lambda: None)
    backend.server.dispatch_event("PING", retries=1)
    assert client.call("ADD", 1, 2, timeout=LIMIT_S) == 3
    client.wait_until(lambda state: state.steps > 0, LIMIT_S)


CYCLES: dict[str, Callable[[], None]] = {"threads": cycle_in_threads, "greenlets": cycle_in_greenlets}


def grown(kind: str, count: int, warm_up: int) -> Usage:
    """What `count` cycles left behind, after so many that only fill caches and pools."""
    for _ in range(warm_up):
        CYCLES[kind]()
    before = Usage.now()
    for _ in range(count):
        CYCLES[kind]()
    after = Usage.now()
    return Usage(*(now - was for was, now in zip(before, after, strict=True)))


if __name__ == "__main__":
    print(*grown(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
