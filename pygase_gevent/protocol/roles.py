"""What only one side of a session does: the server welcomes and sends state, the client follows both."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.protocol.clock import ServerClock
from pygase_gevent.protocol.control import ControlSender
from pygase_gevent.protocol.fragments import TransferScheduler
from pygase_gevent.protocol.frame_writer import encode_clock_request
from pygase_gevent.protocol.frames import Payload
from pygase_gevent.protocol.numbers import ReceivedNumbers
from pygase_gevent.protocol.packet import PacketBuilder
from pygase_gevent.protocol.session_events import (
    CloseReceived,
    SessionEvent,
    StateReceived,
    TicketReceived,
    WelcomeReceived,
)
from pygase_gevent.protocol.statelink import StateInbox, StateOutbox
from pygase_gevent.protocol.statesync import ReceivedState
from pygase_gevent.protocol.stats import SessionStats

CLOCK_REQUEST_BYTES: Final = 3


class Role:
    """What both sides have: events for the owner, the close among them."""

    __slots__ = ("_events", "_max_events")

    def __init__(self, config: Config) -> None:
        # A welcome, the close, and as many tickets as the server sends before it waits.
        self._max_events = 2 + 2 * config.resume_tickets
        self._events: list[SessionEvent] | None = None

    @property
    def has_events(self) -> bool:
        """Whether `next_event` has something."""
        return self._events is not None

    def next_event(self) -> SessionEvent | None:
        """Control first, then states."""
        events = self._events
        if events is None:
            return None
        event = events.pop(0)
        if not events:
            self._events = None
        return event

    def _add_event(self, event: SessionEvent) -> None:
        """Keep an event for the owner; where there are too many the oldest gives way."""
        events = self._events
        if events is None:
            events = self._events = []
        elif len(events) >= self._max_events:
            del events[0]
        events.append(event)

    def accepts(self, parsed: Payload) -> bool:
        """Whether every frame may come from the other side."""
        raise NotImplementedError

    def takes_names(self, parsed: Payload) -> bool:
        """Take names that the peer tells of; False if they are none, and must not be acknowledged."""
        return True

    def receive(self, parsed: Payload, now: float) -> None:
        """Take everything but messages."""
        if parsed.close is not None:
            self._add_event(CloseReceived(parsed.close.code, parsed.close.text, parsed.close.flags))

    def attach(self, now: float) -> None:
        """A connection stands."""

    def discard(self) -> None:
        """Give up what was to be sent."""

    def must_send(self, now: float) -> bool:
        """Whether something wants to leave at once."""
        return False

    def fill(self, packet: PacketBuilder, now: float) -> None:
        """Put in what goes before messages."""

    def fill_state(self, packet: PacketBuilder) -> None:
        """Put in what goes after messages."""

    def ride_along(self, packet: PacketBuilder) -> None:
        """Repeat something in a packet that leaves anyway."""

    def next_timer(self) -> float:
        """When something is due."""
        return inf

    def due_after_receiving(self) -> float:
        """The same as far as what is received may bring it forward; for each packet."""
        return self.next_timer()

    def handle_timer(self, now: float) -> None:
        """Let time pass."""


class ServerRole(Role):
    """Sends state, answers questions for the clock."""

    __slots__ = ("_clock_us", "_control", "state")

    def __init__(
        self,
        config: Config,
        transfers: TransferScheduler,
        control: ControlSender,
        clock_us: Callable[[float], int] | None,
    ) -> None:
        super().__init__(config)
        self._control = control
        self._clock_us = clock_us
        self.state = StateOutbox(config, transfers)

    def accepts(self, parsed: Payload) -> bool:
        return not (
            parsed.states
            or parsed.state_step is not None
            or parsed.state_names is not None
            or parsed.state_fragments
            or parsed.tickets
            or parsed.welcome is not None
            or parsed.clock_answer is not None
        )

    def receive(self, parsed: Payload, now: float) -> None:
        if parsed.state_ack >= 0:
            self.state.sender.receive_ack(parsed.state_ack, now)
        if parsed.clock_request >= 0:
            clock_us = int(now * 1e6) if self._clock_us is None else self._clock_us(now)
            self._control.queue_clock_answer(parsed.clock_request, clock_us, now)
        super().receive(parsed, now)

    def attach(self, now: float) -> None:
        self.state.attach(now)

    def discard(self) -> None:
        self.state.discard()
        self.state.sender.handle_transfer_lost()

    def must_send(self, now: float) -> bool:
        return self.state.has_parts

    def fill_state(self, packet: PacketBuilder) -> None:
        if self.state.has_parts:
            self.state.fill(packet)

    def ride_along(self, packet: PacketBuilder) -> None:
        self.state.ride_along(packet)

    def next_timer(self) -> float:
        due = self.state.next_timer()
        return inf if due is None else due

    def due_after_receiving(self) -> float:
        sender = self.state.sender
        return self.next_timer() if sender.must_resend or sender.is_transferring else inf

    def handle_timer(self, now: float) -> None:
        self.state.handle_timer(now)


class ClientRole(Role):
    """Follows the server's state and clock, and collects tickets."""

    __slots__ = ("_states", "_ticket_numbers", "_welcome", "clock", "state")

    def __init__(self, config: Config, stats: SessionStats) -> None:
        super().__init__(config)
        self._states: deque[SessionEvent] = deque(maxlen=config.recent_states)
        self._welcome: bytes | None = None
        self._ticket_numbers = ReceivedNumbers(64, may_skip=True)
        self.state = StateInbox(config, stats)
        self.clock = ServerClock(config)

    @property
    def has_events(self) -> bool:
        return self._events is not None or bool(self._states)

    def next_event(self) -> SessionEvent | None:
        event = super().next_event()
        if event is None and self._states:
            return self._states.popleft()
        return event

    def accepts(self, parsed: Payload) -> bool:
        return parsed.state_ack < 0 and parsed.clock_request < 0

    def takes_names(self, parsed: Payload) -> bool:
        names = parsed.state_names
        return names is None or self.state.receiver.names.receive(*names)

    def receive(self, parsed: Payload, now: float) -> None:
        if parsed.state_step is not None:
            self._add_state(self.state.receive_step(parsed.state_step))
        for part in parsed.states:
            self._add_state(self.state.receive_part(part))
        for fragment in parsed.state_fragments:
            self._add_state(self.state.receive_fragment(fragment, now))
        if parsed.clock_answer is not None:
            self.clock.receive_answer(*parsed.clock_answer, now)
        if parsed.welcome is not None and parsed.welcome != self._welcome:
            self._welcome = parsed.welcome
            self._add_event(WelcomeReceived(parsed.welcome))
        for truncated, blob in parsed.tickets:
            number = self._ticket_numbers.expand(truncated)
            if not self._ticket_numbers.is_received(number):
                self._ticket_numbers.record(number)
                self._add_event(TicketReceived(blob))
        super().receive(parsed, now)

    def _add_state(self, received: ReceivedState | None) -> None:
        if received is not None:
            self._states.append(StateReceived(received.state, received.server_time))

    def attach(self, now: float) -> None:
        self._welcome = None
        self.state.attach()
        self.clock.attach(now)

    def must_send(self, now: float) -> bool:
        return now >= self.clock.due_at

    def fill(self, packet: PacketBuilder, now: float) -> None:
        self.state.fill(packet)
        if now >= self.clock.due_at and packet.room >= CLOCK_REQUEST_BYTES:
            packet.add(encode_clock_request(self.clock.next_request(now)))

    def next_timer(self) -> float:
        return self.clock.due_at
