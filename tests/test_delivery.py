"""Sender and receiver of messages against each other, packet by packet."""

from __future__ import annotations

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.protocol.delivery import MessageSender
from pygase_gevent.protocol.fragments import TransferScheduler
from pygase_gevent.protocol.frames import parse_payload
from pygase_gevent.protocol.inbox import Inbox
from pygase_gevent.protocol.layout import MessageKind
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.stats import SessionStats


class Line:
    """A sender, a receiver, and packets in the hands of the test."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.stats = SessionStats()
        self.transfers = TransferScheduler(self.stats)
        self.sender = MessageSender(self.config, self.transfers, self.stats)
        self.sender.attach(0.0)
        self.received = SessionStats()
        self.inbox = Inbox(self.config, self.received)

    def queue(
        self, body: bytes, mode: Delivery, *, stream: str = "", retries: int = 0, token: object = None
    ) -> None:
        self.sender.send(body, mode, stream, retries, MessageKind.EVENT, token, 0.0)

    def packet(self, now: float = 0.0) -> PacketBuilder:
        packet = PacketBuilder(b"\x00", 512)
        self.sender.fill(packet, now)
        while (fragment := self.transfers.next_fragment(packet)) is not None:
            packet.add(fragment[0])
            packet.items.append(fragment[1])
        return packet

    def arrive(self, packet: PacketBuilder, now: float = 0.0) -> bool:
        parsed = parse_payload(packet.to_bytes(), max_frames=512)
        assert parsed is not None
        return self.inbox.receive(parsed.messages, now)

    def taken(self) -> list[bytes]:
        bodies = []
        while (message := self.inbox.next_event()) is not None:
            bodies.append(message.body)
        return bodies


def acked(packet: PacketBuilder) -> None:
    for item in packet.items:
        item.on_acked(0.0)


def lost(packet: PacketBuilder) -> None:
    for item in packet.items:
        item.on_lost(0.0)


def test_a_lost_reliable_message_comes_again_and_is_delivered_once() -> None:
    line = Line()
    line.queue(b"one", Delivery.RELIABLE, token="T")
    first = line.packet()
    lost(first)
    second = line.packet()
    assert line.arrive(second)
    assert line.arrive(first)  # late, not lost
    assert line.taken() == [b"one"]
    acked(second)
    acked(first)
    assert list(line.sender.notices) == [("T", True)]
    assert line.received.drops["duplicate_message"] == 1


def test_an_unreliable_message_is_sent_once() -> None:
    line = Line()
    line.queue(b"one", Delivery.UNRELIABLE, token="T")
    assert line.sender.queued_events == 1
    packet = line.packet()
    assert line.sender.queued_events == 0
    lost(packet)
    assert line.packet().frames == 0
    assert list(line.sender.notices) == [("T", False)]


def test_retries_are_counted() -> None:
    line = Line()
    line.queue(b"one", Delivery.UNRELIABLE, retries=2, token="T")
    packets = []
    while (packet := line.packet()).frames:
        packets.append(packet)
        lost(packet)
    assert len(packets) == 3
    assert list(line.sender.notices) == [("T", False)]
    for packet in packets:
        line.arrive(packet)
    assert line.taken() == [b"one"]


def test_sequenced_messages_never_go_back() -> None:
    line = Line()
    packets = []
    for index in range(4):
        line.queue(b"%d" % index, Delivery.SEQUENCED, stream="S")
        packets.append(line.packet())
    for index in (1, 0, 3, 2):
        line.arrive(packets[index])
    assert line.taken() == [b"1", b"3"]
    assert line.received.drops["stale_message"] == 2


def test_a_superseded_sequenced_message_is_not_repeated() -> None:
    line = Line()
    line.queue(b"old", Delivery.SEQUENCED, stream="S", retries=5, token="old")
    old = line.packet()
    line.queue(b"new", Delivery.SEQUENCED, stream="S", retries=5)
    line.packet()
    lost(old)
    assert line.packet().frames == 0
    assert list(line.sender.notices) == [("old", False)]


def test_ordered_messages_wait_for_the_missing_one() -> None:
    line = Line()
    packets = []
    for index in range(5):
        line.queue(b"%d" % index, Delivery.RELIABLE_ORDERED, stream="S")
        packets.append(line.packet())
    for index in (4, 2, 3, 1):
        assert line.arrive(packets[index])
    assert line.taken() == []
    assert line.inbox.reorder_bytes > 0
    line.arrive(packets[0])
    assert line.taken() == [b"0", b"1", b"2", b"3", b"4"]
    assert line.inbox.reorder_bytes == 0


def test_the_window_bounds_what_is_in_flight_and_opens_again() -> None:
    line = Line(Config(reliable_window=8))
    for index in range(20):
        line.queue(b"%d" % index, Delivery.RELIABLE)
    first = line.packet()
    assert first.frames == 8
    line.queue(b"other", Delivery.RELIABLE_ORDERED, stream="S")
    assert line.packet().frames == 1  # a full window holds up its own line only
    assert not line.sender.has_work
    acked(first)
    assert line.packet().frames == 8


def test_numbers_do_not_wrap_in_a_long_game() -> None:
    line = Line()
    count = 70_000
    got = 0
    sent = 0
    while sent < count:
        for _ in range(400):
            for mode in (Delivery.RELIABLE, Delivery.RELIABLE_ORDERED):
                line.queue(sent.to_bytes(4, "big"), mode, stream="S")
            sent += 1
        while (packet := line.packet()).frames:
            assert line.arrive(packet)
            acked(packet)
        got += len(line.taken())
    assert got == 2 * sent
    assert line.received.drops == {}


def test_a_full_inbox_takes_no_event_and_says_so() -> None:
    line = Line(Config(max_received_events=3))
    for index in range(5):
        line.queue(b"%d" % index, Delivery.RELIABLE)
    assert line.arrive(line.packet())  # an empty inbox takes any payload
    line.queue(b"more", Delivery.RELIABLE)
    packet = line.packet()
    assert not line.arrive(packet)
    assert len(line.taken()) == 5
    assert line.arrive(packet)
    assert line.taken() == [b"more"]


def test_streams_have_a_limit_on_both_sides() -> None:
    line = Line(Config(max_streams=1))
    other = Line()
    for stream in "AB":
        other.queue(b"x", Delivery.RELIABLE_ORDERED, stream=stream)
    assert not line.arrive(other.packet())
    assert line.received.drops["bad_stream"] == 1


def test_suspected_messages_ride_along_within_their_share() -> None:
    line = Line(Config(redundancy_share=0.1))
    line.queue(b"s" * 50, Delivery.RELIABLE)
    first = line.packet(1.0)
    for item in first.items:
        item.on_suspected(1.1)
    next_packet = PacketBuilder(b"\x00", 512)
    line.sender.ride_along(next_packet, 1.2)
    assert next_packet.frames == 1
    assert line.stats.messages_ridden_along == 1
    lost(first)
    assert line.packet(1.3).frames == 0  # its second copy is still under way
    lost(next_packet)
    assert line.packet(1.4).frames == 1
    for _ in range(500):
        line.queue(b"r" * 100, Delivery.RELIABLE)
    while (packet := line.packet(2.0)).frames:
        for item in packet.items:
            item.on_suspected(2.1)
    ridden = PacketBuilder(b"\x00", 512)
    count = 0
    while True:
        line.sender.ride_along(ridden, 3.0)
        if ridden.frames == 0:
            break
        count += ridden.frames
        ridden = PacketBuilder(b"\x00", 512)
    assert count * 104 <= 2400
