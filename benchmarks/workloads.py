"""W2 to W6: what is measured with one client, and the memory of many."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.peers.single import BLOB_BYTES
from benchmarks.processes import Failed, Program, cores, program

Figures = dict[str, Any]
"""By row: a number, or a text for the column."""

EVENTS = 500
LINE_DELAY_S, LINE_JITTER_S = 0.05, 0.02
LINE_LIMIT_S = 60.0
SHORT_LIVES = {"timeout_s": 1.0, "resume_after_s": 0.5, "resume_window_s": 1.0, "update_cache_size": 16}
"""So that those who vanished are gone for good after two seconds instead of 35; and that the store's memory
of updates, which is the game's and no connection's, is full before the measuring begins."""
FEW = 10
CALM_HZ = "5"
"""W6 plays ours at this rate, so that the server keeps up while its memory is traced; else what is measured
is mostly the updates that wait for their acknowledgement."""
KIB = 1024


@dataclass(frozen=True)
class Lengths:
    """How long the single runs are.

    Attributes:
        round_trips: of W2.
        flood_s: of W3.
        events: of W4.
        repeats: of W5.
        connections: of W6.
        gone_limit_s: of W6: who is not gone by then is there for ever.
        settle_s: before what is measured begins.
    """

    round_trips: int = 2000
    flood_s: float = 4.0
    events: int = EVENTS
    repeats: int = 5
    connections: int = 300
    gone_limit_s: float = 15.0
    settle_s: float = 1.0


@contextlib.contextmanager
def server_of(contender: Contender, *options: str) -> Iterator[tuple[Program, int]]:
    """A contender's server and its port."""
    with program([*contender.server(), *options], cores()[0]) as server:
        yield server, server.answer(30.0)["port"]


def _client(contender: Contender, workload: str, port: int, *options: str) -> list[str]:
    assert contender.client is not None
    return [*contender.client(), workload, "--port", str(port), *options]


def w2(contender: Contender, lengths: Lengths) -> Figures:
    """Round trips of an event, one at a time."""
    is_raw = contender.name == "bare"
    with server_of(contender, *(["--echo"] if is_raw else [])) as (_, port):
        options = ("--count", str(lengths.round_trips), "--settle", str(lengths.settle_s))
        command = _client(contender, "w2", port, *options)
        with program(command, cores()[1]) as client:
            times = client.answer()["round_trip_ms"]
    return {"W2 round trip p50, ms": times["p50"], "W2 round trip p99, ms": times["p99"]}


def w3(contender: Contender, lengths: Lengths) -> Figures:
    """Reliable events of 32 bytes, as fast as one client can."""
    by_own_client = _flood(contender, lambda port: _client(contender, "w3", port), lengths)
    if contender.name != "ours":
        return by_own_client
    by_load = _flood(
        contender, lambda port: [*contender.load(), "--flood", "--clients", "1", "--port", str(port)], lengths
    )
    rate = "W3 reliable events/s"
    return {**by_load, f"{rate}, both ends its own": by_own_client[rate]}


def _flood(contender: Contender, client_command: Callable[[int], list[str]], lengths: Lengths) -> Figures:
    with server_of(contender) as (server, port):
        options = ("--settle", str(lengths.settle_s), "--measure", str(lengths.flood_s))
        with program([*client_command(port), *options], cores()[1]) as client:
            while client.answer()["phase"] != "measuring":
                pass
            server.ask("mark")
            begun, server_cpu = time.monotonic(), server.cpu_s()
            done = client.answer(60.0 + lengths.flood_s)
            took_s = time.monotonic() - begun
            server_cpu = (server.cpu_s() - server_cpu) / took_s
            rate = server.ask("report")["events_per_s"]
    bottleneck = "server" if server_cpu >= done["cpu"] else "client"
    shares = f"{bottleneck} ({server_cpu:.0%}, client {done['cpu']:.0%})"
    return {"W3 reliable events/s": rate, "W3 bottleneck": shares}


def w4(contender: Contender, lengths: Lengths, loss: float) -> Figures:
    """Reliable events and state over a bad line."""
    load_core = cores()[1]
    line = ["--loss", str(loss), "--delay", str(LINE_DELAY_S), "--jitter", str(LINE_JITTER_S)]
    relay_command = [sys.executable, "-m", "benchmarks.peers.relay", *line]
    with (
        server_of(contender) as (server, port),
        program([*relay_command, "--port", str(port)], load_core) as relay,
    ):
        bad_port = relay.answer(30.0)["port"]
        command = _client(contender, "w4", bad_port, "--count", str(lengths.events))
        with program(command, load_core) as client:
            staleness = client.answer()["staleness_ms"]
            end = time.monotonic() + LINE_LIMIT_S
            while (lines := server.ask("lines"))["delivered"] < lengths.events and time.monotonic() < end:
                time.sleep(0.25)
            client.vanish()
    at = f"W4 {loss:.0%} loss"
    return {
        f"{at}: delivered of {lengths.events}": lines["delivered"],
        f"{at}: duplicates": lines["duplicates"],
        f"{at}: out of order": lines["out_of_order"],
        f"{at}: event p50, ms": lines["latency_ms"]["p50"],
        f"{at}: event p99, ms": lines["latency_ms"]["p99"],
        f"{at}: staleness p50, ms": staleness["p50"],
        f"{at}: staleness p99, ms": staleness["p99"],
    }


def w5(contender: Contender, lengths: Lengths) -> Figures:
    """What is large."""
    with server_of(contender, "--blob", str(BLOB_BYTES)) as (_, port):
        command = _client(contender, "w5", port, "--count", str(lengths.repeats))
        with program(command, cores()[1]) as client:
            done = client.answer()
    return {
        "W5 join with 100 KiB of state, ms": done["join_ms"]["p50"],
        "W5 event of 1 MiB, up, ms": done["event_up_ms"]["p50"],
        "W5 event of 1 MiB, down, ms": done["event_down_ms"]["p50"],
    }


def w6(contender: Contender, lengths: Lengths) -> Figures:
    """Memory of a connection, and what is left after all clients vanished."""
    rss = _memory(contender, "rss", lengths, ())
    result = {
        "W6 KiB per connection, RSS": rss["each"],
        "W6 KiB more of RSS for each of a second crowd": rss["second"],
        "W6 gone after the last packet, s": rss["gone_s"],
    }
    if contender.name == "ours":
        fewer = replace(lengths, connections=max(1, lengths.connections // 6))
        traced = _memory(contender, "traced", fewer, ("--trace-memory",))
        result["W6 KiB per connection, tracemalloc"] = traced["each"]
        result["W6 KiB left of it when all are gone, tracemalloc"] = traced["left"]
    return result


def _memory(contender: Contender, kind: str, lengths: Lengths, options: Sequence[str]) -> Figures:
    """Per connection: what a crowd takes, what it leaves, and what a second crowd takes beyond that."""
    connections = lengths.connections
    if contender.name == "ours":
        options = [*options, "--config", json.dumps(SHORT_LIVES), "--hz", CALM_HZ]
    with server_of(contender, *options) as (server, port):
        # What any server fills once: caches, pools, the interpreter's own free lists.
        crowd(contender, server, port, FEW, lengths)
        empty = server.ask("memory")[kind]
        full, gone_s = crowd(contender, server, port, connections, lengths)
        left = server.ask("memory")[kind]
        again, _ = crowd(contender, server, port, connections, lengths)
    return {
        "gone_s": gone_s,
        "each": (full[kind] - empty) / connections / KIB,
        "left": (left - empty) / connections / KIB,
        "second": (again[kind] - full[kind]) / connections / KIB,
    }


def crowd(
    contender: Contender,
    server: Program,
    port: int,
    connections: int,
    lengths: Lengths,
    look: Callable[[], object] = lambda: None,
) -> tuple[Figures, float | str]:
    """Memory with so many connected; and how long after they all vanished the server has let go of them.

    `look` is called when all are there.
    """
    command = [*contender.load(), "--port", str(port), "--clients", str(connections), "--measure", "600"]
    command += ["--settle", str(lengths.settle_s)]
    if contender.name == "ours":
        command += ["--input-hz", CALM_HZ]
    with program(command, cores()[1]) as load:
        if load.answer()["connected"] < connections:
            raise Failed("not all clients could connect")
        load.answer()
        time.sleep(lengths.settle_s)
        full = server.ask("memory")
        if (there := server.ask("people")) < connections:
            raise Failed(f"only {there} of {connections} clients were there when the memory was looked at")
        look()
        load.vanish()
    gone = time.monotonic()
    while server.ask("people") and time.monotonic() < gone + lengths.gone_limit_s:
        time.sleep(0.05)
    gone_s = time.monotonic() - gone
    time.sleep(lengths.settle_s)
    return full, gone_s if gone_s < lengths.gone_limit_s else "never"
