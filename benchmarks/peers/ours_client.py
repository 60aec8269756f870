"""One client of the library, in one hub with what uses it."""

from __future__ import annotations

import time
from typing import Any

import gevent
from gevent.event import Event as GeventEvent

from benchmarks.peers import game
from benchmarks.peers.single import (
    BATCH,
    BLOB_BYTES,
    LARGE_BYTES,
    LINE_HZ,
    REST_S,
    STALENESS_STEP_S,
    arguments,
)
from pygase_gevent import Client, Delivery
from pygase_gevent.errors import QueueFullError

DELIVERIES = {
    "ECHO": Delivery.RELIABLE,
    "E": Delivery.RELIABLE,
    "LINE": Delivery.RELIABLE_ORDERED,
    "BULK": Delivery.RELIABLE,
    "SEND BULK": Delivery.RELIABLE,
}
EVENT = bytes(32)
LIMIT_S = 30.0


class Player:
    """A client, and the last answer that came."""

    def __init__(self, port: int) -> None:
        self.client = Client(deliveries=DELIVERIES)
        self.client.register_event_handler("ECHOED", self._answered)
        self.client.register_event_handler("BULK", self._answered)
        self._answer: Any = None
        self._has_answer = GeventEvent()
        gevent.spawn(self.client.connect, port, "127.0.0.1")
        self.client.wait_connected(LIMIT_S)

    def ask(self, event_type: str, *args: Any) -> Any:
        """Dispatches an event and waits for the answer."""
        self._has_answer.clear()
        self.client.dispatch_event(event_type, *args)
        if not self._has_answer.wait(LIMIT_S):
            raise TimeoutError(f"no answer to {event_type}")
        return self._answer

    @property
    def staleness_ms(self) -> float:
        with self.client.access_game_state() as state:
            return (game.stamp_us() - int(state.stamp)) / 1000

    def _answered(self, answer: Any) -> None:
        self._answer = answer
        self._has_answer.set()


def round_trips(player: Player, count: int) -> dict[str, Any]:
    times = []
    for number in range(count):
        begun = time.perf_counter()
        player.ask("ECHO", number)
        times.append((time.perf_counter() - begun) * 1000)
        gevent.sleep(REST_S)
    return {"round_trip_ms": game.percentiles(times)}


def flood(player: Player, seconds: float) -> None:
    dispatch, end = player.client.dispatch_event, time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            for _ in range(BATCH):
                dispatch("E", EVENT)
            gevent.sleep(0)
        except QueueFullError:
            gevent.sleep(0.001)


def line(player: Player, count: int) -> dict[str, Any]:
    """W4: events at their rate, and meanwhile the age of the state."""
    staleness: list[float] = []
    player.client.wait_until(lambda state: getattr(state, "stamp", 0) > 0, LIMIT_S)

    def watch() -> None:
        while True:
            staleness.append(player.staleness_ms)
            gevent.sleep(STALENESS_STEP_S)

    watcher = gevent.spawn(watch)
    next_at = time.monotonic()
    for number in range(count):
        player.client.dispatch_event("LINE", number, game.stamp_us())
        next_at += 1 / LINE_HZ
        gevent.sleep(max(0.0, next_at - time.monotonic()))
    watcher.kill()
    return {"staleness_ms": game.percentiles(staleness)}


def large(port: int, count: int) -> dict[str, Any]:
    """W5: a state of 100 KiB to one who joins, from the first request on; an event of 1 MiB each way."""
    joins, ups, downs = [], [], []
    for _ in range(count):
        begun = time.perf_counter()
        player = Player(port)
        player.client.wait_until(lambda state: len(getattr(state, "blob", b"")) == BLOB_BYTES, LIMIT_S)
        joins.append((time.perf_counter() - begun) * 1000)
        data, begun_us = bytes(LARGE_BYTES), game.stamp_us()
        ups.append((player.ask("BULK", data) - begun_us) / 1000)
        begun = time.perf_counter()
        player.ask("SEND BULK", LARGE_BYTES)
        downs.append((time.perf_counter() - begun) * 1000)
        player.client.disconnect()
    return {
        "join_ms": game.percentiles(joins),
        "event_up_ms": game.percentiles(ups),
        "event_down_ms": game.percentiles(downs),
    }


def main() -> None:
    options = arguments()
    result: dict[str, Any] = {}
    if options.workload == "w5":
        result = large(options.port, options.count)
    else:
        player = Player(options.port)
        if options.workload == "w2":
            gevent.sleep(options.settle)
            result = round_trips(player, options.count)
        elif options.workload == "w4":
            result = line(player, options.count)
        else:
            flood(player, options.settle)
            cpu = time.process_time()
            game.say({"phase": "measuring"})
            flood(player, options.measure)
            result = {"took_s": options.measure, "cpu": (time.process_time() - cpu) / options.measure}
    game.say({"phase": "done", **result})
    if options.workload == "w4":
        gevent.sleep(LIMIT_S * 4)  # what was lost comes again; the benchmark ends this process


if __name__ == "__main__":
    main()
