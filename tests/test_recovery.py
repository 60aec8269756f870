"""Round trip, loss, probe timeouts, window and pace, against RFC 9002."""

from __future__ import annotations

import math
import weakref

import pytest

from pygase_gevent.config import Config
from pygase_gevent.protocol.congestion import CongestionWindow, Pacer
from pygase_gevent.protocol.recovery import Carried, Recovery, RoundTrip, SentPacket
from pygase_gevent.protocol.stats import SessionStats

pytestmark = pytest.mark.pure  # what packets carry is a class of the test's own
CONFIG = Config()


class Cargo(Carried):
    def __init__(self) -> None:
        self.fate: list[str] = []

    def on_acked(self, now: float) -> None:
        self.fate.append("acked")

    def on_lost(self, now: float) -> None:
        self.fate.append("lost")

    def on_suspected(self, now: float) -> None:
        self.fate.append("suspected")

    def on_probe(self, now: float) -> None:
        self.fate.append("probe")


class World:
    def __init__(self, config: Config = CONFIG) -> None:
        self.round_trip = RoundTrip(config)
        self.window = CongestionWindow(config)
        self.stats = SessionStats()
        self.recovery = Recovery(config, self.round_trip, self.window, self.stats)
        self.cargo: list[Cargo] = []

    def send(self, now: float, *, bulk: int = 0, eliciting: bool = True) -> Cargo:
        cargo = Cargo()
        self.recovery.packet_sent(
            SentPacket(len(self.cargo), now, bulk or 100, bulk, eliciting, bulk > 0, cargo)
        )
        self.cargo.append(cargo)
        return cargo

    def ack(self, *sequences: int, now: float, delay_s: float = 0.0) -> bool:
        largest = max(sequences)
        mask = 0
        for sequence in sequences:
            if sequence < largest:
                mask |= 1 << (largest - 1 - sequence)
        return self.recovery.receive_ack(largest, mask, delay_s, now)


def test_round_trip_follows_the_rfc() -> None:
    trip = RoundTrip(CONFIG)
    trip.add_sample(0.1, 0.02)  # the first sample is taken as it is
    assert (trip.smoothed_s, trip.variation_s, trip.min_s) == (0.1, 0.05, 0.1)
    trip.add_sample(0.2, 0.5)  # a delay beyond the agreed 50 ms is not believed
    assert trip.smoothed_s == pytest.approx(0.875 * 0.1 + 0.125 * 0.15)
    assert trip.variation_s == pytest.approx(0.75 * 0.05 + 0.25 * 0.05)
    trip.add_sample(0.105, 0.05)  # nor one that makes it shorter than the shortest
    assert trip.smoothed_s == pytest.approx(0.875 * 0.10625 + 0.125 * 0.105)


def test_a_packet_is_lost_when_three_later_ones_arrived() -> None:
    world = World()
    for index in range(4):
        world.send(1 + index * 0.001)
    world.ack(2, now=1.05)
    assert world.cargo[0].fate[-1:] != ["lost"]
    world.ack(2, 3, now=1.05)
    assert world.cargo[0].fate[-1] == "lost"
    assert "lost" not in world.cargo[1].fate
    assert world.stats.packets_lost == 1


def test_a_packet_is_lost_by_time() -> None:
    world = World()
    world.send(1.0)
    world.send(1.01)
    world.ack(1, now=1.11)
    due = world.recovery.next_timer()
    assert due == pytest.approx(1.0 + 0.1 * 9 / 8)
    assert not world.recovery.handle_timer(due + 1e-6)
    assert world.cargo[0].fate[-1] == "lost"


def test_a_path_that_reorders_widens_the_threshold_and_undoes_the_halving() -> None:
    world = World()
    before = world.window.window_bytes
    for index in range(30):
        world.send(1 + index * 0.001, bulk=1200)
    late = 0
    world.ack(*range(1, 6), now=1.1)
    assert world.cargo[late].fate[-1] == "lost"
    world.ack(*range(6), now=1.101)
    assert world.cargo[late].fate[-1] == "acked"
    assert world.window.window_bytes >= before
    assert world.stats.packets_lost == 0
    world.ack(*range(6), *range(7, 12), now=1.102)  # 6 is five behind, which is common here now
    assert "lost" not in world.cargo[6].fate


def test_an_ack_of_what_was_never_sent_is_refused() -> None:
    world = World()
    assert not world.ack(0, now=1.0)
    world.send(1.0)
    assert not world.ack(1, now=1.1)
    assert world.ack(0, now=1.1)


def test_probe_timeouts_back_off_up_to_a_second() -> None:
    world = World()
    world.send(1.0)
    world.ack(0, now=1.05)
    cargo = world.send(2.0)
    intervals = []
    now = 2.0
    for _ in range(6):
        due = world.recovery.next_timer()
        assert due is not None
        intervals.append(due - now)
        now = due
        assert world.recovery.handle_timer(now)
    assert intervals[0] == pytest.approx(0.05 + 4 * 0.025 + 0.05)
    assert intervals[1] == pytest.approx(2 * intervals[0])
    assert intervals[-1] == CONFIG.max_probe_timeout_s
    assert cargo.fate == ["probe"] * 6
    world.ack(0, 1, now=now + 0.05)
    assert world.recovery.next_timer() == math.inf


def test_nothing_in_flight_needs_no_timer() -> None:
    world = World()
    world.send(1.0, eliciting=False)
    assert world.recovery.next_timer() == math.inf


def test_a_lost_connection_gives_everything_back() -> None:
    world = World()
    for index in range(3):
        world.send(1.0 + index)
    world.ack(1, now=3.0)
    world.recovery.abandon(4.0)
    assert [cargo.fate[-1] for cargo in world.cargo] == ["lost", "acked", "lost"]
    assert world.recovery.next_timer() == math.inf


def test_packets_beyond_the_limit_count_as_lost() -> None:
    world = World(Config(max_packets_in_flight=10))
    for index in range(12):
        world.send(1.0 + index * 0.001)
    assert [cargo.fate for cargo in world.cargo[:3]] == [["lost"], ["lost"], []]


def test_a_peer_that_never_acknowledges_costs_no_more_than_the_limit() -> None:
    world = World(Config(max_packets_in_flight=10))
    for index in range(1000):
        world.send(1.0 + index * 0.001)
    kept = [weakref.ref(cargo) for cargo in world.cargo]
    world.cargo.clear()
    assert sum(cargo() is not None for cargo in kept) <= 10 + 64


def test_slow_start_doubles_and_a_loss_halves_once_per_round_trip() -> None:
    world = World()
    window = world.window
    for index in range(10):
        world.send(1.0 + index * 1e-4, bulk=1200)
    assert not window.has_room
    world.ack(*range(10), now=1.1)
    assert window.window_bytes == 24_000
    for index in range(20):
        world.send(1.2 + index * 1e-4, bulk=1200)
    world.ack(*range(15, 25), now=1.3)  # 10 to 14 are lost, at once
    assert window.window_bytes == 18_000  # grown by 10 packets before it was halved
    assert not window.is_slow_start


def test_the_window_never_falls_below_its_minimum() -> None:
    window = CongestionWindow(CONFIG)
    for index in range(10):
        window.congestion_event(float(index), index + 0.5)
    assert window.window_bytes == CONFIG.min_window_packets * 1200
    window.persistent_congestion()
    assert window.window_bytes == CONFIG.min_window_packets * 1200


def test_an_idle_sender_does_not_grow_its_window() -> None:
    window = CongestionWindow(CONFIG)
    window.packet_sent(1200)
    window.packet_acked(1200, 1.0, was_limited=False)
    assert window.window_bytes == CONFIG.min_window_packets * 1200


def test_persistent_congestion_starts_anew() -> None:
    world = World()
    for _ in range(10):
        world.send(1.0, bulk=1200)
    world.ack(*range(10), now=1.1)
    assert world.window.window_bytes > 12_000
    for index in range(30):
        world.send(2.0 + index * 0.1, bulk=1200)
    world.send(6.0, bulk=1200)
    world.ack(40, now=6.1)
    assert world.window.window_bytes == 12_000


def test_the_pacer_spreads_a_window_over_a_round_trip() -> None:
    pacer = Pacer(CONFIG, 0.0)
    pacer.set_rate(120_000, 0.1)
    now = 0.0
    sent = 0
    while now < 1.0:
        if pacer.is_ready(now):
            pacer.packet_sent(1200)
            sent += 1
        else:
            now = max(pacer.ready_at(), now + 1e-6)
    assert sent == pytest.approx(1.25 * 1000 + 10, abs=3)
