"""What was received, numbers that only grow, and the clock."""

from __future__ import annotations

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from pygase_gevent.config import Config
from pygase_gevent.protocol.acks import ReceivedPackets
from pygase_gevent.protocol.clock import ServerClock
from pygase_gevent.protocol.numbers import ReceivedNumbers, expand

CONFIG = Config()


@given(st.lists(st.integers(0, 300), min_size=1, max_size=200))
@settings(deadline=None)
def test_largest_and_mask_say_exactly_what_was_received(sequences: list[int]) -> None:
    received = ReceivedPackets(CONFIG)
    recorded: set[int] = set()
    for sequence in sequences:
        if received.is_too_old(sequence):
            continue
        assert received.is_received(sequence) == (sequence in recorded)
        received.record(sequence, True, 0.0)
        recorded.add(sequence)
    assert received.largest == max(recorded)
    for bit in range(64):
        sequence = received.largest - 1 - bit
        assert bool(received.mask >> bit & 1) == (sequence < 0 or sequence in recorded)


def test_an_ack_waits_for_company_but_not_for_long() -> None:
    received = ReceivedPackets(CONFIG)
    received.record(0, True, 1.0)
    assert received.ack_deadline == 1.0 + CONFIG.ack_delay_s
    for sequence in range(1, 15):
        received.record(sequence, True, 1.001)
    assert received.ack_deadline == 1.0 + CONFIG.ack_delay_s
    received.record(15, True, 1.002)
    assert received.ack_deadline == 1.002  # the sixteenth
    assert received.delay_s(1.003) == 1.003 - 1.002
    received.acknowledged()
    assert received.ack_deadline == math.inf


def test_an_ack_waits_a_little_longer_for_a_packet_that_is_due() -> None:
    received = ReceivedPackets(CONFIG)
    received.next_send_at = 1.030
    received.record(0, True, 1.0)
    assert received.ack_deadline == 1.030
    received.acknowledged()
    received.record(1, True, 1.020)  # due before this one would have to leave alone
    assert received.ack_deadline == 1.020 + CONFIG.ack_delay_s
    received.acknowledged()
    received.next_send_at = 2.080
    received.record(2, True, 2.0)  # due too late
    assert received.ack_deadline == 2.0 + CONFIG.max_ack_delay_s


def test_a_gap_and_what_fills_it_are_acknowledged_at_once() -> None:
    received = ReceivedPackets(CONFIG)
    received.record(0, True, 1.0)
    received.acknowledged()
    received.record(2, True, 2.0)
    assert received.ack_deadline == 2.0
    received.acknowledged()
    received.record(3, True, 3.0)
    assert received.ack_deadline == 3.0 + CONFIG.ack_delay_s
    received.acknowledged()
    received.record(1, True, 4.0)
    assert received.ack_deadline == 4.0


def test_pure_acknowledgements_are_not_acknowledged() -> None:
    received = ReceivedPackets(CONFIG)
    for sequence in (0, 5, 3):
        received.record(sequence, False, 1.0)
    assert received.ack_deadline == math.inf
    assert received.largest == 5


@given(st.integers(0, 2**62), st.integers(-49_151, 16_384), st.integers(-(2**31) + 1, 2**31 - 1))
def test_expansion_finds_what_was_meant(newest: int, near: int, far: int) -> None:
    for distance, bits in ((near, 16), (far, 32)):
        number = newest + distance
        assert expand(number % 2**bits, newest, bits) == number


def test_received_numbers_against_a_set() -> None:
    rng = random.Random(5)
    numbers = ReceivedNumbers(100)
    seen: set[int] = set()
    base = 0
    for _ in range(30_000):
        number = base + rng.randrange(-50, 105)
        if number < 0:
            continue
        assert numbers.expand(number & 0xFFFF) == number
        assert numbers.is_received(number) == (number in seen)
        if number in seen:
            continue
        assert numbers.is_beyond(number) == (number >= base + 100)
        if number >= base + 100:
            continue
        numbers.record(number)
        seen.add(number)
        while base in seen:
            base += 1
    assert base > 65_536 / 50


def test_numbers_that_may_be_given_up_move_the_window() -> None:
    numbers = ReceivedNumbers(8, may_skip=True)
    for number in (0, 3, 100_000):
        assert not numbers.is_received(number)
        numbers.record(number)
    assert numbers.is_received(1)  # too old to tell
    assert not numbers.is_received(99_999)
    assert numbers.is_received(100_000)
    assert not numbers.is_beyond(5_000_000)


def test_the_clock_takes_the_best_sample_and_never_runs_back() -> None:
    rng = random.Random(3)
    clock = ServerClock(CONFIG)
    clock.attach(10.0)
    now = 10.0
    last = 0.0
    for _ in range(100):
        number = clock.next_request(now)
        there, back = rng.uniform(0.03, 0.07), rng.uniform(0.03, 0.07)
        hold = rng.uniform(0, 0.004)
        clock_us = int((now + there + 500) * 1e6)
        now += there + hold + back
        assert clock.receive_answer(number, clock_us, int(hold * 1e6), now)
        assert not clock.receive_answer(number, clock_us, 0, now)
        for _ in range(10):
            reading = clock.time(now)
            assert reading is not None and reading > last
            assert abs(reading - (now + 500)) < 0.02
            last = reading
            now += 0.05


def test_the_clock_asks_often_at_first() -> None:
    clock = ServerClock(CONFIG)
    clock.attach(0.0)
    times = []
    now = 0.0
    while now < 5:
        times.append(now)
        clock.next_request(now)
        now = clock.due_at
    assert len([time for time in times if time < 0.5]) == 5
    assert times[-1] - times[-2] == CONFIG.clock_interval_s


def test_a_clock_started_anew_is_followed_at_once() -> None:
    clock = ServerClock(CONFIG)
    clock.attach(0.0)
    for offset in (100.0, 7.0):
        clock.attach(1.0)
        clock.receive_answer(clock.next_request(1.0), int((1.05 + offset) * 1e6), 0, 1.1)
        assert abs((clock.offset(1.1) or 0) - offset) < 0.001
