"""Cutting, repairing and putting together what is larger than a packet."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_delivery import Line, acked, lost

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.protocol.fragments import OutgoingTransfer, Reassembly, TransferOwner, TransferScheduler
from pygase_gevent.protocol.frames import MAX_INLINE_BYTES, fragment_size, parse_payload
from pygase_gevent.protocol.layout import MessageKind
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.stats import SessionStats


class Owner(TransferOwner):
    def __init__(self) -> None:
        self.arrived = 0

    def on_transfer_arrived(self, now: float) -> None:
        self.arrived += 1


@pytest.mark.pure
@given(st.integers(1, 50_000))
@settings(max_examples=200, deadline=None)
def test_every_size_is_cut_into_fragments_that_the_parser_takes(size: int) -> None:
    scheduler = TransferScheduler(SessionStats())
    transfer = OutgoingTransfer(scheduler, Owner(), b"", bytes(size))
    sizes = [fragment_size(index, transfer.count, size) for index in range(transfer.count)]
    assert sum(sizes) == size


def test_lost_fragments_are_repaired_one_by_one() -> None:
    line = Line()
    body = random.Random(1).randbytes(100_000)
    line.queue(body, Delivery.RELIABLE, token="T")
    rng = random.Random(2)
    packets = 0
    for _ in range(20):
        batch = []
        while (packet := line.packet()).frames:
            batch.append(packet)
        packets += len(batch)
        for packet in batch:
            if rng.random() < 0.3:
                lost(packet)
            else:
                line.arrive(packet)
                acked(packet)
    assert line.taken() == [body]
    assert list(line.sender.notices) == [("T", True)]
    assert 87 < packets < 160  # not much more than 87 / 0.7
    assert line.sender.queued_bytes == 0


def test_fragments_that_come_after_the_message_are_known() -> None:
    line = Line()
    line.queue(bytes(3000), Delivery.RELIABLE)
    packets = []
    while (packet := line.packet()).frames:
        packets.append(packet)
        line.arrive(packet)
    assert len(line.taken()) == 1
    for packet in packets:
        assert line.arrive(packet)
    assert line.taken() == []
    assert not line.inbox.has_transfers


def test_transfers_take_turns() -> None:
    line = Line()
    for _ in range(3):
        line.queue(bytes(10_000), Delivery.RELIABLE)
    ids = []
    for _ in range(9):
        parsed = parse_payload(line.packet().to_bytes(), max_frames=512)
        assert parsed is not None
        ids.append(parsed.messages[0].number)
    assert ids == [0, 1, 2] * 3


def test_small_messages_go_before_fragments() -> None:
    line = Line()
    line.queue(bytes(50_000), Delivery.RELIABLE)
    line.packet()
    line.queue(b"small", Delivery.RELIABLE)
    parsed = parse_payload(line.packet().to_bytes(), max_frames=512)
    assert parsed is not None
    assert parsed.messages[0].body == b"small"


def test_transfers_at_once_are_bounded_and_the_next_follows() -> None:
    line = Line(Config(max_transfers=2))
    for index in range(5):
        line.queue(bytes([index]) * 5000, Delivery.RELIABLE)
    numbers = set()
    packets = []
    while (packet := line.packet()).frames:
        parsed = parse_payload(packet.to_bytes(), max_frames=512)
        assert parsed is not None
        numbers.add(parsed.messages[0].number)
        packets.append(packet)
    assert numbers == {0, 1}
    for packet in packets:
        line.arrive(packet)
        acked(packet)
    while (packet := line.packet()).frames:
        line.arrive(packet)
        acked(packet)
    assert len(line.taken()) == 5


def test_a_receiver_bounds_reassemblies_and_drops_idle_unreliable_ones() -> None:
    sender = Line()
    receiver = Line(Config(max_transfers=2))
    for _ in range(4):
        sender.queue(bytes(5000), Delivery.UNRELIABLE)
    packets = []
    while (packet := sender.packet()).frames:
        packets.append(packet)
    assert receiver.arrive(packets[0]) and receiver.arrive(packets[1])
    assert not receiver.arrive(packets[2])
    assert receiver.received.drops["transfer_limit"] == 1
    receiver.inbox.expire(10.0)
    assert not receiver.arrive(packets[2], now=12.0)
    receiver.inbox.expire(15.5)
    assert receiver.received.drops["transfer_timed_out"] == 2
    assert receiver.arrive(packets[2], now=16.0)


def test_reliable_reassemblies_outlive_a_long_silence() -> None:
    line = Line()
    line.queue(bytes(5000), Delivery.RELIABLE)
    packets = []
    while (packet := line.packet()).frames:
        packets.append(packet)
    for packet in packets[:-1]:
        line.arrive(packet)
    line.inbox.expire(1e6)
    line.arrive(packets[-1], now=1e6)
    assert line.taken() == [bytes(5000)]


def test_a_transfer_that_contradicts_itself_is_refused() -> None:
    one, two, receiver = Line(), Line(), Line()
    one.queue(bytes(5000), Delivery.RELIABLE)
    two.queue(bytes(6000), Delivery.RELIABLE)
    assert receiver.arrive(one.packet())
    assert not receiver.arrive(two.packet())
    assert receiver.received.drops["bad_fragment"] == 1


def test_a_message_over_the_receivers_limit_is_refused() -> None:
    sender, receiver = Line(), Line(Config(max_event_bytes=4000))
    sender.queue(bytes(5000), Delivery.RELIABLE)
    assert not receiver.arrive(sender.packet())
    assert not receiver.inbox.has_transfers


def test_calls_have_reassemblies_of_their_own() -> None:
    line = Line(Config(max_transfers=1))
    line.queue(bytes(5000), Delivery.RELIABLE)
    line.sender.send(bytes(6000), Delivery.RELIABLE, "", 0, MessageKind.RESULT, None, 0.0)
    while (packet := line.packet()).frames:
        assert line.arrive(packet)
        acked(packet)
    result = line.inbox.next_call()
    assert result is not None and result.body == bytes(6000)
    assert line.taken() == [bytes(5000)]


def test_what_just_fits_is_not_cut() -> None:
    line = Line()
    for mode in Delivery:
        for size in (MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1):
            line.queue(bytes(size), mode, stream="S", retries=3)
            seen = []
            while (packet := line.packet()).frames:
                parsed = parse_payload(packet.to_bytes(), max_frames=512)
                assert parsed is not None
                seen += [frame.parts for frame in parsed.messages]
                line.arrive(packet)
                acked(packet)
            assert seen == ([0] if size == MAX_INLINE_BYTES else [2, 2])
    assert len(line.taken()) == 8


def test_reassembly_in_any_order() -> None:
    parts = [b"abc", b"def", b"gh"]
    reassembly = Reassembly(3, 8, 0.0)
    assert reassembly.add(2, parts[2], 0.0) is None
    assert reassembly.add(2, parts[2], 0.0) is None
    assert reassembly.add(0, parts[0], 0.0) is None
    assert reassembly.missing == 1
    assert reassembly.add(1, parts[1], 0.0) == b"abcdefgh"


@pytest.mark.pure
def test_a_full_packet_takes_no_fragment() -> None:
    scheduler = TransferScheduler(SessionStats())
    scheduler.add(OutgoingTransfer(scheduler, Owner(), b"p", bytes(3000)))
    packet = PacketBuilder(bytes(300), 512)
    assert scheduler.next_fragment(packet) is None
    assert packet.has_misfit
