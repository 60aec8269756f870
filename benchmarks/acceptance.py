"""How fast what must hold holds, on loopback and over a bad line: `python -m benchmarks.acceptance`.

The server is a process of its own; the client and the relay run here. Each figure stands beside the
goal it has. Staleness is measured from a stamp of `time.monotonic()` inside the state, which is one clock
for all processes of a Linux machine.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent

from pygase_gevent import Backend, Client, Delivery, GameState
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.relay import Relay

DELIVERIES = {
    "PING": Delivery.RELIABLE,
    "PONG": Delivery.RELIABLE,
    "LINE": Delivery.RELIABLE_ORDERED,
    "BULK": Delivery.RELIABLE,
}
ENTITIES = 50
SEND_INTERVAL_S = 1 / 60
BAD = LinkOptions(loss=0.2, delay_s=0.05, jitter_s=0.02)
LIMIT_S = 60.0


# --- the server process -------------------------------------------------------------------------


class Game:
    """Fifty entities that move 50 times a second, and answers to everything."""

    def __init__(self) -> None:
        self._is_moving = True
        self._lines = 0
        self._backend = Backend(
            GameState(tick=0, stamp=0.0, entities={}, lines=0, blob=b""),
            self._time_step,
            {"LINE": self._take_line, "BLOB": lambda size: {"blob": os.urandom(size)}},
            deliveries=DELIVERIES,
        )
        self._backend.server.register_event_handler("HOLD", self._hold)
        self._backend.server.register_event_handler("PING", self._answer)
        self._backend.server.register_event_handler("ECHO", self._echo)
        self._backend.server.register_event_handler("BULK", self._bulk_arrived)
        self._backend.server.register_event_handler("SEND BULK", self._send_bulk)

    def run(self, port: int) -> None:
        self._backend.run("localhost", port)

    def _time_step(self, game_state: GameState, dt: float) -> dict[str, Any]:
        if not self._is_moving:
            return {}
        tick = game_state.tick + 1
        entities = {
            i: {"x": tick * 0.01 + i, "y": tick * -0.02 + i, "angle": tick / 50} for i in range(ENTITIES)
        }
        return {"tick": tick, "stamp": time.monotonic(), "entities": entities}

    def _hold(self, hold: bool) -> tuple[int, float]:
        """Stands still or goes on; which state is the last now, and when it was made."""
        self._is_moving = not hold
        gevent.sleep(0.05)
        state = self._backend.game_state_store.get_game_state()
        return state.tick, state.stamp

    def _take_line(self, number: int) -> dict[str, Any]:
        in_order = number == self._lines
        self._lines += 1
        return {"lines": self._lines if in_order else -1, "lines_done": time.monotonic()}

    def _answer(self, number: Any, client_address: tuple[str, int]) -> None:
        self._backend.server.dispatch_event("PONG", number, time.monotonic(), target_client=client_address)

    def _echo(self, number: Any, client_address: tuple[str, int]) -> None:
        self._backend.server.dispatch_event("ECHOED", number, time.monotonic(), target_client=client_address)

    def _bulk_arrived(self, data: bytes, client_address: tuple[str, int]) -> None:
        self._backend.server.dispatch_event("PONG", "bulk", time.monotonic(), target_client=client_address)

    def _send_bulk(self, size: int, client_address: tuple[str, int]) -> None:
        self._backend.server.dispatch_event("BULK", os.urandom(size), target_client=client_address)


@contextlib.contextmanager
def server_process() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server, and the port that it will listen on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.acceptance", "--serve", str(port)])
    try:
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def client_process(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A client in a process of its own, connected."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.acceptance", "--play", str(port)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


# --- the client ---------------------------------------------------------------------------------


class Player:
    """A client, with the time at which each answer came."""

    def __init__(self, port: int) -> None:
        self.answers: dict[Any, tuple[float, float]] = {}  # handled there, and answer handled here
        self.bulk: list[float] = []
        self._number = 0
        self.client = Client(deliveries=DELIVERIES)
        self.client.register_event_handler("PONG", self._answered)
        self.client.register_event_handler("ECHOED", self._answered)
        self.client.register_event_handler("BULK", lambda data: self.bulk.append(time.monotonic()))
        self.client.connect_in_thread(port, "127.0.0.1")
        self.client.wait_connected(LIMIT_S)
        self.client.try_to(lambda state: state.tick > 10 or None, timeout=LIMIT_S)

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.disconnect()

    def state(self) -> GameState:
        with self.client.access_game_state() as state:
            return state

    def round_trip(self, event_type: str) -> tuple[float, float]:
        """Sends one event: seconds until it was handled there, and until its answer was handled here."""
        self._number += 1
        number, sent = self._number, time.monotonic()
        self.client.dispatch_event(event_type, number)
        if not wait(lambda: number in self.answers, limit_s=1.0):
            return math.nan, math.nan  # an unreliable one, lost
        there, back = self.answers.pop(number)
        return there - sent, back - sent

    def _answered(self, number: Any, at: float) -> None:
        self.answers[number] = (at, time.monotonic())


class Watch(threading.Thread):
    """Looks at a player's state every millisecond.

    Attributes:
        staleness: age of the state at each look, seconds.
        seen_at: when each tick was seen first.
    """

    def __init__(self, player: Player) -> None:
        super().__init__(daemon=True)
        self.staleness: list[float] = []
        self.seen_at: dict[int, float] = {}
        self._player = player
        self._is_stopped = False

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._is_stopped = True
        self.join()

    def run(self) -> None:
        while not self._is_stopped:
            state, now = self._player.state(), time.monotonic()
            self.staleness.append(now - state.stamp)
            self.seen_at.setdefault(state.tick, now)
            time.sleep(0.001)


@contextlib.contextmanager
def line_to(port: int, line: LinkOptions) -> Iterator[int]:
    """The port to dial for a server behind such a line: a relay's, or on a perfect line its own."""
    if line == LinkOptions():
        yield port
        return
    with Relay(("127.0.0.1", port), up=line, seed=1) as relay:
        yield relay.port


def wait(condition: Callable[[], object], *, limit_s: float = LIMIT_S) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0002)
    return True


# --- the measurements ---------------------------------------------------------------------------


def measure_state(port: int, seconds: float) -> None:
    with Player(port) as player, Watch(player) as watch:
        first, start = player.state().tick, time.monotonic()
        time.sleep(seconds)
        rate = (player.state().tick - first) / (time.monotonic() - start)
    report("state of 50 entities at 50 Hz: staleness at any moment", watch.staleness, "p99 < 60 ms")
    print(f"  steps per second: {rate:.2f} (goal: 50 within 1 %)")


def measure_events(port: int, count: int) -> None:
    with Player(port) as player:
        for event_type, label in (("ECHO", "unreliable"), ("PING", "reliable")):
            trips = [player.round_trip(event_type) for _ in range(count)]
            report(f"{label} event, there", [there for there, _ in trips])
            report(f"{label} event, there and back", [back for _, back in trips], "far below 16.7 ms")


def measure_bad_line(port: int, seconds: float) -> None:
    with line_to(port, BAD) as line_port, Player(line_port) as player:
        with Watch(player) as watch:
            time.sleep(seconds)
        report("state: staleness at any moment", watch.staleness)
        start = time.monotonic()
        for number in range(500):
            player.client.dispatch_event("LINE", number)
        player.client.wait_until(lambda state: state.lines == 500, timeout=LIMIT_S)
        took = player.state().lines_done - start
        print(f"  500 reliable ordered events at once: last handled after {ms(took)}")
        settled = []
        for _ in range(10):
            with Watch(player) as watch:
                tick, stamp = player.client.call("HOLD", True, timeout=LIMIT_S)
                wait(lambda tick=tick, watch=watch: tick in watch.seen_at)  # type: ignore[misc]
            settled.append(watch.seen_at.get(tick, math.inf) - stamp)
            player.client.call("HOLD", False, timeout=LIMIT_S)
        report("state equals the server's after its standing still", settled, "max < 2 s")


def measure_bulk(port: int, line: LinkOptions) -> None:
    """A large state and large events each way; small events, one at a time, meanwhile."""
    with line_to(port, line) as line_port, Player(line_port) as player:
        quiet = [player.round_trip("PING") for _ in range(100)]
        base = percentile([back for _, back in quiet], 0.5)
        report("small events, there and back, quiet", [back for _, back in quiet])
        goal = f"p99 <= 3 round trips = {ms(3 * base)}"

        size = 100 * 1024
        start = time.monotonic()
        player.client.dispatch_event("BLOB", size, retries=100)
        trips = round_trips_until(player, lambda: len(player.state().blob) == size)
        print(f"  100 KiB more of state: there after {ms(time.monotonic() - start)}")
        report("    small events meanwhile", trips, goal)

        size = 1024 * 1024 - 64
        for direction in ("up", "down"):
            trips, took = [], []
            for number in range(3):
                start = time.monotonic()
                if direction == "up":
                    player.client.dispatch_event("BULK", os.urandom(size))
                    trips += round_trips_until(player, lambda: "bulk" in player.answers)
                    took.append(player.answers.pop("bulk", (math.inf, 0.0))[0] - start)
                else:
                    player.client.dispatch_event("SEND BULK", size, retries=100)
                    trips += round_trips_until(player, lambda number=number: len(player.bulk) > number)  # type: ignore[misc]
                    took.append(player.bulk[-1] - start)
            report(f"1 MiB event, {direction}", took)
            report("    small events meanwhile", trips, goal)


def round_trips_until(player: Player, is_done: Callable[[], object]) -> list[float]:
    """Round trips of small events until then, one sent every 5 ms whether or not the last came back."""
    sent: dict[int, float] = {}
    end = time.monotonic() + LIMIT_S
    while not is_done() and time.monotonic() < end:
        number = -1 - len(sent)
        sent[number] = time.monotonic()
        player.client.dispatch_event("PING", number)
        time.sleep(0.005)
    wait(lambda: all(number in player.answers for number in sent))
    return [player.answers.pop(number, (0.0, math.inf))[1] - at for number, at in sent.items()]


def measure_ends() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        servers: list[float] = []
        clients: list[float] = []
        for _ in range(3):
            with server_process() as (port, server), client_process(port) as client:
                for process, took in ((client, clients), (server, servers)):
                    start = time.monotonic()
                    process.send_signal(number)
                    process.wait(LIMIT_S)
                    took.append(time.monotonic() - start)
        report(f"client process ends after {number.name}", clients, "< 1 s")
        report(f"server process ends after {number.name}", servers, "< 1 s")


# --- figures ------------------------------------------------------------------------------------


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def report(label: str, values: Sequence[float], goal: str = "") -> None:
    lost = sum(map(math.isnan, values))
    values = [value for value in values if not math.isnan(value)]
    figures = (
        ", ".join(f"{name} {ms(percentile(values, share))}" for name, share in SHARES.items())
        if values
        else ""
    )
    notes = [f"n {len(values)}"] + ([f"{lost} lost"] if lost else []) + ([f"goal: {goal}"] if goal else [])
    print(f"  {label}: {figures} ({'; '.join(notes)})", flush=True)


SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of play for the figures about the state")
    parser.add_argument("--events", type=int, default=500, help="for the figures about round trips")
    parser.add_argument("--only", default="", help="only the sections whose title contains this")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--play", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        Game().run(arguments.serve)
        return
    if arguments.play is not None:
        client = Client()
        client.on_connect = lambda: print("connected", flush=True)
        client.connect(arguments.play, "127.0.0.1")
        return
    sections: list[tuple[str, Callable[[int], None]]] = [
        ("two processes on loopback", lambda port: measure_state(port, arguments.seconds)),
        ("events on loopback, the state flowing", lambda port: measure_events(port, arguments.events)),
        ("20 % loss, 50 +/- 20 ms each way", lambda port: measure_bad_line(port, arguments.seconds)),
        ("bulk on a clean line, 20 ms each way", lambda port: measure_bulk(port, LinkOptions(delay_s=0.02))),
        (
            "bulk at 10 % loss, 20 ms each way",
            lambda port: measure_bulk(port, LinkOptions(loss=0.1, delay_s=0.02)),
        ),
        ("bulk on bare loopback", lambda port: measure_bulk(port, LinkOptions())),
    ]
    for title, measure in sections:
        if arguments.only in title:
            print(title, flush=True)
            with server_process() as (port, _):
                measure(port)
    if arguments.only in "ends":
        print("ends", flush=True)
        measure_ends()


if __name__ == "__main__":
    main()
