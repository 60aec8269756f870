"""One client of PyGaSe, in its thread."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pygase

from benchmarks.peers import game
from benchmarks.peers.single import LINE_HZ, REST_S, STALENESS_STEP_S, arguments

RETRIES = 100
LIMIT_S = 30.0
EVENT = bytes(32)
FLOOD_HZ = 2000.0
"""It sends 40 packets a second; what is dispatched above that waits in a queue without limit."""


class Player:
    """A client, and whether an answer came."""

    def __init__(self, port: int) -> None:
        self.client = pygase.Client()
        self._answered = threading.Event()
        self.client.register_event_handler("ECHOED", lambda *args, **kwargs: self._answered.set())
        self.client.connect_in_thread(port, "127.0.0.1")
        self.client.wait_until(lambda state: hasattr(state, "stamp"), LIMIT_S)

    def round_trip_ms(self, number: int) -> float:
        self._answered.clear()
        begun = time.perf_counter()
        self.client.dispatch_event("ECHO", number, retries=RETRIES)
        self._answered.wait(LIMIT_S)
        return (time.perf_counter() - begun) * 1000

    def flood(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.client.dispatch_event("E", EVENT, retries=RETRIES)
            time.sleep(1 / FLOOD_HZ)

    def line(self, count: int) -> list[float]:
        staleness: list[float] = []
        begun = time.monotonic()
        for number in range(count):
            self.client.dispatch_event("LINE", number, game.stamp_us(), retries=RETRIES)
            while time.monotonic() < begun + (number + 1) / LINE_HZ:
                with self.client.access_game_state() as state:
                    staleness.append((game.stamp_us() - state.stamp) / 1000)
                time.sleep(STALENESS_STEP_S)
        return staleness


def main() -> None:
    options = arguments()
    player = Player(options.port)
    result: dict[str, Any] = {}
    if options.workload == "w2":
        times = []
        for number in range(options.count):
            times.append(player.round_trip_ms(number))
            time.sleep(REST_S)
        result = {"round_trip_ms": game.percentiles(times)}
    elif options.workload == "w3":
        player.flood(options.settle)
        cpu = time.process_time()
        game.say({"phase": "measuring"})
        player.flood(options.measure)
        result = {"took_s": options.measure, "cpu": (time.process_time() - cpu) / options.measure}
    else:
        result = {"staleness_ms": game.percentiles(player.line(options.count))}
    game.say({"phase": "done", **result})
    if options.workload == "w4":
        time.sleep(LIMIT_S * 4)  # what was lost comes again; the benchmark ends this process
    os._exit(0)  # its thread is no daemon


if __name__ == "__main__":
    main()
