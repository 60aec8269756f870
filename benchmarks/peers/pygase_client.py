"""One client of PyGaSe, in its thread."""

from __future__ import annotations

import threading
import time

import pygase

from benchmarks.peers import game
from benchmarks.peers.single import LIMIT_S, LINE_HZ, REST_S, STALENESS_STEP_S, main

RETRIES = 100
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
        took_ms = (time.perf_counter() - begun) * 1000
        time.sleep(REST_S)
        return took_ms

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

    def stay(self, seconds: float) -> None:
        time.sleep(seconds)


if __name__ == "__main__":
    main(Player)
