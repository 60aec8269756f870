"""One peer: acknowledgement, recovery, messages and state behind one object.

A `Session` lives from joining to leaving, over as many connections as that takes. What it remembers of
a connection (packets in flight, round trip, congestion window) starts anew with each `attach`; messages,
their numbers and the peer's state base stay, so that everything is delivered once across connections.

Like the rest of the protocol it does no I/O: payloads and the time come in, payloads, events and the
time of the next deadline go out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy_extensions import mypyc_attr

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.protocol.connection import PING, Connection
from pygase_gevent.protocol.control import ControlSender
from pygase_gevent.protocol.delivery import MessageSender
from pygase_gevent.protocol.eventnames import KnownEventNames
from pygase_gevent.protocol.fragments import TransferScheduler
from pygase_gevent.protocol.frames import Payload, ack_delay_s, parse_payload, uint24
from pygase_gevent.protocol.inbox import EventSink, Inbox, ReceivedMessage
from pygase_gevent.protocol.layout import FLAG_ACK, MASK_ONES, NAMED_EVENT, FrameType, MessageKind
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.roles import ClientRole, Role, ServerRole
from pygase_gevent.protocol.session_events import (
    CloseReceived,
    MessageAcked,
    MessageLost,
    SessionEvent,
    StateReceived,
    TicketReceived,
    WelcomeReceived,
)
from pygase_gevent.protocol.statelink import StateOutbox
from pygase_gevent.protocol.statesync import StateEncoder, StateReceiver, StateSender
from pygase_gevent.protocol.stats import DropReason, SessionStats

__all__ = [
    "CloseReceived",
    "EventSink",
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

BARE_PROBE_COUNT: Final = 3
"""Probe timeouts in a row after which a probe without any message is sent, too."""
STEADY_BYTES: Final = 9
"""A header with an acknowledgement without gaps, and a state acknowledgement."""
HEADER_FLAGS: Final = 0x07
"""The bits of a payload's first byte that are not the acknowledgement's delay."""
EVENT_FLAGS: Final = FrameType.MESSAGE
"""First byte of an unreliable event without a number, of less than 256 bytes."""
NAMED_EVENT_FLAGS: Final = FrameType.MESSAGE | NAMED_EVENT << 2
"""The same where its type is a number."""
HOUSEKEEPING_S: Final = 0.25
"""How often it is looked whether something expired."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Session:
    """One side of a session.

    Args:
        config: limits.
        is_server: which side; it decides which frames may come and who asks for the clock.
        now: the time, seconds, monotonic.
        server_clock_us: on the server, its game clock in microseconds, given `now`.

    Attributes:
        event_sink: on a server, what is asked to take the one event of a packet as a client that plays sends
            them all the time, where its type is known by its number and no other event waits.
        is_sink_at_rest: it is not asked: the application is to hear of acknowledgements first.
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
        self.stats = SessionStats()
        self.is_attached = False
        self._transfers = TransferScheduler(self.stats)
        self._messages = MessageSender(config, self._transfers, self.stats)
        self._inbox = Inbox(config, self.stats)
        self.event_sink: EventSink | None = None
        self.is_sink_at_rest = False
        self._event_names = KnownEventNames(config)
        self._control = ControlSender(config)
        self._server: ServerRole | None = None
        self._client: ClientRole | None = None
        self._role: Role
        if is_server:
            self._role = self._server = ServerRole(config, self._transfers, self._control, server_clock_us)
        else:
            self._role = self._client = ClientRole(config, self.stats)
        self._housekeeping_at = now + HOUSEKEEPING_S
        self._least_timer_s = min(config.max_ack_delay_s, config.max_probe_timeout_s, config.keepalive_s)
        self._state_bytes = 0  # of packets of state alone, since others left
        self._state_packets = 0
        self.undisturbed_until = 0.0
        """What was sent last made nothing due before this that was not due already; 0: it may have."""
        self._now = now
        self._connection = Connection(config, self.stats, now)

    # --- the life of it -------------------------------------------------------------------------

    def attach(self, now: float) -> None:
        """A fresh netcode connection stands."""
        if self.is_attached:
            self.detach(now)
        self._connection = Connection(self._config, self.stats, now)
        self._now = now
        self.is_attached = True
        self._messages.attach(now)
        self._inbox.attach(now)
        self._role.attach(now)

    def detach(self, now: float) -> None:
        """The connection is gone. Reliable messages wait for the next one, others expire."""
        if not self.is_attached:
            return
        self.is_attached = False
        self.undisturbed_until = 0.0
        self._connection.recovery.abandon(now)
        self._messages.detach(now)
        self._control.detach()

    def discard(self, now: float) -> int:
        """Throw away everything that was to be sent; `MessageLost` for each.

        Returns:
            How many events that were.
        """
        self._role.discard()
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
        assert self._server is not None, "only a server sends state"
        self._server.state.queue(encoder, now)

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

    @property
    def has_calls(self) -> bool:
        """Whether `next_call` has something."""
        return self._inbox.has_calls

    def next_message(self) -> ReceivedMessage | None:
        """The next received event, oldest first."""
        return self._inbox.next_event()

    def next_call(self) -> ReceivedMessage | None:
        """The next received result, or else the next call. They never wait behind events."""
        return self._inbox.next_call()

    @property
    def has_events(self) -> bool:
        """Whether `next_event` has something."""
        return self._messages.notices is not None or self._role.has_events

    def next_event(self) -> SessionEvent | None:
        """Whatever else happened: first control, then states, then what became of messages."""
        event = self._role.next_event()
        if event is not None:
            return event
        notices = self._messages.notices
        if notices is not None:
            token, has_arrived = notices.pop(0)
            if not notices:
                self._messages.notices = None
            return MessageAcked(token) if has_arrived else MessageLost(token)
        return None

    @property
    def state_sender(self) -> StateSender:
        """The server's side of the state."""
        assert self._server is not None, "only a server sends state"
        return self._server.state.sender

    @property
    def state_receiver(self) -> StateReceiver:
        """The client's side of the state."""
        assert self._client is not None, "only a client receives state"
        return self._client.state.receiver

    # --- figures --------------------------------------------------------------------------------

    @property
    def latency(self) -> float:
        """Smoothed round trip, seconds; 0 before the first sample of a connection."""
        round_trip = self._connection.round_trip
        return round_trip.smoothed_s if round_trip.has_sample else 0.0

    @property
    def jitter(self) -> float:
        """Mean variation of the round trip, seconds."""
        round_trip = self._connection.round_trip
        return round_trip.variation_s if round_trip.has_sample else 0.0

    @property
    def loss(self) -> float:
        """Share of packets lost lately, 0 to 1."""
        return self._connection.recovery.lost_share

    @property
    def is_bad(self) -> bool:
        """Whether latency or loss are above `config.bad_latency_s` and `config.bad_loss`."""
        connection, config = self._connection, self._config
        round_trip = connection.round_trip
        is_slow = round_trip.has_sample and round_trip.smoothed_s > config.bad_latency_s
        return is_slow or connection.recovery.lost_share > config.bad_loss

    def server_time(self, now: float) -> float | None:
        """On a client: what the server's game clock reads now, seconds; None before the first sample."""
        return None if self._client is None else self._client.clock.time(now)

    def clock_offset(self, now: float) -> float | None:
        """On a client: the server's clock less this one's, seconds."""
        return None if self._client is None else self._client.clock.offset(now)

    # --- payloads in ----------------------------------------------------------------------------

    def receive_payload(self, sequence: int, payload: bytes, now: float) -> None:
        """Take the payload of the netcode packet `sequence`. Never raises; drops are counted."""
        stats = self.stats
        stats.packets_received += 1
        stats.bytes_received += len(payload)
        self._now = now
        if not self.is_attached:
            stats.drops[DropReason.NOT_ATTACHED] += 1
        elif self._server is None or not self._receive_steady(self._server, sequence, payload, now):
            self._receive(sequence, payload, now)

    def _receive_steady(self, server: ServerRole, sequence: int, payload: bytes, now: float) -> bool:
        """Take what a client that plays sends all the time: an acknowledgement without gaps, which state it
        has, and perhaps one event without a number.

        It is what `_receive` does with that, and does not take it apart first (ARCHITECTURE.md, *What the
        profile taught*).

        Returns:
            False where it is anything else, or something is wrong with it: that is left to `_receive`, which
            may take the acknowledgements once more.
        """
        size = len(payload)
        if size < STEADY_BYTES or payload[0] & HEADER_FLAGS != FLAG_ACK or payload[5] != FrameType.STATE_ACK:
            return False
        connection = self._connection
        if sequence <= connection.received.largest:
            return False
        body, event_type = b"", ""
        has_event = size > STEADY_BYTES
        if has_event:
            start = STEADY_BYTES + 2
            if size <= start or payload[start - 1] != size - start or self._config.max_events_per_packet < 2:
                return False
            flags = payload[STEADY_BYTES]
            if flags == NAMED_EVENT_FLAGS:
                number = payload[start]
                body = self._event_names.restored(number, payload[start + 1 :])
                if body:
                    event_type = self._event_names.type_of(number)
            elif flags == EVENT_FLAGS:
                body = payload[start:]
            if not body:
                return False
        delay_s = ack_delay_s(payload[0], payload[1])
        if not self._receive_ack(uint24(payload, 2), MASK_ONES, delay_s, now):
            return False
        server.state.sender.receive_ack(uint24(payload, 6), now)
        if has_event and not self._take_event(body, event_type):
            return False
        connection.received.record(sequence, has_event, now)
        return True

    def _take_event(self, body: bytes, event_type: str) -> bool:
        sink, inbox = self.event_sink, self._inbox
        if (
            sink is None
            or not event_type
            or inbox.has_events
            or self.is_sink_at_rest
            or self._messages.notices is not None
            or not sink.take_event(body, event_type)
        ):
            return inbox.take_event(body, event_type)
        self.stats.messages_received += 1
        return True

    def _receive(self, sequence: int, payload: bytes, now: float) -> None:
        stats = self.stats
        received = self._connection.received
        is_too_old = received.is_too_old(sequence)
        if not is_too_old and received.is_received(sequence):
            stats.drops[DropReason.DUPLICATE_PAYLOAD] += 1
            return
        parsed = parse_payload(payload, max_frames=self._config.max_events_per_packet)
        if parsed is None:
            stats.drops[DropReason.MALFORMED_PAYLOAD] += 1
            return
        if parsed.has_others and not self._role.accepts(parsed):
            stats.drops[DropReason.WRONG_DIRECTION] += 1
            return
        has_names = parsed.has_named or parsed.event_names is not None or parsed.state_names is not None
        if has_names and not self._restore_names(parsed):
            stats.drops[DropReason.BAD_NAMES] += 1
            return
        if parsed.ack_largest >= 0 and not self._receive_ack(
            parsed.ack_largest, parsed.ack_mask, parsed.ack_delay_s, now
        ):
            stats.drops[DropReason.BAD_ACK] += 1
            return
        if parsed.has_others:
            self._role.receive(parsed, now)  # always taken, whatever else is full
        if is_too_old:
            stats.drops[DropReason.TOO_OLD] += 1
            return
        if not parsed.messages or self._inbox.receive(parsed.messages, now):
            received.record(sequence, parsed.is_ack_eliciting, now)
        elif parsed.states or parsed.state_step is not None:
            received.ask_for_ack(now)  # the state was taken; the server should hear of it

    def _restore_names(self, parsed: Payload) -> bool:
        """Take types of events that the peer tells of, and put them back where their numbers stand."""
        if parsed.event_names is not None and not self._event_names.receive(*parsed.event_names):
            return False
        if not self._role.takes_names(parsed):
            return False
        return not parsed.has_named or self._event_names.restore(parsed.messages)

    def _receive_ack(self, largest: int, mask: int, delay_s: float, now: float) -> bool:
        recovery = self._connection.recovery
        if not recovery.receive_ack(largest, mask, delay_s, now):
            return False
        self._messages.settle(recovery.newest_acked_sent_at)
        return True

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
        if self._server is not None and self._send_state(self._server.state, now, send):
            self.undisturbed_until = now + self._least_timer_s
            return 1
        self.undisturbed_until = 0.0
        return self._send_all(now, send)

    def _send_state(self, state: StateOutbox, now: float, send: Callable[[bytes], int]) -> bool:
        """Send an update that is one short frame and all that wants to leave, as it is nearly always.

        It is what `_send_all` does with that, and does not look at everything else first. False where it is
        not so: then nothing was sent.
        """
        connection, messages = self._connection, self._messages
        if (
            messages.has_any
            or self._transfers.has_work
            or connection.probes
            or connection.must_ping
            or not self._control.is_quiet
        ):
            return False
        part = state.take_step()
        if part is None:
            return False
        self._state_bytes += connection.send_step(part.frame, part, send, now)
        self._state_packets += 1
        return True

    def _send_all(self, now: float, send: Callable[[bytes], int]) -> int:
        connection = self._connection
        messages = self._messages
        transfers = self._transfers
        redundancy = messages.redundancy
        redundancy.lost_share = connection.recovery.lost_share
        if self._state_packets:
            redundancy.packets_sent(self._state_bytes, self._state_packets, now)
            self._state_bytes = self._state_packets = 0
        sent = 0
        with_welcome = True
        if connection.must_ping:
            connection.must_ping = False
            connection.ping(now, send)
            sent = 1
        while sent < self._config.max_burst_packets:
            has_messages = messages.has_work
            events_pass = has_messages and connection.may_send_events(now)
            has_bulk = transfers.has_work or (has_messages and not events_pass)
            bulk_passes = has_bulk and connection.may_send_bulk(now)
            must_send = self._must_send(now)
            if not (must_send or events_pass or bulk_passes):
                break
            packet = connection.new_packet(now)
            self._control.fill(packet, now, with_welcome)
            has_events, is_bulk = self._fill(packet, events_pass, bulk_passes, now)
            if packet.frames == 0 and not must_send:
                break
            if not packet.is_ack_eliciting:  # between two updates, as an acknowledgement
                self._role.ride_along(packet)
            if connection.probes:
                connection.probes -= 1
                if not packet.is_ack_eliciting:
                    packet.add(PING)
            more_bulk = is_bulk and (transfers.has_work or messages.has_work)
            size = connection.send(
                packet, send, now, has_events=has_events, is_bulk=is_bulk, more_bulk=more_bulk
            )
            redundancy.packets_sent(size, 1, now)
            sent += 1
            if not (packet.has_misfit or has_messages or has_bulk or connection.probes):
                break  # as nearly always: all that there was is in it
            # What does not fit beside a welcome goes without one; this burst has begun with one.
            with_welcome = with_welcome and not packet.has_misfit
        return sent

    def _must_send(self, now: float) -> bool:
        """Whether a packet must leave whether or not there is anything to put into it."""
        connection = self._connection
        control = self._control
        if connection.probes or control.has_work or now >= connection.last_sent_at + self._config.keepalive_s:
            return True
        if now >= connection.received.ack_deadline:
            return True
        if self._role.must_send(now):
            return True
        close_at = control.close_at
        return close_at is not None and now >= close_at

    def _fill(
        self, packet: PacketBuilder, events_pass: bool, bulk_passes: bool, now: float
    ) -> tuple[bool, bool]:
        """Put everything but control in; whether there are unpaced events in it, and whether bulk."""
        self._role.fill(packet, now)
        if self._messages.names.table.is_due:
            self._messages.names.fill(packet)
        has_messages = False
        if events_pass or (bulk_passes and self._messages.has_work):
            has_messages = self._messages.fill(packet, now)
        is_bulk = has_messages and not events_pass
        self._role.fill_state(packet)
        self._messages.ride_along(packet, now)
        if bulk_passes:
            while (fragment := self._transfers.next_fragment(packet)) is not None:
                packet.add(fragment[0])
                packet.items.append(fragment[1])
                is_bulk = True
        return has_messages and events_pass, is_bulk

    # --- time -----------------------------------------------------------------------------------

    def due_after_receiving(self, now: float) -> float:
        """When what was received wants something to be done; infinity for never.

        The other deadlines (`next_timer`) only move on by what is received.
        """
        messages = self._messages
        is_touched = (
            messages.has_work
            or self._control.has_work
            or self._transfers.has_work
            or self._inbox.has_transfers
            or self._role.must_send(now)
        )
        if is_touched or not self.is_attached:
            return now
        return self._next_packet_timer(self._role.due_after_receiving())

    def _next_packet_timer(self, due: float) -> float:
        """When an acknowledgement or what is in flight wants to be looked at, at `due` at the latest."""
        connection = self._connection
        due = min(due, connection.received.ack_deadline)
        return min(due, connection.recovery.next_timer())

    def next_timer(self) -> float | None:
        """When `handle_timer`, and `send_payloads` after it, is due; None for never."""
        messages = self._messages
        if not self.is_attached:
            return self._housekeeping_at if messages.has_expiring else None
        # Every packet asks for this; hence the comparisons one by one.
        connection = self._connection
        due = self._next_packet_timer(self._role.next_timer())
        due = min(due, connection.last_sent_at + self._config.keepalive_s)
        at = messages.next_timer()
        if at is not None and at < due:
            due = at
        at = self._control.close_at
        if at is not None and at < due:
            due = at
        if messages.has_work:
            due = min(due, connection.events_at(self._now))
        if self._transfers.has_work:
            due = min(due, connection.bulk_at())
        if self._housekeeping_at < due and (self._inbox.has_transfers or messages.has_expiring):
            due = self._housekeeping_at
        return due

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
        connection = self._connection
        if connection.recovery.handle_timer(now):
            connection.probes = 1
            # A peer without room leaves every probe with messages unacknowledged. One without any tells
            # that the path is well, so that all that was refused comes again, in another order.
            connection.must_ping = connection.recovery.probe_count >= BARE_PROBE_COUNT
        self._messages.handle_timer(now)
        self._role.handle_timer(now)
