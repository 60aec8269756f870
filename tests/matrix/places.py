"""Where a program may run its server and its client, and wait for them."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey

from pygase_gevent import Backend, Client

LIMIT_S = 30.0
"""How long anything may take before it counts as not happening."""
TASKS = "/proc/self/task"


class Place:
    """What the places have in common: waiting, and looking whether all has ended.

    Attributes:
        is_in_the_same_hub: whether the program calls from the hub that runs what it calls.
    """

    is_in_the_same_hub = False

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._native_threads = count_native_threads()

    def run(self, *drivers: Callable[[], None]) -> None:
        """Run the drivers of the program's sides, all of them at once, to their ends."""
        raise NotImplementedError

    def serve(self, backend: Backend, port: int) -> None:
        raise NotImplementedError

    def connect(self, client: Client, port: int) -> None:
        raise NotImplementedError

    def pause(self, seconds: float) -> None:
        # `time` may be left unpatched where threads are greenlets: then it would stop all of them.
        (gevent.sleep if monkey.is_module_patched("threading") else time.sleep)(seconds)

    def wait(self, condition: Callable[[], object], what: str | Callable[[], object]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {LIMIT_S} s: {what() if callable(what) else what}")
            self.pause(0.002)

    def server_ended(self) -> None:
        """After its shutdown: `run` has returned."""

    def all_ended(self) -> None:
        """What this side ran has returned."""
        self.wait(lambda: not any(thread.is_alive() for thread in self._threads), "the threads' ends")

    def nothing_is_left(self) -> None:
        """No thread of the library, known to Python or not."""
        self.wait(
            lambda: (
                count_native_threads() <= self._native_threads
                and not any(thread.name.startswith("pygase") for thread in threading.enumerate())
            ),
            lambda: f"threads: {threading.enumerate()}, {count_native_threads()} native ones",
        )


class InThreads(Place):
    """The library's own native threads; the program waits in its main thread, its other side in a thread."""

    def run(self, *drivers: Callable[[], None]) -> None:
        threads = run_in_threads(*drivers[1:])
        drivers[0]()
        for thread in threads:
            thread.join()

    def serve(self, backend: Backend, port: int) -> None:
        self._threads.append(backend.run_in_thread("localhost", port))

    def connect(self, client: Client, port: int) -> None:
        self._threads.append(client.connect_in_thread(port))

    def all_ended(self) -> None:
        for thread in self._threads:
            thread.join(LIMIT_S)
        super().all_ended()


class InGreenlets(Place):
    """Greenlets of the main thread's hub, the program among them."""

    is_in_the_same_hub = True

    def __init__(self) -> None:
        super().__init__()
        self._greenlets: list[Any] = []

    def run(self, *drivers: Callable[[], None]) -> None:
        gevent.joinall([gevent.spawn(driver) for driver in drivers], raise_error=True)

    def serve(self, backend: Backend, port: int) -> None:
        self._server = gevent.spawn(backend.run, "localhost", port)
        self._greenlets.append(self._server)

    def connect(self, client: Client, port: int) -> None:
        self._greenlets.append(gevent.spawn(client.connect, port))

    def pause(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def server_ended(self) -> None:
        self._server.get(timeout=LIMIT_S)

    def all_ended(self) -> None:
        self.wait(lambda: all(greenlet.ready() for greenlet in self._greenlets), "the greenlets' ends")
        for greenlet in self._greenlets:
            greenlet.get()


class InMainThread(Place):
    """`run` and `connect` block the main thread; the program goes on in threads as Python makes them.

    Where both are in the main thread, the client is a greenlet beside the blocking server.
    """

    def __init__(self) -> None:
        super().__init__()
        self._jobs: deque[Callable[[], Any]] = deque()
        self._beside: deque[Callable[[], Any]] = deque()
        self._running = 0
        self._runs_server = False
        self.is_in_the_same_hub = monkey.is_module_patched("threading")

    def run(self, *drivers: Callable[[], None]) -> None:
        threads = run_in_threads(*drivers)
        while any(thread.is_alive() for thread in threads):
            if self._jobs:
                self._jobs.popleft()()
            else:
                self.pause(0.005)

    def serve(self, backend: Backend, port: int) -> None:
        self._runs_server = True
        self._jobs.append(lambda: self._serve(backend, port))
        self._running += 1

    def connect(self, client: Client, port: int) -> None:
        # Where the hub is busy with `run`, only what runs in it can start a greenlet there.
        jobs = self._beside if self._runs_server else self._jobs
        jobs.append(lambda: self._connect(client, port))
        self._running += 1

    def server_ended(self) -> None:
        self.wait(lambda: not self._runs_server, "the return of `run`")

    def all_ended(self) -> None:
        self.wait(lambda: not self._running, "the end of what blocks the main thread")

    def _serve(self, backend: Backend, port: int) -> None:
        beside = gevent.spawn(self._work_beside)
        backend.run("localhost", port)
        beside.kill()
        self._runs_server = False
        self._running -= 1

    def _work_beside(self) -> None:
        while True:
            if self._beside:
                gevent.spawn(self._beside.popleft())
            gevent.sleep(0.005)

    def _connect(self, client: Client, port: int) -> None:
        client.connect(port)
        self._running -= 1


PLACES: dict[str, type[Place]] = {"main": InMainThread, "thread": InThreads, "greenlet": InGreenlets}


def run_in_threads(*functions: Callable[[], None]) -> list[threading.Thread]:
    """Each in a thread as Python makes it, which under `patch_all()` is a greenlet."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    return threads


def count_native_threads() -> int:
    """As the kernel knows them; 0 where it does not tell."""
    return len(os.listdir(TASKS)) if os.path.exists(TASKS) else 0
