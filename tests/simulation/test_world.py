"""The simulated network, clocks and processes by themselves."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from pygase_gevent.errors import ArgumentError
from pygase_gevent.protocol.server_core import ServerCore
from pygase_gevent.testing.host import SpinError
from pygase_gevent.testing.link import LinkModel, LinkOptions
from pygase_gevent.testing.timeline import Timeline, Trace
from pygase_gevent.testing.virtual_client import VirtualClient
from pygase_gevent.testing.world import SERVER_ADDRESS, World


def joined() -> tuple[World, VirtualClient]:
    world = World(1)
    world.server.start()
    client = world.add_client()
    assert world.run(5, until=lambda: client.is_connected)
    world.run(0.1)
    return world, client


def test_bursts_have_their_length_and_share() -> None:
    model = LinkModel(LinkOptions(burst_start=0.01, burst_end=0.2), rng=1)
    arrived = [bool(model.deliveries(b"x", 0.0)) for _ in range(50_000)]
    losses = arrived.count(False)
    bursts = sum(1 for before, now in pairwise(arrived) if before and not now)
    assert 4.5 < losses / bursts < 5.5
    assert 0.04 < losses / len(arrived) < 0.055
    assert model.counts["burst"] == losses


def test_truncated_datagrams_are_shorter() -> None:
    model = LinkModel(LinkOptions(truncate=0.5), rng=1)
    sizes = [len(data) for _ in range(1000) for _, data in model.deliveries(bytes(100), 0.0)]
    assert 400 < sum(size < 100 for size in sizes) < 600
    assert min(sizes) < 5


def test_a_slow_line_queues_and_then_drops() -> None:
    model = LinkModel(LinkOptions(delay_s=0.01, rate_bytes_per_s=1000.0, queue_bytes=500))
    times = [when for _ in range(10) for when, _ in model.deliveries(bytes(100), 5.0)]
    assert times == pytest.approx([5.11, 5.21, 5.31, 5.41, 5.51])
    assert model.counts["overflowed"] == 5
    assert [when for when, _ in model.deliveries(bytes(100), 5.25)] == pytest.approx([5.61])


@pytest.mark.parametrize("options", [{"truncate": 1.5}, {"burst_end": -0.1}, {"rate_bytes_per_s": 0.0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ArgumentError):
        LinkOptions(**options)  # type: ignore[arg-type]


def test_time_goes_in_order_and_stands_still_otherwise() -> None:
    timeline = Timeline(0.0)
    seen: list[str] = []
    timeline.at(2.0, seen.append, "third")
    timeline.at(1.0, seen.append, "first")
    timeline.at(1.0, seen.append, "second")
    timeline.at(1.5, timeline.at, 0.5, seen.append, "not in the past")
    assert not timeline.run(1.2)
    assert seen == ["first", "second"] and timeline.now == 1.2
    assert timeline.run(5.0, until=lambda: "third" in seen) and timeline.now == 2.0
    assert seen == ["first", "second", "not in the past", "third"]


def test_traces_differ_where_anything_does() -> None:
    digests = set()
    for time, what, content in ((1.0, "a", b"x"), (1.0, "a", b"y"), (1.0, "b", b"x"), (2.0, "a", b"x")):
        trace = Trace()
        trace.add(time, what, "who", content)
        digests.add(trace.digest)
    assert len(digests) == 4


def test_one_way_is_open_while_the_other_is_cut() -> None:
    world, client = joined()
    line = world.line_of(client)
    line.cut(up=True, down=False)
    received = client.session.stats.packets_received
    peer = world.peer_of(client)
    assert peer is not None
    at_server = peer.session.stats.packets_received
    world.run(1.5)
    assert client.session.stats.packets_received > received
    assert peer.session.stats.packets_received == at_server


def test_a_process_that_sleeps_hears_all_that_waits_before_it_judges_silence() -> None:
    world, client = joined()
    client.fall_asleep(4.0)  # longer than its patience
    world.run(6.0)
    assert client.is_connected
    assert world.server.core.stats.dropped == 0
    world.server.fall_asleep(4.5)
    world.run(1.0)
    assert client.is_connected
    world.run(10.0)
    assert client.is_connected and world.server.core.stats.dropped == 0


def test_a_timer_that_never_lets_go_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    world.server.start()
    monkeypatch.setattr(ServerCore, "next_timer", lambda self: 0.0)
    world.add_client()
    with pytest.raises(SpinError):
        world.run(1.0)


def test_datagrams_to_nobody_are_gone() -> None:
    world = World(1)
    world.network.send(b"hello", SERVER_ADDRESS, ("10.9.9.9", 9))
    world.run(1.0)
    assert world.trace.entries == 1


def test_the_same_calls_with_the_same_seed_leave_the_same_trace() -> None:
    def trace(seed: int) -> str:
        world = World(seed, line=LinkOptions(loss=0.2, delay_s=0.05, jitter_s=0.04))
        world.server.start()
        clients = [world.add_client() for _ in range(3)]
        rng = random.Random(seed)
        for _ in range(10):
            world.run(rng.random())
            rng.choice(clients).rebind()
        return world.trace.digest

    assert trace(1) == trace(1) != trace(2)
