"""One netcode connection under a session: all that starts anew when another one takes its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.protocol.acks import ReceivedPackets
from pygase_gevent.protocol.congestion import CongestionWindow, Pacer
from pygase_gevent.protocol.frame_writer import encode_header
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.recovery import Carried, CarriedTogether, Recovery, RoundTrip, SentPacket
from pygase_gevent.protocol.stats import SessionStats

PING: Final = b"\x01"
SAME_BURST_S: Final = 0.001
"""Packets closer than this are one send of several packets."""
INTERVAL_WEIGHT: Final = 1 / 8
INTERVAL_SLACK: Final = 2.0
"""So much later than at its rate a sender may be, and still takes an acknowledgement along."""
PAUSE_INTERVALS: Final = 4
"""Silence of so many of the longest intervals is a pause, which says nothing of the rate."""


class Connection:
    """Acknowledgement, recovery and the right to send.

    Attributes:
        received: what came.
        recovery, round_trip: what is in flight, and how long it takes.
        last_sent_at: when the last payload left.
        must_ping: a packet with nothing but a ping is to be sent.
        probes: packets that a probe timeout lets through, whatever the window says.
    """

    __slots__ = (
        "_config",
        "_congestion",
        "_interval_end",
        "_interval_packets",
        "_last_bulk_at",
        "_last_full_at",
        "_pacer",
        "_send_interval_s",
        "_stats",
        "last_sent_at",
        "must_ping",
        "probes",
        "received",
        "recovery",
        "round_trip",
    )

    def __init__(self, config: Config, stats: SessionStats, now: float) -> None:
        self._config = config
        self._stats = stats
        self._congestion = CongestionWindow(config)
        self._pacer = Pacer(config, now)
        self._last_bulk_at = now - config.send_interval_s
        self._interval_end = now
        self._interval_packets = 0
        self._last_full_at = now
        self._send_interval_s = 0.0
        self.received = ReceivedPackets(config)
        self.round_trip = RoundTrip(config)
        self.recovery = Recovery(config, self.round_trip, self._congestion, stats)
        self.last_sent_at = now
        self.probes = 0
        self.must_ping = False

    def new_packet(self, now: float) -> PacketBuilder:
        """A packet with an acknowledgement of everything received."""
        return PacketBuilder(self._header(now), self._config.max_events_per_packet)

    def may_send_events(self, now: float) -> bool:
        """Whether events may leave without asking the window: so many packets in each interval."""
        if now >= self._interval_end:
            self._interval_end = now + self._config.send_interval_s
            self._interval_packets = 0
        return self._interval_packets < self._config.unpaced_packets

    def may_send_bulk(self, now: float) -> bool:
        """Whether a packet of bulk may leave: one in each interval always may."""
        if self.probes or now >= self._last_bulk_at + self._config.send_interval_s:
            return True
        return self._congestion.has_room and self._paced().is_ready(now)

    def events_at(self, now: float) -> float:
        """When events may leave."""
        is_used_up = self._interval_packets >= self._config.unpaced_packets
        return min(self._interval_end, self.bulk_at()) if is_used_up else now

    def bulk_at(self) -> float:
        """When bulk may leave."""
        next_interval = self._last_bulk_at + self._config.send_interval_s
        if self._congestion.has_room:
            return min(next_interval, self._paced().ready_at())
        return next_interval

    def _paced(self) -> Pacer:
        """The pacer at the rate of now: window and round trip change with each acknowledgement."""
        self._pacer.set_rate(self._congestion.window_bytes, self.round_trip.smoothed_s)
        return self._pacer

    def ping(self, now: float, send: Callable[[bytes], int]) -> None:
        """Send a packet that asks for an acknowledgement and carries nothing that could be refused."""
        packet = self.new_packet(now)
        packet.add(PING)
        self.send(packet, send, now, has_events=False, is_bulk=False, more_bulk=False)

    def send(
        self,
        packet: PacketBuilder,
        send: Callable[[bytes], int],
        now: float,
        *,
        has_events: bool,
        is_bulk: bool,
        more_bulk: bool,
    ) -> int:
        """Send a packet and follow it.

        Args:
            packet: what to send.
            send: sends a payload and returns its sequence.
            now: the time.
            has_events: whether it counts as a packet of events of this interval.
            is_bulk: whether it counts as bulk.
            more_bulk: whether bulk is left that would have liked to leave, too.

        Returns:
            The size of the payload.
        """
        payload = packet.to_bytes()
        size = len(payload)
        sequence = self._send(payload, send, now, packet.is_ack_eliciting)
        if has_events:
            self._interval_packets += 1
        if is_bulk:
            self._last_bulk_at = now
            self._pacer.packet_sent(size)
        if packet.is_ack_eliciting or packet.items:
            bulk_bytes = size if is_bulk else 0
            items = packet.items
            carried = (items[0] if len(items) == 1 else CarriedTogether(items)) if items else None
            self.recovery.packet_sent(
                SentPacket(sequence, now, size, bulk_bytes, packet.is_ack_eliciting, more_bulk, carried)
            )
        else:
            self.recovery.sequence_sent(sequence)
        return size

    def send_step(self, frame: bytes, carried: Carried, send: Callable[[bytes], int], now: float) -> int:
        """The same for one frame and nothing else, which asks for an acknowledgement."""
        payload = self._header(now) + frame
        size = len(payload)
        sequence = self._send(payload, send, now, True)
        self.recovery.packet_sent(SentPacket(sequence, now, size, 0, True, False, carried))
        return size

    def _header(self, now: float) -> bytes:
        received = self.received
        return encode_header(received.largest, received.mask, received.delay_s(now))

    def _send(self, payload: bytes, send: Callable[[bytes], int], now: float, is_ack_eliciting: bool) -> int:
        sequence = send(payload)
        if is_ack_eliciting:
            self._follow_rate(now)
        self._stats.packets_sent += 1
        self._stats.bytes_sent += len(payload)
        self.last_sent_at = now
        self.received.acknowledged()
        return sequence

    def _follow_rate(self, now: float) -> None:
        """A packet with something in it left: guess from the rate of these when the next one will."""
        interval_s = now - self._last_full_at
        if interval_s < SAME_BURST_S:
            return
        self._last_full_at = now
        max_delay_s = self._config.max_ack_delay_s
        known_s = self._send_interval_s or interval_s
        if interval_s > max_delay_s * PAUSE_INTERVALS:
            self._send_interval_s = 0.0
        else:
            self._send_interval_s = known_s + (interval_s - known_s) * INTERVAL_WEIGHT
        keeps_rate = 0.0 < self._send_interval_s <= max_delay_s
        self.received.next_send_at = now + self._send_interval_s * INTERVAL_SLACK if keeps_rate else 0.0
