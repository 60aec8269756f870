"""W1: how many clients a server carries on one core, at 40 Hz both ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.peers.game import HZ
from benchmarks.processes import Failed, cores, program
from benchmarks.search import largest

RATE_SHARE = 0.9
STALENESS_MS = 100.0
BROKEN_LIMIT = 2


@dataclass(frozen=True)
class Probe:
    """What a run with so many clients showed.

    Attributes:
        clients: how many were asked for.
        connected: how many were there at the end.
        states_hz, inputs_hz: of the client that got, or of which came, the least.
        staleness_p50_ms, staleness_p99_ms: age of the newest state, at any moment.
        bytes_down, bytes_up: of datagrams (of the stream with TCP), per client and second.
        packets_down, packets_up: likewise.
        server_cpu, load_cpu: share of a core.
        late_ms: how late the load generator's loop was, p99.
        failure: what it fell short of; empty if it held.
        is_broken: a process ended or was silent, instead of being too slow.
    """

    clients: int
    connected: int = 0
    states_hz: float = 0.0
    inputs_hz: float = 0.0
    staleness_p50_ms: float = 0.0
    staleness_p99_ms: float = 0.0
    bytes_down: float = 0.0
    bytes_up: float = 0.0
    packets_down: float = 0.0
    packets_up: float = 0.0
    server_cpu: float = 0.0
    load_cpu: float = 0.0
    late_ms: float = 0.0
    failure: str = ""
    is_broken: bool = False

    @property
    def bottleneck(self) -> str:
        """Which side it was: the one with less of its core left."""
        return "server" if self.server_cpu >= self.load_cpu else "load"


def probe(
    contender: Contender,
    clients: int,
    *,
    measure_s: float,
    settle_s: float = 1.0,
    connect_rate: float = 400.0,
    server_options: Sequence[str] = (),
    load_options: Sequence[str] = (),
) -> Probe:
    """One run: a fresh server, so many clients, one window."""
    server_core, load_core = cores()
    try:
        with program([*contender.server(), *server_options], server_core) as server:
            port = server.answer(30.0)["port"]
            options = ["--port", str(port), "--clients", str(clients), "--settle", str(settle_s)]
            options += ["--measure", str(measure_s), "--connect-rate", str(connect_rate), *load_options]
            with program([*contender.load(), *options], load_core) as load:
                if load.answer()["connected"] < clients:
                    return Probe(clients, failure="not all of them could connect")
                load.answer()
                server.ask("mark")
                server_cpu = server.cpu_s()
                done = load.answer(60.0 + measure_s)
                server_cpu = server.cpu_s() - server_cpu
                heard = server.ask("report")
    except Failed as error:
        return Probe(clients, failure=str(error), is_broken=True)
    return _judged(clients, done, heard, server_cpu)


def _judged(clients: int, done: dict[str, Any], heard: dict[str, Any], server_cpu: float) -> Probe:
    failure = ""
    if done["connected"] < clients or heard["clients"] < clients:
        failure = "clients were lost"
    elif done["states_hz_min"] < RATE_SHARE * HZ:
        failure = f"a client got {done['states_hz_min']:.1f} states a second"
    elif heard["inputs_hz_min"] < RATE_SHARE * HZ:
        failure = f"of a client {heard['inputs_hz_min']:.1f} inputs a second arrived"
    elif done["staleness_ms"]["p99"] >= STALENESS_MS:
        failure = f"staleness p99 {done['staleness_ms']['p99']:.0f} ms"
    return Probe(
        clients=clients,
        connected=done["connected"],
        states_hz=done["states_hz_min"],
        inputs_hz=heard["inputs_hz_min"],
        staleness_p50_ms=done["staleness_ms"]["p50"],
        staleness_p99_ms=done["staleness_ms"]["p99"],
        bytes_down=done["bytes_down"],
        bytes_up=done["bytes_up"],
        packets_down=done["packets_down"],
        packets_up=done["packets_up"],
        server_cpu=server_cpu / done["took_s"],
        load_cpu=done["cpu"],
        late_ms=done["late_ms_p99"],
        failure=failure,
    )


def measure(
    contender: Contender,
    guess: int,
    *,
    measure_s: float,
    resolution: float,
    say: Callable[[str], None],
    settle_s: float = 1.0,
    connect_rate: float = 400.0,
    questions: int = 30,
    server_options: Sequence[str] = (),
) -> dict[str, Any]:
    """The largest number of clients, and how the run with them was."""
    held: dict[int, Probe] = {}
    broken: list[str] = []

    def holds(clients: int) -> bool:
        result = probe(
            contender,
            clients,
            measure_s=measure_s,
            settle_s=settle_s,
            connect_rate=connect_rate,
            server_options=server_options,
        )
        say(
            f"{contender.name}: {clients} clients: {result.failure or 'held'} "
            f"(server {result.server_cpu:.0%}, load {result.load_cpu:.0%})"
        )
        if not result.failure:
            held[clients] = result
        if result.is_broken:
            broken.append(result.failure)
            if len(broken) == BROKEN_LIMIT and not held:
                raise Failed(result.failure)
        return not result.failure

    best = largest(holds, guess, resolution=resolution, questions=questions)
    if best == 0:
        return {"clients": 0, "failure": broken[-1] if broken else "not even one"}
    result = held[best]
    return {
        **asdict(result),
        "bytes": result.bytes_down + result.bytes_up,
        "bottleneck": f"{result.bottleneck} ({result.server_cpu:.0%}, load {result.load_cpu:.0%})",
    }
