"""The game on pygase_gevent: `python -m benchmarks.peers.ours_server`."""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import linecache
import tracemalloc
from typing import Any

from benchmarks.peers import game
from pygase_gevent import ANY, Backend, Delivery, Fixed, Float32, GameState, UInt8
from pygase_gevent.config import Config

DELIVERIES = {"ECHOED": Delivery.RELIABLE, "BULK": Delivery.RELIABLE}
SCHEMAS = {
    "none": None,
    "float32": {"entities": {ANY: {"x": Float32(), "y": Float32(), "hp": UInt8()}}},
    "fixed": {"entities": {ANY: {"x": Fixed(0.02, 0, 1000), "y": Fixed(0.02, 0, 1000), "hp": UInt8()}}},
}
UNLIMITED = {
    # All clients of a benchmark come from one address, and at once.
    "max_clients": 8192,
    "max_half_open": 8192,
    "handshakes_per_source_per_s": 1e5,
    "handshakes_per_s": 1e5,
}


class World:
    """Fifty entities of which ten move in each tick, and an answer to every event."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._tick = 0
        config = Config(**{**UNLIMITED, **json.loads(options.config)})
        lines = MemoryLines()
        self._referee = game.Referee(
            {
                "memory": self._memory,
                "people": self._people,
                "mark memory": lines.mark,
                "memory by line": lambda: lines.since_mark("lineno"),
                "memory by file": lambda: lines.since_mark("filename"),
            }
        )
        handlers: dict[str, Any] = {"INPUT": self._input}
        handlers |= {f"TYPE {number}": self._input for number in range(options.event_types)}
        attributes: dict[str, Any] = {"entities": game.entities(options.entities), "stamp": 0}
        if options.blob:
            attributes["blob"] = bytes(itertools.islice(itertools.cycle(range(256)), options.blob))
        self._backend: Backend = Backend(
            GameState(**attributes),
            self._time_step,
            {} if options.inputs == "server" else handlers,
            deliveries=DELIVERIES,
            state_schema=SCHEMAS[options.schema],
            config=config,
        )
        server = self._backend.server
        if options.inputs == "server":
            for name, handler in handlers.items():
                server.register_event_handler(name, handler)
        server.register_event_handler("E", self._count)
        server.register_event_handler("ECHO", self._echo)
        server.register_event_handler("LINE", self._line)
        server.register_event_handler("SEND BULK", self._send_bulk)
        server.register_event_handler("BULK", self._take_bulk)

    def run(self) -> None:
        self._backend.run_in_thread("127.0.0.1", self._options.port, 1 / self._options.hz)
        self._referee.ready(self._backend.server.port or 0)
        self._referee.serve()

    def _memory(self) -> dict[str, int]:
        self._referee.inputs.clear()  # a client's name, and how often, which is the benchmark's own
        return game.memory()

    def _people(self) -> int:
        return len(self._backend.server.connections)

    def _time_step(self, game_state: GameState, dt: float) -> dict[str, Any]:
        if self._options.still:
            return {}
        self._tick += 1
        changes = game.moved(self._tick, self._options.entities, self._options.moving)
        return {"entities": changes, "stamp": game.stamp_us()}

    def _input(self, number: int, x: int, y: int, client_address: Any) -> None:
        self._referee.inputs[client_address] += 1

    def _count(self, data: bytes, client_address: Any) -> None:
        self._referee.inputs[client_address] += 1

    def _echo(self, number: int, client_address: Any) -> None:
        self._backend.server.dispatch_event("ECHOED", number, target_client=client_address)

    def _line(self, number: int, sent_us: int) -> None:
        self._referee.line(number, sent_us)

    def _send_bulk(self, size: int, client_address: Any) -> None:
        self._backend.server.dispatch_event("BULK", bytes(size), target_client=client_address)

    def _take_bulk(self, data: bytes, client_address: Any) -> None:
        self._backend.server.dispatch_event("ECHOED", game.stamp_us(), target_client=client_address)


class MemoryLines:
    """Where the memory comes from that is held now and was not at the mark."""

    def __init__(self) -> None:
        self._marked: tracemalloc.Snapshot | None = None

    def mark(self) -> dict[str, Any]:
        gc.collect()
        self._marked = _snapshot()
        return {}

    def since_mark(self, group: str) -> list[tuple[str, int, int]]:
        """Place, bytes, blocks."""
        assert self._marked is not None
        gc.collect()
        found = _snapshot().compare_to(self._marked, group)
        return [
            (_place(one.traceback[0], group), one.size_diff, one.count_diff) for one in found if one.size_diff
        ]


def _snapshot() -> tracemalloc.Snapshot:
    ignored = [tracemalloc.Filter(False, path) for path in (tracemalloc.__file__, linecache.__file__)]
    return tracemalloc.take_snapshot().filter_traces(ignored)


def _place(frame: tracemalloc.Frame, group: str) -> str:
    path = "/".join(frame.filename.split("/")[-3:])
    if group == "filename":
        return path
    return f"{path}:{frame.lineno}  {linecache.getline(frame.filename, frame.lineno).strip()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--hz", type=float, default=game.HZ)
    parser.add_argument("--entities", type=int, default=game.ENTITIES)
    parser.add_argument("--moving", type=int, default=game.MOVING)
    parser.add_argument("--event-types", type=int, default=0)
    parser.add_argument("--blob", type=int, default=0, help="bytes of a constant attribute")
    parser.add_argument("--still", action="store_true", help="nothing moves")
    parser.add_argument("--inputs", choices=("loop", "server"), default="loop", help="who handles inputs")
    parser.add_argument("--schema", choices=SCHEMAS, default="fixed", help="what precision positions have")
    parser.add_argument("--config", default="{}", help="JSON: what differs from the default limits")
    parser.add_argument("--trace-memory", action="store_true")
    options = parser.parse_args()
    if options.trace_memory:
        tracemalloc.start()
    World(options).run()


if __name__ == "__main__":
    main()
