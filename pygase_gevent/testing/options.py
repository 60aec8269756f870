"""What a simulated run is made of: one frozen object, drawn from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.testing.link import LinkOptions

FAULTS = (
    "partition",
    "one_way_up",
    "one_way_down",
    "bad_line",
    "rebind",
    "wall_jump",
    "client_stall",
    "server_stall",
    "client_busy",
    "server_busy",
    "goodbye",
    "death",
    "kick",
    "shutdown",
    "restart_from_nothing",
)
"""Kinds of faults: what happens to lines, clocks, processes and their users, beside what a line does to
each datagram."""
HEAVY_SHARE = 0.15
"""Runs with many messages and states a second; they are shorter, as they take longer."""
A_GOOD_LINE = LinkOptions(delay_s=0.03)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationOptions:
    """One run.

    Attributes:
        seed: of everything random in it.
        duration_s: virtual seconds with traffic and faults; then the network heals and all must settle,
        settle_s: within this: longer than the longest window of a Config and a long queue.
        clients: how many at the beginning; those that leave are replaced.
        tick_hz: state updates a second.
        state_bytes: size of a part of the first state that never changes.
        large_updates_per_min: state updates of many packets.
        first_time_order: what the state's count begins with.
        events_hz: messages a second, per client and direction.
        large_events_per_min: messages of many packets, per client and direction.
        event_bytes: the largest ordinary message.
        deliveries: how messages travel.
        line: what every client's line is like between faults.
        bad_line: and what it is like during the fault of this name.
        faults_per_min: how often each kind of fault happens in all; what is not named never does.
        longest_fault_s: how long a fault lasts at the most.
        attacks_hz: forged, replayed, corrupted and spoofed datagrams a second.
        config: limits of the server.
        client_config: limits of the clients, where they differ.
        has_tokens: clients come with connect tokens of an issuer and do not know the server's key.
    """

    seed: int = 1
    duration_s: float = 30.0
    settle_s: float = 90.0
    clients: int = 4
    tick_hz: float = 20.0
    state_bytes: int = 200
    large_updates_per_min: float = 0.0
    first_time_order: int = 0
    events_hz: float = 10.0
    large_events_per_min: float = 0.0
    event_bytes: int = 200
    deliveries: tuple[Delivery, ...] = tuple(Delivery)
    line: LinkOptions = A_GOOD_LINE
    bad_line: LinkOptions = A_GOOD_LINE
    faults_per_min: dict[str, float] = field(default_factory=dict)
    longest_fault_s: float = 12.0
    attacks_hz: float = 0.0
    config: Config = field(default_factory=Config)
    client_config: Config | None = None
    has_tokens: bool = False


def draw_options(seed: int, duration_s: float = 30.0) -> SimulationOptions:
    """Draws a run from a seed, so that every seed has its own mix: some kinds of faults often, others never.

    (Swarm testing, Groce et al., ISSTA 2012: leaving out features finds more than mixing all of them always.)
    """
    rng = random.Random(f"{seed} options")
    delay_s = rng.choice((0.001, 0.01, 0.03, 0.08, 0.2))
    line = _draw_line(rng, delay_s, worst=0.1)
    faults = {kind: rng.choice((1.0, 4.0, 12.0)) for kind in FAULTS if rng.random() < 0.35}
    if "restart_from_nothing" in faults:
        faults["restart_from_nothing"] = min(faults["restart_from_nothing"], 2.0)
    is_heavy = rng.random() < HEAVY_SHARE
    return SimulationOptions(
        seed=seed,
        duration_s=duration_s / 3 if is_heavy else duration_s,
        clients=rng.choice((1, 2, 3, 4, 6, 8, 12)),
        tick_hz=rng.choice((20.0, 40.0) if is_heavy else (1.0, 2.0, 5.0, 10.0)),
        state_bytes=rng.choice((0, 200, 2000, 30_000)),
        large_updates_per_min=rng.choice((0.0, 0.0, 2.0, 10.0)),
        first_time_order=rng.choice((0, 0, 2**32 - 50, 2**31 - 50)),
        events_hz=rng.choice((5.0, 20.0) if is_heavy else (0.2, 0.5, 1.0, 2.0)),
        large_events_per_min=rng.choice((0.0, 0.0, 2.0, 10.0)),
        event_bytes=rng.choice((40, 200, 1100)),
        line=line,
        bad_line=_draw_line(rng, delay_s, worst=0.4),
        faults_per_min=faults,
        longest_fault_s=rng.choice((1.0, 4.0, 12.0, 50.0)),
        attacks_hz=rng.choice((0.0, 0.0, 5.0, 30.0)),
        config=_draw_config(rng),
        has_tokens=rng.random() < 0.3,
    )


def _draw_line(rng: random.Random, delay_s: float, worst: float) -> LinkOptions:
    def sometimes(value: float) -> float:
        return value if rng.random() < 0.4 else 0.0

    line = LinkOptions(
        delay_s=delay_s,
        loss=sometimes(rng.uniform(0.0, worst)),
        jitter_s=sometimes(rng.uniform(0.0, delay_s)),
        duplicate=sometimes(rng.uniform(0.0, worst)),
        reorder=sometimes(rng.uniform(0.0, worst)),
        reorder_s=rng.choice((0.005, 0.05, 0.3)),
        corrupt=sometimes(rng.uniform(0.0, worst / 4)),
        truncate=sometimes(rng.uniform(0.0, worst / 4)),
        burst_start=sometimes(rng.uniform(0.0, worst / 10)),
        burst_end=rng.uniform(0.02, 0.5),
        burst_loss=rng.uniform(0.5, 1.0),
    )
    if rng.random() < 0.15:
        line = replace(line, rate_bytes_per_s=rng.uniform(20_000, 200_000), queue_bytes=20_000)
    return line


def _draw_config(rng: random.Random) -> Config:
    config = Config(
        resume_window_s=rng.choice((5.0, 10.0, 30.0)),
        update_cache_size=rng.choice((4, 32, 256)),
        max_client_states=rng.choice((4, 64)),
    )
    if rng.random() < 0.3:
        config = replace(
            config,
            max_received_events=rng.choice((16, 256)),
            reliable_window=rng.choice((32, 512)),
            max_queued_events=rng.choice((64, 1024)),
            max_reorder_bytes=rng.choice((8_000, 100_000)),
            max_transfers=2,
        )
    return config
