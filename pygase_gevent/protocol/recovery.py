"""What is in flight: round trip, loss detection and probe timeouts (RFC 9002, 5 and 6).

A sent packet remembers what it carried. An acknowledgement, a loss or a probe timeout goes back to
each thing carried, which knows itself what to do: packets are never sent again, messages are.
"""

from __future__ import annotations

from math import inf
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.protocol.acks import MASK_BITS
from pygase_gevent.protocol.congestion import CongestionWindow
from pygase_gevent.protocol.layout import MASK_ONES
from pygase_gevent.protocol.stats import SessionStats

GRANULARITY_S: Final = 0.001
"""RFC 9002, 6.1.2: no timer is finer than this."""
MAX_TIME_THRESHOLD: Final = 1.5
"""The share of a round trip after which a packet counts as lost starts at 9/8, and grows up to this on
paths that reorder."""
PERSISTENT_CONGESTION_PERIODS: Final = 3
SUSPICION_VARIATIONS: Final = 0.5
"""A packet is suspected once one arrived that left later by this many variations of the round trip: closer
ones may just have overtaken it."""
LOSS_WEIGHT: Final = 1 / 32
"""Weight of one packet in the share of lost packets."""

OUTSTANDING: Final = 0
ACKED: Final = 1
LOST: Final = 2


class Carried:
    """Something that a packet carried and that wants to know what became of it."""

    __slots__ = ()

    def on_acked(self, now: float) -> None:
        """A packet with it arrived."""

    def on_lost(self, now: float) -> None:
        """A packet with it counts as lost."""

    def on_suspected(self, now: float) -> None:
        """A later packet arrived before one with it: perhaps lost, too early to tell."""

    def on_probe(self, now: float) -> None:
        """Nothing was heard for a probe timeout: if it is still wanted, send it again."""


class CarriedTogether(Carried):
    """Several things that one packet carried; what becomes of it becomes of each."""

    __slots__ = ("_items",)

    def __init__(self, items: list[Carried]) -> None:
        self._items = items

    def on_acked(self, now: float) -> None:
        for item in self._items:
            item.on_acked(now)

    def on_lost(self, now: float) -> None:
        for item in self._items:
            item.on_lost(now)

    def on_suspected(self, now: float) -> None:
        for item in self._items:
            item.on_suspected(now)

    def on_probe(self, now: float) -> None:
        for item in self._items:
            item.on_probe(now)


class SentPacket:
    """A packet in flight and what it carried."""

    __slots__ = (
        "bulk_bytes",
        "carried",
        "is_ack_eliciting",
        "is_suspected",
        "sent_at",
        "sequence",
        "size_bytes",
        "state",
        "was_limited",
    )

    def __init__(
        self,
        sequence: int,
        sent_at: float,
        size_bytes: int,
        bulk_bytes: int,
        is_ack_eliciting: bool,
        was_limited: bool,
        carried: Carried | None,
    ) -> None:
        self.sequence = sequence
        self.sent_at = sent_at
        self.size_bytes = size_bytes
        self.bulk_bytes = bulk_bytes
        self.is_ack_eliciting = is_ack_eliciting
        self.was_limited = was_limited
        self.carried = carried
        self.state = OUTSTANDING
        self.is_suspected = False


class RoundTrip:
    """Estimates of the round trip (RFC 9002, 5)."""

    __slots__ = ("has_sample", "latest_s", "max_ack_delay_s", "min_s", "smoothed_s", "variation_s")

    def __init__(self, config: Config) -> None:
        self.max_ack_delay_s = config.max_ack_delay_s
        self.has_sample = False
        self.latest_s = 0.0
        self.min_s = 0.0
        self.smoothed_s = config.initial_rtt_s
        self.variation_s = config.initial_rtt_s / 2

    def add_sample(self, sample_s: float, ack_delay_s: float) -> None:
        """A round trip was measured; `ack_delay_s` of it the peer says that it waited."""
        self.latest_s = sample_s
        if not self.has_sample:
            self.has_sample = True
            self.min_s = self.smoothed_s = sample_s
            self.variation_s = sample_s / 2
            return
        self.min_s = min(self.min_s, sample_s)
        ack_delay_s = min(ack_delay_s, self.max_ack_delay_s)
        if sample_s >= self.min_s + ack_delay_s:
            sample_s -= ack_delay_s
        self.variation_s += 0.25 * (abs(self.smoothed_s - sample_s) - self.variation_s)
        self.smoothed_s += 0.125 * (sample_s - self.smoothed_s)

    @property
    def probe_timeout_s(self) -> float:
        """RFC 9002, 6.2.1."""
        variation_s = 4 * self.variation_s
        if variation_s < GRANULARITY_S:
            variation_s = GRANULARITY_S
        return self.smoothed_s + variation_s + self.max_ack_delay_s


class Recovery:
    """Packets in flight, oldest first.

    Attributes:
        lost_share: share of packets lost lately, 0 to 1.
        newest_acked_sent_at: when the newest packet that arrived had left.
        probe_count: probe timeouts since the last acknowledgement.
    """

    __slots__ = (
        "_config",
        "_congestion",
        "_eliciting_in_flight",
        "_largest_acked",
        "_largest_sent",
        "_last_ack_largest",
        "_last_ack_mask",
        "_last_eliciting_at",
        "_loss_time",
        "_max_probe_timeout_s",
        "_packet_threshold",
        "_recently_lost",
        "_round_trip",
        "_sent",
        "_stats",
        "_time_threshold",
        "lost_share",
        "newest_acked_sent_at",
        "probe_count",
    )

    def __init__(
        self, config: Config, round_trip: RoundTrip, congestion: CongestionWindow, stats: SessionStats
    ) -> None:
        self._config = config
        self._max_probe_timeout_s = config.max_probe_timeout_s
        self._stats = stats
        self._round_trip = round_trip
        self._congestion = congestion
        # Lists, since an empty deque has 760 bytes; what is finished is cut off the front at once.
        self._sent: list[SentPacket] = []
        self._recently_lost: list[SentPacket] | None = None  # at most what an acknowledgement reaches
        self._eliciting_in_flight = 0
        self._last_eliciting_at = 0.0
        self._largest_sent = -1
        self._largest_acked = -1
        self.newest_acked_sent_at = 0.0
        self._last_ack_largest = -1
        self._last_ack_mask = 0
        self._packet_threshold = config.packet_reorder_threshold
        self._time_threshold = 9 / 8
        self._loss_time = inf
        self.probe_count = 0
        self.lost_share = 0.0

    def packet_sent(self, packet: SentPacket) -> None:
        """A packet left. One that asks for nothing and carried nothing need not be given."""
        self._largest_sent = packet.sequence
        self._sent.append(packet)
        if packet.is_ack_eliciting:
            self._eliciting_in_flight += 1
            self._last_eliciting_at = packet.sent_at
        if packet.bulk_bytes:
            self._congestion.packet_sent(packet.bulk_bytes)
        if len(self._sent) > self._config.max_packets_in_flight:
            self._take_off_oldest(packet.sent_at)

    def sequence_sent(self, sequence: int) -> None:
        """A packet left that is not followed; an acknowledgement may name it."""
        self._largest_sent = sequence

    def receive_ack(self, truncated: int, mask: int, ack_delay_s: float, now: float) -> bool:
        """Take an acknowledgement whose largest sequence is 24 bits wide.

        Returns:
            False if it names a sequence that was never sent.
        """
        largest = self._largest_sent - (self._largest_sent - truncated & 0xFF_FFFF)
        if largest < 0:
            return False
        if largest == self._last_ack_largest and mask == self._last_ack_mask:
            return True
        self._last_ack_largest, self._last_ack_mask = largest, mask
        if self._recently_lost is not None:
            self._find_spurious_losses(largest, mask, now)
        elif mask == MASK_ONES and self._receive_oldest_only(largest, ack_delay_s, now):
            return True
        acked = self._take_acked(largest, mask)
        if not acked:
            return True
        newest = acked[-1]
        if newest.sequence == largest:
            for packet in acked:
                if packet.is_ack_eliciting:
                    self._round_trip.add_sample(max(now - newest.sent_at, 1e-6), ack_delay_s)
                    break
        if largest > self._largest_acked:
            self._largest_acked = largest
        if newest.sent_at > self.newest_acked_sent_at:
            self.newest_acked_sent_at = newest.sent_at
        self.probe_count = 0
        for packet in acked:
            if packet.carried is not None:
                packet.carried.on_acked(now)
        self._forget_finished()
        if self._sent and self._sent[0].sequence < self._largest_acked:
            self.detect_losses(now)
        else:
            self._loss_time = inf
        return True

    def _receive_oldest_only(self, largest: int, ack_delay_s: float, now: float) -> bool:
        """Take an acknowledgement of the oldest packet in flight and none else, where everything up to it has
        arrived: what `receive_ack` does with that, as it is nearly always. False if it is another.
        """
        sent = self._sent
        if not sent:
            return False
        packet = sent[0]
        if packet.sequence != largest or largest <= self._largest_acked or packet.state != OUTSTANDING:
            return False
        if len(sent) == 1:  # compiled, a third of what `del` costs
            sent.pop()
        else:
            del sent[0]
        self._mark_acked(packet)
        self._largest_acked = largest
        if packet.is_ack_eliciting:
            self._round_trip.add_sample(max(now - packet.sent_at, 1e-6), ack_delay_s)
        if packet.sent_at > self.newest_acked_sent_at:
            self.newest_acked_sent_at = packet.sent_at
        self.probe_count = 0
        if packet.carried is not None:
            packet.carried.on_acked(now)
        self._loss_time = inf
        return True

    def next_timer(self) -> float:
        """When `handle_timer` is due; infinity for never."""
        if self._eliciting_in_flight == 0 or self._loss_time < inf:
            return self._loss_time
        return self._last_eliciting_at + self._probe_timeout_s()

    def handle_timer(self, now: float) -> bool:
        """Look for losses by time; or else this is a probe timeout (6.2.4), and True is returned.

        On a probe timeout what the oldest packets carried, as much as fits into two, is asked to come again.
        """
        if self._loss_time < inf:
            if now >= self._loss_time:
                self.detect_losses(now)
            return False
        if self._eliciting_in_flight == 0 or now < self._last_eliciting_at + self._probe_timeout_s():
            return False
        self.probe_count += 1
        self._stats.probes += 1
        self._last_eliciting_at = now  # backs off also where nothing can be sent
        size = 0
        for packet in self._sent:
            if packet.state == OUTSTANDING and packet.is_ack_eliciting:
                if packet.carried is not None:
                    packet.carried.on_probe(now)
                size += packet.size_bytes
                if size > 1200:
                    break
        return True

    def detect_losses(self, now: float) -> None:
        """Packet and time thresholds (6.1); also who is to be suspected."""
        self._loss_time = inf
        largest = self._largest_acked
        delay_s = max(self._round_trip.latest_s, self._round_trip.smoothed_s) * self._time_threshold
        lost_before = now - max(delay_s, GRANULARITY_S)
        suspected_before = self.newest_acked_sent_at - self._round_trip.variation_s * SUSPICION_VARIATIONS
        lost: list[SentPacket] = []
        span_start: float | None = None
        longest_span = 0.0
        for packet in self._sent:
            if packet.sequence >= largest:
                break
            if packet.state == ACKED:
                span_start = None
                continue
            if packet.state == LOST:
                continue
            if packet.sequence <= largest - self._packet_threshold or packet.sent_at <= lost_before:
                packet.state = LOST
                lost.append(packet)
                if packet.is_ack_eliciting:
                    if span_start is None:
                        span_start = packet.sent_at
                    longest_span = max(longest_span, packet.sent_at - span_start)
                continue
            span_start = None
            if not packet.is_suspected and packet.sent_at <= suspected_before:
                packet.is_suspected = True
                if packet.carried is not None:
                    packet.carried.on_suspected(now)
            if packet.is_ack_eliciting:
                due = packet.sent_at + max(delay_s, GRANULARITY_S)
                if due < self._loss_time:
                    self._loss_time = due
        if lost:
            self._take_off_lost(lost, now)
            if self._round_trip.has_sample and longest_span > self._persistent_congestion_s():
                self._congestion.persistent_congestion()
        self._forget_finished()

    def abandon(self, now: float) -> None:
        """The connection is gone: nothing that was in flight will ever be acknowledged."""
        packets, self._sent = self._sent, []
        self._recently_lost = None
        self._eliciting_in_flight = 0
        self._loss_time = inf
        for packet in packets:
            if packet.state == OUTSTANDING:
                packet.state = LOST
                if packet.carried is not None:
                    packet.carried.on_lost(now)

    # --- inside ---------------------------------------------------------------------------------

    def _probe_timeout_s(self) -> float:
        timeout_s = self._round_trip.probe_timeout_s
        if self.probe_count:
            timeout_s *= 1 << min(self.probe_count, 10)
        limit = self._max_probe_timeout_s
        return timeout_s if timeout_s < limit else limit

    def _persistent_congestion_s(self) -> float:
        return self._round_trip.probe_timeout_s * PERSISTENT_CONGESTION_PERIODS

    def _take_acked(self, largest: int, mask: int) -> list[SentPacket]:
        acked: list[SentPacket] = []
        oldest = largest - MASK_BITS
        is_whole = mask == MASK_ONES
        for packet in self._sent:
            sequence = packet.sequence
            if sequence > largest:
                break
            if packet.state != OUTSTANDING:
                continue
            has_arrived = is_whole or sequence == largest or mask >> (largest - 1 - sequence) & 1
            if sequence < oldest or not has_arrived:
                continue
            self._mark_acked(packet)
            acked.append(packet)
        return acked

    def _mark_acked(self, packet: SentPacket) -> None:
        packet.state = ACKED
        if packet.is_ack_eliciting:
            self._eliciting_in_flight -= 1
            self.lost_share -= self.lost_share * LOSS_WEIGHT
        if packet.bulk_bytes:
            self._congestion.packet_acked(packet.bulk_bytes, packet.sent_at, packet.was_limited)

    def _take_off_lost(self, lost: list[SentPacket], now: float) -> None:
        for packet in lost:
            if packet.bulk_bytes:
                self._congestion.bulk_lost(packet.bulk_bytes)
            if packet.is_ack_eliciting:
                self._eliciting_in_flight -= 1
                self._stats.packets_lost += 1
                self.lost_share += (1 - self.lost_share) * LOSS_WEIGHT
                self._congestion.congestion_event(packet.sent_at, now)
                if self._recently_lost is None:
                    self._recently_lost = []
                elif len(self._recently_lost) >= MASK_BITS:
                    del self._recently_lost[0]
                self._recently_lost.append(packet)
            if packet.carried is not None:
                packet.carried.on_lost(now)

    def _take_off_oldest(self, now: float) -> None:
        packet = self._sent.pop(0)
        if packet.state == OUTSTANDING:
            packet.state = LOST
            self._take_off_lost([packet], now)

    def _forget_finished(self) -> None:
        sent = self._sent
        finished = 0
        for packet in sent:
            if packet.state == OUTSTANDING:
                break
            finished += 1
        if finished == 1:
            sent.pop(0)
        elif finished:
            del sent[:finished]
        recently_lost = self._recently_lost
        if recently_lost is not None:
            while recently_lost and recently_lost[0].sequence < self._largest_acked - MASK_BITS:
                del recently_lost[0]
            if not recently_lost:
                self._recently_lost = None

    def _find_spurious_losses(self, largest: int, mask: int, now: float) -> None:
        """A lost packet that arrives after all: this path reorders more than the thresholds allow for."""
        for packet in self._recently_lost or ():
            distance = largest - packet.sequence
            if packet.state != LOST or distance < 0 or distance > MASK_BITS:
                continue
            if distance and not mask >> (distance - 1) & 1:
                continue
            packet.state = ACKED
            self._stats.packets_lost -= 1
            self._congestion.loss_was_spurious()
            if packet.carried is not None:
                packet.carried.on_acked(now)
            self._packet_threshold = min(
                self._config.max_reorder_threshold, max(self._packet_threshold, distance) + 1
            )
            self._time_threshold = min(MAX_TIME_THRESHOLD, self._time_threshold * 1.125)
            self.lost_share -= self.lost_share * LOSS_WEIGHT
