"""A session below the decryption: its peer is authenticated, and sends whatever it likes.

The first byte chooses the side and the kind of malice. A *liar* sends anything, so nothing can be
promised about what it and its own session tell each other; but the session stays within its limits and
never raises, and another client of the same server is served. A *babbler* sends beside what is honest only
payloads that cannot be taken: then the honest stream arrives, each message once and in order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from pygase_gevent.errors import DecodeError, PygaseError
from pygase_gevent.event import Delivery
from pygase_gevent.gamestate import GameState, GameStateStore, GameStateUpdate
from pygase_gevent.protocol.frame_writer import (
    encode_clock_answer,
    encode_clock_request,
    encode_close,
    encode_fragment,
    encode_fragment_prefix,
    encode_header,
    encode_message,
    encode_names,
    encode_state_ack,
    encode_state_fragment_prefix,
    encode_state_part,
    encode_state_step,
    encode_ticket,
    encode_welcome,
)
from pygase_gevent.protocol.frames import FULL, Payload, fragment_size, parse_payload
from pygase_gevent.protocol.layout import MASK_ONES, MessageKind
from pygase_gevent.protocol.session import Session
from pygase_gevent.protocol.statesync import StateEncoder
from tests.fuzz.parts_targets import CONFIG, check_limits
from tests.fuzz.source import Source

MAX_STEPS = 80
MAX_TURNS = 64
"""Timers that may be due one after the other within a step of time."""
_KINDS = (MessageKind.EVENT, MessageKind.CALL, MessageKind.RESULT)
BODIES = [b"honest %d" % number for number in range(5)]


class End:
    """A session with the netcode sequences that it would have."""

    def __init__(self, is_server: bool) -> None:
        clock = (lambda now: int(now * 1e6)) if is_server else None
        self.session = Session(config=CONFIG, is_server=is_server, now=0.0, server_clock_us=clock)
        self.is_server = is_server
        self.sequence = 0
        self.outbox: list[tuple[int, bytes]] = []
        self.recent: list[bytes] = []
        self.received: list[bytes] = []

    def attach(self, now: float) -> None:
        self.sequence = 0
        self.outbox.clear()
        self.session.attach(now)

    def send(self, payload: bytes) -> int:
        assert 0 < len(payload) <= 1200
        self.outbox.append((self.sequence, payload))
        self.recent.append(payload)
        del self.recent[:-32]
        self.sequence += 1
        return self.sequence - 1

    def turn(self, now: float) -> None:
        """What a shell does when a timer fires: it ends, however often that is."""
        for _ in range(MAX_TURNS):
            self.session.handle_timer(now)
            self.session.send_payloads(now, self.send)
            due = self.session.next_timer()
            if due is None or due > now:
                return
            now += 1e-3

    def drain(self) -> None:
        while (message := self.session.next_message()) is not None:
            self.received.append(message.body)
        while self.session.next_call() is not None:
            pass
        while self.session.next_event() is not None:
            pass


def session(data: bytes) -> None:
    """See the module."""
    source = Source(data)
    kind = source.number()
    if kind & 2:
        _babbler(source, kind & 1 == 1)
    else:
        _liar(source, kind & 1 == 1, has_witness=kind & 0x0C == 0)


def _liar(source: Source, victim_is_server: bool, *, has_witness: bool) -> None:
    store = GameStateStore(GameState(a=1))
    encoder = StateEncoder(store, config=CONFIG, server_clock_us=lambda now: int(now * 1e6))
    victim = End(victim_is_server)
    honest = End(not victim_is_server)  # whose payloads the liar begins with
    now = 1.0
    victim.attach(now)
    honest.attach(now)
    sequence = 0
    for _ in range(MAX_STEPS):
        if not source:
            break
        action = source.below(16)
        if action < 8:
            sequence += 1 if action else source.number(2)
            if action == 1:
                sequence = max(0, sequence - 1 - source.below(80))
            payload = malicious_payload(source, victim, honest)
            victim.session.receive_payload(sequence, payload, now)
        elif action == 8:
            victim.drain()
        elif action == 9:
            victim.session.detach(now)
            if source.flag():
                victim.attach(now)
                sequence = 0
        elif action == 10:
            act(source, victim, encoder, now)
        elif action == 11:
            if victim_is_server:
                store.push_update(GameStateUpdate(0, a=source.number(), b=bytes(source.number(2) % 20_000)))
                victim.session.queue_state(encoder, now)
        elif action == 12:
            carry(victim, honest, now)
        else:
            now += source.number() / (2000 if action == 13 else 50)
            victim.turn(now)
    check_limits(victim.session)
    check_goodbye(victim, now)
    if has_witness:
        check_other_client(store, encoder, now)


def _babbler(source: Source, victim_is_server: bool) -> None:
    victim, honest = End(victim_is_server), End(not victim_is_server)
    now = 1.0
    victim.attach(now)
    honest.attach(now)
    for body in BODIES:
        _send(victim, body, now)
        _send(honest, body, now)
    for _ in range(MAX_STEPS):
        if not source:
            break
        payload = source.blob(300) if source.flag() else source.mutated(_recent(source, honest))
        if not _can_be_taken(victim, payload):
            victim.session.receive_payload(honest.sequence, payload, now)
            honest.sequence += 1
        if source.below(3) == 0:
            now += source.number() / 1000
            exchange(victim, honest, now)
    for _ in range(200):
        now += 0.05
        exchange(victim, honest, now)
        if victim.received == BODIES == honest.received:
            return
    raise AssertionError(f"{victim.received} and {honest.received} arrived")


def _can_be_taken(victim: End, payload: bytes) -> bool:
    """Whether a session has to take something from a payload: its form is good, and its direction."""
    parsed = _parse(payload)
    if parsed is None:
        return False
    from_server = bool(
        parsed.states or parsed.state_step or parsed.state_names or parsed.state_fragments or parsed.tickets
    )
    from_server = from_server or parsed.welcome is not None or parsed.clock_answer is not None
    from_client = parsed.state_ack >= 0 or parsed.clock_request >= 0
    return not (from_server if victim.is_server else from_client)


def _parse(payload: bytes) -> Payload | None:
    return parse_payload(payload, max_frames=CONFIG.max_events_per_packet)


def _recent(source: Source, end: End) -> bytes:
    return end.recent[source.below(len(end.recent))] if end.recent else b"\0\1"


def exchange(one: End, other: End, now: float) -> None:
    for sender, receiver in ((one, other), (other, one)):
        carry(sender, receiver, now)
        receiver.drain()


def carry(sender: End, receiver: End, now: float) -> None:
    sender.turn(now)
    outbox, sender.outbox = sender.outbox, []
    for sequence, payload in outbox:
        receiver.session.receive_payload(sequence, payload, now)
    receiver.session.send_payloads(now, receiver.send)


def _send(end: End, body: bytes, now: float) -> None:
    end.session.send_message(
        body,
        delivery=Delivery.RELIABLE_ORDERED,
        stream="A",
        retries=0,
        kind=MessageKind.EVENT,
        token=body,
        now=now,
    )


def act(source: Source, victim: End, encoder: StateEncoder, now: float) -> None:
    """Something that the victim's own application does."""
    session = victim.session
    choice = source.below(8)
    if choice == 0:
        session.queue_ticket(bytes(source.number()))
    elif choice == 1:
        session.queue_welcome(bytes(source.number()))
    elif choice == 2:
        session.discard(now)
    elif choice == 3 and victim.is_server:
        session.queue_state(encoder, now)
    else:
        with contextlib.suppress(PygaseError):  # a queue is full, and says so
            session.send_message(
                bytes(source.number(2) % 12_000 if source.flag() else 20),
                delivery=(delivery := list(Delivery)[source.below(4)]),
                stream="ABC"[source.below(3)],
                retries=source.below(4),
                kind=_KINDS[source.below(3) if delivery is Delivery.RELIABLE else 0],
                token=source.number(),
                now=now,
            )
    session.send_payloads(now, victim.send)


def malicious_payload(source: Source, victim: End, honest: End) -> bytes:
    way = source.below(4)
    if way == 0:
        return source.blob(1200)
    if way == 1:
        return source.mutated(_recent(source, honest))
    header = encode_header(-1, 0, 0.0)
    if source.flag():
        largest = victim.sequence - 1 - source.below(4) if source.below(8) else source.number(4)
        mask = MASK_ONES if source.flag() else _any_mask(source)
        header = encode_header(max(0, largest), mask, source.number(2) / 1e5)
    return _with_frames(source, header)


def _any_mask(source: Source) -> int:
    return (source.number(8) ^ 1 << 63) - (1 << 63)  # signed, as masks are


def any_payload(source: Source) -> bytes:
    """A payload of a peer that nothing was heard of: well-formed, or any bytes."""
    if source.below(4) == 0:
        return source.blob(1200)
    return _with_frames(source, encode_header(source.number() - 1, _any_mask(source), 0.0))


def _with_frames(source: Source, header: bytes) -> bytes:
    payload = header
    for _ in range(1 + source.below(6)):
        frame = _frame(source)
        if len(payload) + len(frame) <= 1200:
            payload += frame
    return payload


def _frame(source: Source) -> bytes:
    return _FRAMES[source.below(len(_FRAMES))](source)


def _message(source: Source) -> bytes:
    delivery, kind, stream = source.below(4), source.below(3), source.below(20)
    number = source.number(1 if source.below(4) else 2)
    return encode_message(delivery, kind, stream, number, source.take(source.below(12)))


def _message_fragment(source: Source) -> bytes:
    prefix = encode_fragment_prefix(source.below(4), source.below(3), source.below(20), source.below(8))
    return _fragment(source, prefix)


def _state_fragment(source: Source) -> bytes:
    return _fragment(source, encode_state_fragment_prefix(source.number(1 if source.below(4) else 2)))


def _fragment(source: Source, prefix: bytes) -> bytes:
    parts, total = 1 + source.below(8), source.number(2)
    part = source.below(parts)
    try:
        size = fragment_size(part, parts, total)
    except DecodeError:
        size = fragment_size(part, parts, total := parts * 256)
    return encode_fragment(prefix, part, parts, total, source.take(8).ljust(size, b"\0"))


def _state_part(source: Source) -> bytes:
    parts = 1 + source.below(3)
    newest = source.number(8 if source.below(8) == 0 else 1)
    distance = FULL if source.flag() else source.below(8)
    blob = source.blob(200) if source.flag() else b"\x82\xabgame_status\x01\xa1a\x07"
    return encode_state_part(newest, distance, source.below(parts), parts, source.number(8), blob)


def _names(source: Source) -> bytes:
    kind = 0x0C if source.flag() else 0x0D
    known = (b"\x91\xa1a", b"\x92\xa1x\x91\x92\xa2hp\x04", b"\x91\xc4\x01A")[source.below(3)]
    return encode_names(kind, source.below(4), source.blob(40) if source.flag() else known)


def _named_event(source: Source) -> bytes:
    delivery, stream = source.below(4), source.below(20)
    number = source.number(1 if source.below(4) else 2)
    return encode_message(
        delivery, 3, stream, number, bytes((source.below(3),)) + source.take(source.below(12))
    )


def _state_step(source: Source) -> bytes:
    newest = source.number(4 if source.below(8) == 0 else 1)
    blob = source.blob(200) if source.flag() else b"\x81\xa1a\x08"
    return encode_state_step(newest, source.below(8), source.number(2), blob)


_FRAMES: tuple[Callable[[Source], bytes], ...] = (
    _message,
    _message,
    _message_fragment,
    _state_part,
    _state_step,
    _names,
    _named_event,
    _state_fragment,
    lambda source: encode_state_ack(source.number(1 if source.flag() else 4)),
    lambda source: encode_ticket(source.number(1 if source.flag() else 4), source.take(4)),
    lambda source: encode_welcome(source.take(4)),
    lambda source: encode_clock_request(source.number(2)),
    lambda source: encode_clock_answer(source.below(4), source.number(8), source.number(4)),
    lambda source: encode_close(source.number(), "bye", source.number()),
    lambda source: b"\x01",
)


def check_goodbye(victim: End, now: float) -> None:
    """Whatever was said to a session, it can say goodbye over a new connection."""
    victim.turn(now)
    victim.drain()
    victim.session.discard(now)
    victim.attach(now)
    victim.session.queue_close(1, "enough", 0, now)
    victim.turn(now)
    assert any((parsed := _parse(payload)) and parsed.close for payload in victim.recent)
    check_limits(victim.session)


def check_other_client(store: GameStateStore, encoder: StateEncoder, now: float) -> None:
    """Another client of the same server gets its events, and its state."""
    server, client = End(True), End(False)
    server.attach(now)
    client.attach(now)
    for body in BODIES:
        _send(server, body, now)
        _send(client, body, now)
    newest = store.get_game_state().time_order
    for _ in range(100):
        now += 0.05
        server.session.queue_state(encoder, now)
        exchange(server, client, now)
        has_state = client.session.state_receiver.newest == newest
        if has_state and server.received == BODIES == client.received:
            return
    raise AssertionError("another client was not served")
