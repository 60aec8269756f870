"""One peer: acknowledgement, recovery, messages and state behind one object.

A `Session` lives from joining to leaving, over as many connections as that takes. What it remembers of
a connection (packets in flight, round trip, congestion window) starts anew with each `attach`; messages,
their numbers and the peer's state base stay, so that everything is delivered once across connections.

Like the rest of the protocol it does no I/O: payloads and the time come in, payloads, events and the
time of the next deadline go out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.gamestate import GameState
from pygase_gevent.protocol.acks import ReceivedPackets
from pygase_gevent.protocol.clock import ServerClock
from pygase_gevent.protocol.congestion import CongestionWindow, Pacer
from pygase_gevent.protocol.control import MAX_TICKETS, ControlSender
from pygase_gevent.protocol.delivery import MessageSender
from pygase_gevent.protocol.fragments import TransferScheduler
from pygase_gevent.protocol.frame_writer import encode_clock_request, encode_header
from pygase_gevent.protocol.frames import MessageKind, Payload, parse_payload
from pygase_gevent.protocol.inbox import Inbox, ReceivedMessage
from pygase_gevent.protocol.numbers import ReceivedNumbers
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.recovery import Recovery, RoundTrip, SentPacket
from pygase_gevent.protocol.statelink import StateInbox, StateOutbox
from pygase_gevent.protocol.statesync import ReceivedState, StateEncoder, StateReceiver, StateSender
from pygase_gevent.protocol.stats import DropReason, SessionStats

__all__ = [
    "CloseReceived",
    "MessageAcked",
    "MessageKind",
    "MessageLost",
    "ReceivedMessage",
    "Session",
    "SessionEvent",
    "SessionStats",
    "StateReceived",
    "TicketReceived",
    "WelcomeReceived",
]

MAX_BURST_PACKETS = 256
"""Packets that one call of `send_payloads` sends at the most."""
HOUSEKEEPING_S = 0.25
"""How often it is looked whether something expired."""
_PING = b"\x01"


@dataclass(frozen=True, slots=True)
class StateReceived:
    """The client has a newer state. `server_time` is the server's clock when it was taken, seconds."""

    state: GameState
    server_time: float


@dataclass(frozen=True, slots=True)
class WelcomeReceived:
    """The server accepts this connection."""

    blob: bytes


@dataclass(frozen=True, slots=True)
class TicketReceived:
    """A ticket to resume with."""

    blob: bytes


@dataclass(frozen=True, slots=True)
class CloseReceived:
    """The peer closes, and says why."""

    code: int
    text: str
    flags: int


@dataclass(frozen=True, slots=True)
class MessageAcked:
    """The message that was queued with this token arrived."""

    token: object


@dataclass(frozen=True, slots=True)
class MessageLost:
    """The message that was queued with this token is given up; it may have arrived all the same."""

    token: object


SessionEvent = StateReceived | WelcomeReceived | TicketReceived | CloseReceived | MessageAcked | MessageLost


class Session:
    """One side of a session.

    Args:
        config: limits.
        is_server: which side; it decides which frames may come and who asks for the clock.
        now: the time, seconds, monotonic.
        server_clock_us: on the server, its game clock in microseconds, given `now`.
    """

    def __init__(
        self,
        *,
        config: Config,
        is_server: bool,
        now: float,
        server_clock_us: Callable[[float], int] | None = None,
    ) -> None:
        self._config = config
        self._is_server = is_server
        self._server_clock_us = server_clock_us
        self.stats = SessionStats()
        self.is_attached = False
        self._transfers = TransferScheduler(self.stats)
        self._messages = MessageSender(config, self._transfers, self.stats)
        self._inbox = Inbox(config, self.stats)
        self._control = ControlSender(config)
        self._state_outbox = StateOutbox(config, self._transfers) if is_server else None
        self._state_inbox = None if is_server else StateInbox(config, self.stats)
        self._clock = None if is_server else ServerClock(config)
        self._ticket_numbers = ReceivedNumbers(64, may_skip=True)
        self._welcome: bytes | None = None
        self._control_events: deque[SessionEvent] = deque(maxlen=2 * MAX_TICKETS)
        self._states: deque[StateReceived] = deque(maxlen=config.recent_states)
        self._housekeeping_at = now + HOUSEKEEPING_S
        self._start_connection(now)

    def _start_connection(self, now: float) -> None:
        config = self._config
        self._received = ReceivedPackets(config)
        self._round_trip = RoundTrip(config)
        self._congestion = CongestionWindow(config)
        self._recovery = Recovery(config, self._round_trip, self._congestion, self.stats)
        self._pacer = Pacer(config, now)
        self._now = now
        self._last_sent_at = now
        self._last_bulk_at = now - config.send_interval_s
        self._interval_end = now
        self._interval_packets = 0
        self._probes = 0

    # --- the life of it -------------------------------------------------------------------------

    def attach(self, now: float) -> None:
        """A fresh netcode connection stands."""
        if self.is_attached:
            self.detach(now)
        self._start_connection(now)
        self.is_attached = True
        self._welcome = None
        self._messages.attach(now)
        self._inbox.attach(now)
        if self._state_outbox is not None:
            self._state_outbox.attach(now)
        if self._state_inbox is not None:
            self._state_inbox.attach()
        if self._clock is not None:
            self._clock.attach(now)

    def detach(self, now: float) -> None:
        """The connection is gone. Reliable messages wait for the next one, others expire."""
        if not self.is_attached:
            return
        self.is_attached = False
        self._recovery.abandon(now)
        self._messages.detach(now)
        self._control.detach()

    def discard(self, now: float) -> int:
        """Throw away everything that was to be sent; `MessageLost` for each.

        Returns:
            How many events that were.
        """
        if self._state_outbox is not None:
            self._state_outbox.discard()
            self._state_outbox.sender.handle_transfer_lost()
        return self._messages.discard()

    # --- what is to be sent ---------------------------------------------------------------------

    def send_message(
        self,
        body: bytes,
        *,
        delivery: Delivery,
        stream: str,
        retries: int,
        kind: MessageKind,
        token: object,
        now: float,
    ) -> None:
        """Queue a message.

        Args:
            body: at most `config.max_event_bytes`.
            delivery: how it travels.
            stream: for ordered and sequenced ones, which line it stands in: the event type.
            retries: how often an unreliable one is sent again; the reliable modes ignore it.
            kind: what it is to the receiver.
            token: comes back in `MessageAcked` or `MessageLost`; None for neither.
            now: the time.

        Raises:
            MessageTooLargeError: the body is too large.
            QueueFullError: too much waits already.
            ArgumentError: too many retries, or too many streams.
        """
        self._messages.send(body, delivery, stream, retries, kind, token, now)

    @property
    def queued_events(self) -> int:
        """Events waiting to be sent or acknowledged."""
        return self._messages.queued_events

    @property
    def queued_bytes(self) -> int:
        """Bytes of them."""
        return self._messages.queued_bytes

    def queue_state(self, encoder: StateEncoder, now: float) -> None:
        """Take the newest state for this client; unsent parts of an older one are dropped."""
        assert self._state_outbox is not None, "only a server sends state"
        self._state_outbox.queue(encoder, now)

    def queue_welcome(self, blob: bytes) -> None:
        """Say welcome, first in payloads until one of them was acknowledged."""
        self._control.queue_welcome(blob)

    def queue_ticket(self, blob: bytes) -> None:
        """Send a ticket until it was acknowledged."""
        self._control.queue_ticket(blob)

    def queue_close(self, code: int, text: str, flags: int, now: float) -> None:
        """Say the end, in every payload from now on."""
        self._control.queue_close(code, text, flags, now)

    # --- what came ------------------------------------------------------------------------------

    @property
    def has_messages(self) -> bool:
        """Whether `next_message` has something."""
        return self._inbox.has_events

    def next_message(self) -> ReceivedMessage | None:
        """The next received event, oldest first."""
        return self._inbox.next_event()

    def next_call(self) -> ReceivedMessage | None:
        """The next received result, or else the next call. They never wait behind events."""
        return self._inbox.next_call()

    def next_event(self) -> SessionEvent | None:
        """Whatever else happened: first control, then states, then what became of messages."""
        if self._control_events:
            return self._control_events.popleft()
        if self._states:
            return self._states.popleft()
        if self._messages.notices:
            token, has_arrived = self._messages.notices.popleft()
            return MessageAcked(token) if has_arrived else MessageLost(token)
        return None

    @property
    def state_sender(self) -> StateSender:
        """The server's side of the state."""
        assert self._state_outbox is not None, "only a server sends state"
        return self._state_outbox.sender

    @property
    def state_receiver(self) -> StateReceiver:
        """The client's side of the state."""
        assert self._state_inbox is not None, "only a client receives state"
        return self._state_inbox.receiver

    # --- figures --------------------------------------------------------------------------------

    @property
    def latency(self) -> float:
        """Smoothed round trip, seconds; 0 before the first sample of a connection."""
        return self._round_trip.smoothed_s if self._round_trip.has_sample else 0.0

    @property
    def jitter(self) -> float:
        """Mean variation of the round trip, seconds."""
        return self._round_trip.variation_s if self._round_trip.has_sample else 0.0

    @property
    def loss(self) -> float:
        """Share of packets lost lately, 0 to 1."""
        return self._recovery.lost_share

    def server_time(self, now: float) -> float | None:
        """On a client: what the server's game clock reads now, seconds; None before the first sample."""
        return None if self._clock is None else self._clock.time(now)

    def clock_offset(self, now: float) -> float | None:
        """On a client: the server's clock less this one's, seconds."""
        return None if self._clock is None else self._clock.offset(now)

    # --- payloads in ----------------------------------------------------------------------------

    def receive_payload(self, sequence: int, payload: bytes, now: float) -> None:
        """Take the payload of the netcode packet `sequence`. Never raises; drops are counted."""
        stats = self.stats
        stats.packets_received += 1
        stats.bytes_received += len(payload)
        self._now = now
        if not self.is_attached:
            stats.drops[DropReason.NOT_ATTACHED] += 1
            return
        received = self._received
        is_too_old = received.is_too_old(sequence)
        if not is_too_old and received.is_received(sequence):
            stats.drops[DropReason.DUPLICATE_PAYLOAD] += 1
            return
        parsed = parse_payload(payload, max_frames=self._config.max_events_per_packet)
        if parsed is None:
            stats.drops[DropReason.MALFORMED_PAYLOAD] += 1
            return
        if not self._is_right_direction(parsed):
            stats.drops[DropReason.WRONG_DIRECTION] += 1
            return
        if parsed.ack_largest >= 0 and not self._receive_ack(parsed, now):
            stats.drops[DropReason.BAD_ACK] += 1
            return
        if parsed.has_others:
            self._receive_others(parsed, now)
        if is_too_old:
            stats.drops[DropReason.TOO_OLD] += 1
            return
        if not parsed.messages or self._inbox.receive(parsed.messages, now):
            received.record(sequence, parsed.is_ack_eliciting, now)
        elif self._state_inbox is not None and parsed.states:
            received.ask_for_ack(now)  # the state was taken; the server should hear of it

    def _is_right_direction(self, parsed: Payload) -> bool:
        if not parsed.has_others:
            return True
        if self._is_server:
            return not (
                parsed.states
                or parsed.state_fragments
                or parsed.tickets
                or parsed.welcome is not None
                or parsed.clock_answer is not None
            )
        return parsed.state_ack < 0 and parsed.clock_request < 0

    def _receive_ack(self, parsed: Payload, now: float) -> bool:
        recovery = self._recovery
        if not recovery.receive_ack(parsed.ack_largest, parsed.ack_mask, parsed.ack_delay_s, now):
            return False
        self._pacer.set_rate(self._congestion.window_bytes, self._round_trip.smoothed_s)
        self._messages.redundancy.lost_share = recovery.lost_share
        return True

    def _receive_others(self, parsed: Payload, now: float) -> None:
        """Everything but messages: always taken, whatever else is full."""
        if parsed.welcome is not None and parsed.welcome != self._welcome:
            self._welcome = parsed.welcome
            self._control_events.append(WelcomeReceived(parsed.welcome))
        for truncated, blob in parsed.tickets:
            number = self._ticket_numbers.expand(truncated)
            if not self._ticket_numbers.is_received(number):
                self._ticket_numbers.record(number)
                self._control_events.append(TicketReceived(blob))
        if parsed.clock_request >= 0:
            self._control.queue_clock_answer(parsed.clock_request, self._clock_us(now), now)
        if parsed.clock_answer is not None and self._clock is not None:
            self._clock.receive_answer(*parsed.clock_answer, now)
        if parsed.state_ack >= 0 and self._state_outbox is not None:
            self._state_outbox.sender.receive_ack(parsed.state_ack)
        if self._state_inbox is not None:
            for part in parsed.states:
                self._add_state(self._state_inbox.receive_part(part))
            for fragment in parsed.state_fragments:
                self._add_state(self._state_inbox.receive_fragment(fragment, now))
        if parsed.close is not None:
            close = parsed.close
            self._control_events.append(CloseReceived(close.code, close.text, close.flags))

    def _add_state(self, received: ReceivedState | None) -> None:
        if received is not None:
            self._states.append(StateReceived(received.state, received.server_time))

    def _clock_us(self, now: float) -> int:
        return int(now * 1e6) if self._server_clock_us is None else self._server_clock_us(now)

    # --- payloads out ---------------------------------------------------------------------------

    def send_payloads(self, now: float, send: Callable[[bytes], int]) -> int:
        """Send every payload that may leave now.

        Args:
            now: the time.
            send: sends one payload and returns its netcode sequence.

        Returns:
            How many were sent.
        """
        if not self.is_attached:
            return 0
        self._now = now
        sent = 0
        with_welcome = True
        while sent < MAX_BURST_PACKETS:
            events_pass = self._messages.has_work and self._may_send_events(now)
            has_bulk = self._transfers.has_work or (self._messages.has_work and not events_pass)
            bulk_passes = has_bulk and self._may_send_bulk(now)
            if not (events_pass or bulk_passes or self._must_send(now)):
                break
            packet = PacketBuilder(self._encode_header(now), self._config.max_events_per_packet)
            self._control.fill(packet, now, with_welcome)
            is_bulk = self._fill(packet, events_pass, bulk_passes, now)
            if packet.frames == 0 and not self._must_send(now):
                break
            if self._probes > 0:
                self._probes -= 1
                if not packet.is_ack_eliciting:
                    packet.add(_PING)
            self._send(packet, is_bulk, now, send)
            sent += 1
            # What does not fit beside a welcome goes without one; this burst has begun with one.
            with_welcome = with_welcome and not packet.has_misfit
        return sent

    def _may_send_events(self, now: float) -> bool:
        if now >= self._interval_end:
            self._interval_end = now + self._config.send_interval_s
            self._interval_packets = 0
        return self._interval_packets < self._config.unpaced_packets

    def _may_send_bulk(self, now: float) -> bool:
        if self._probes or now >= self._last_bulk_at + self._config.send_interval_s:
            return True
        return self._congestion.has_room and self._pacer.is_ready(now)

    def _must_send(self, now: float) -> bool:
        """Whether a packet must leave whether or not there is anything to put into it."""
        ack_deadline = self._received.ack_deadline
        if (ack_deadline is not None and now >= ack_deadline) or self._probes or self._control.has_work:
            return True
        if now >= self._last_sent_at + self._config.keepalive_s:
            return True
        if self._state_outbox is not None and self._state_outbox.has_parts:
            return True
        if self._clock is not None and now >= self._clock.due_at:
            return True
        close_at = self._control.close_at
        return close_at is not None and now >= close_at

    def _encode_header(self, now: float) -> bytes:
        received = self._received
        return encode_header(received.largest, received.mask, received.delay_s(now))

    def _fill(self, packet: PacketBuilder, events_pass: bool, bulk_passes: bool, now: float) -> bool:
        """Put everything but control in; whether any of it is bulk."""
        if self._state_inbox is not None:
            self._state_inbox.fill(packet)
        if self._clock is not None and now >= self._clock.due_at and packet.room >= 3:
            packet.add(encode_clock_request(self._clock.next_request(now)))
        is_bulk = False
        if events_pass or (bulk_passes and self._messages.has_work):
            has_events = self._messages.fill(packet, now)
            if events_pass:
                self._interval_packets += has_events
            else:
                is_bulk = has_events
        if self._state_outbox is not None and self._state_outbox.has_parts:
            self._state_outbox.fill(packet)
        self._messages.ride_along(packet, now)
        if bulk_passes:
            while (fragment := self._transfers.next_fragment(packet)) is not None:
                packet.add(fragment[0])
                packet.items.append(fragment[1])
                is_bulk = True
        return is_bulk

    def _send(self, packet: PacketBuilder, is_bulk: bool, now: float, send: Callable[[bytes], int]) -> None:
        payload = packet.to_bytes()
        size = len(payload)
        sequence = send(payload)
        self.stats.packets_sent += 1
        self.stats.bytes_sent += size
        self._last_sent_at = now
        self._received.acknowledged()
        self._messages.redundancy.packet_sent(size)
        bulk_bytes = 0
        was_limited = False
        if is_bulk:
            bulk_bytes = size
            self._last_bulk_at = now
            self._pacer.packet_sent(size)
            was_limited = self._transfers.has_work or self._messages.has_work
        if packet.is_ack_eliciting or packet.items:
            sent = SentPacket(
                sequence, now, size, bulk_bytes, packet.is_ack_eliciting, was_limited, packet.items
            )
            self._recovery.packet_sent(sent)
        else:
            self._recovery.sequence_sent(sequence)

    # --- time -----------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When `handle_timer`, and `send_payloads` after it, is due; None for never."""
        if not self.is_attached:
            return self._housekeeping_at if self._messages.has_expiring else None
        due = self._last_sent_at + self._config.keepalive_s
        ack_deadline = self._received.ack_deadline
        if ack_deadline is not None and ack_deadline < due:
            due = ack_deadline
        due = min(
            due,
            _or_never(self._recovery.next_timer()),
            _or_never(self._messages.next_timer()),
            _or_never(self._control.close_at),
            self._clock.due_at if self._clock is not None else inf,
        )
        if self._state_outbox is not None:
            due = min(due, _or_never(self._state_outbox.next_timer()))
        if self._messages.has_work:
            is_used_up = self._interval_packets >= self._config.unpaced_packets
            due = min(due, self._interval_end if is_used_up else self._now, self._bulk_at())
        elif self._transfers.has_work:
            due = min(due, self._bulk_at())
        if self._inbox.has_transfers or self._messages.has_expiring:
            due = min(due, self._housekeeping_at)
        return due

    def _bulk_at(self) -> float:
        next_interval = self._last_bulk_at + self._config.send_interval_s
        if self._congestion.has_room:
            return min(next_interval, self._pacer.ready_at())
        return next_interval

    def handle_timer(self, now: float) -> None:
        """Let time pass: losses, probe timeouts, retries, expiry. Call `send_payloads` after it."""
        self._now = now
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + HOUSEKEEPING_S
            self._messages.expire(now)
            if self.is_attached:
                self._inbox.expire(now)
        if not self.is_attached:
            return
        if self._recovery.handle_timer(now):
            self._probes = 1
        self._messages.handle_timer(now)
        if self._state_outbox is not None:
            self._state_outbox.handle_timer(now)


def _or_never(due: float | None) -> float:
    return inf if due is None else due
