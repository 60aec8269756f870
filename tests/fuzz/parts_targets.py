"""What puts parts together: fragments of messages, and parts and transfers of states."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import chain
from typing import Any

from pygase_gevent.codec import decode, pack
from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError, PygaseError
from pygase_gevent.gamestate import GameState, GameStateStore, GameStateUpdate
from pygase_gevent.protocol.eventnames import KnownEventNames
from pygase_gevent.protocol.frames import FULL, MAX_CHUNK_BYTES, MessageFrame, fragment_size
from pygase_gevent.protocol.inbox import MESSAGE_OVERHEAD_BYTES, Inbox
from pygase_gevent.protocol.layout import RELIABLE, MessageKind
from pygase_gevent.protocol.stateencoder import StateEncoder
from pygase_gevent.protocol.statenames import CannotShorten, KnownNames, StateNames
from pygase_gevent.protocol.statesync import StateReceiver
from pygase_gevent.protocol.stats import SessionStats
from pygase_gevent.schema import ANY, Fixed, Float32, StateSchema, UInt8
from pygase_gevent.testing.limit_checker import containers
from pygase_gevent.testing.limit_table import LIMITS
from tests.fuzz.measure import check_cost
from tests.fuzz.source import Source

CONFIG = Config(
    max_event_bytes=20_000,
    max_state_bytes=30_000,
    max_received_events=24,
    max_reorder_bytes=8_000,
    max_streams=16,
    max_transfers=3,
    max_calls=4,
    reliable_window=64,
    max_client_states=4,
    max_state_assemblies=2,
    max_queued_events=64,
    recent_states=8,
    max_packets_in_flight=256,
)
"""Limits low enough that an input of a few hundred bytes reaches them."""


def check_limits(root: object, config: Config = CONFIG) -> None:
    """No container that hangs on an object is larger than its limit."""
    for name, size in containers(root):
        limit = LIMITS[name](config) if name in LIMITS else 4096
        assert size <= limit, f"{name} holds {size}, and its limit is {limit}"


def fragments(data: bytes) -> None:
    """Message frames of any kind into an inbox; then a whole body in fragments, in any order, twice."""
    source = Source(data)
    stats = SessionStats()
    inbox = Inbox(CONFIG, stats)
    now = 0.0
    for _ in range(200):
        if not source:
            break
        choice = source.below(16)
        if choice == 0:
            _drain(inbox)
        elif choice == 1:
            now += source.number() / 10
            inbox.expire(now)
        elif choice == 2:
            inbox.attach(now)
        else:
            payload = [_message_frame(source) for _ in range(1 + source.below(3))]
            inbox.receive(payload, now)
            _check_inbox(inbox)
    _check_inbox(inbox)
    _check_reassembly(data)


def _message_frame(source: Source) -> MessageFrame:
    delivery, kind, stream = source.below(4), source.below(3), source.below(20)
    if delivery != RELIABLE:
        kind = MessageKind.EVENT  # all else does not pass the parser
    number = source.number() if source.flag() else source.number(2)
    if delivery == 0 and source.flag():
        number = -1
    if number < 0 or source.flag():
        return MessageFrame(delivery, kind, stream, number, source.blob(64), 0, 0, 0)
    parts, total_bytes = 1 + source.below(5), source.number(2)
    part = source.below(parts)
    try:
        size = fragment_size(part, parts, total_bytes)
    except DecodeError:
        total_bytes = parts * 300
        size = fragment_size(part, parts, total_bytes)
    return MessageFrame(delivery, kind, stream, number, bytes(size), part, parts, total_bytes)


def _drain(inbox: Inbox) -> None:
    while inbox.next_event() is not None:
        pass
    while inbox.next_call() is not None:
        pass


def _check_inbox(inbox: Inbox) -> None:
    check_limits(inbox)
    waiting = list(chain.from_iterable(line.early.values() for line in inbox._ordered.values()))
    held = sum(len(body) + MESSAGE_OVERHEAD_BYTES for _, body in waiting)
    assert held == inbox.reorder_bytes
    # A transfer that completes early is as large as an event may be, and there are so many of them.
    assert held <= CONFIG.max_reorder_bytes + 2 * CONFIG.max_transfers * CONFIG.max_event_bytes
    assert len(waiting) == inbox._early_events
    for reassembly in inbox._reassemblies.values():
        assert reassembly.total_bytes <= CONFIG.max_event_bytes
        assert reassembly.size_bytes <= reassembly.total_bytes


def _check_reassembly(data: bytes) -> None:
    """A body arrives whole and once, whichever way its fragments do."""
    body = (data * 9)[:9_000]
    if not body:
        return
    count = -(-len(body) // MAX_CHUNK_BYTES)
    chunk = -(-len(body) // count)
    pieces = [body[start : start + chunk] for start in range(0, len(body), chunk)]
    order = sorted(range(count), key=lambda index: data[index % len(data)])
    inbox = Inbox(CONFIG, SessionStats())
    for index in chain(order, order):
        frame = MessageFrame(RELIABLE, MessageKind.EVENT, 0, 0, pieces[index], index, count, len(body))
        assert len(frame.body) == fragment_size(index, count, len(body))
        inbox.receive([frame], 0.0)
    message = inbox.next_event()
    assert message is not None
    assert message.body == body
    assert inbox.next_event() is None


def statesync(data: bytes) -> None:
    """Parts and transfers of states in any order; then a state that goes there and comes out equal."""
    source = Source(data)
    receiver = StateReceiver(CONFIG)
    for _ in range(200):
        if not source:
            break
        before = receiver.newest
        if source.below(4) == 0:
            body = source.blob(2000)
            if source.flag():
                head = (source.number(), source.number(), source.number(8))
                base = 2**64 - 1 if source.flag() else head[0]
                body = b"".join(n.to_bytes(8, "little") for n in (base, *head[1:])) + body
            check_cost(partial(receiver.receive_transfer, body), len(body))
        else:
            parts = 1 + source.below(3)
            is_full = source.flag()
            newest = source.number(8 if source.below(16) == 0 else 1)
            distance = FULL if is_full else source.below(8)
            if not is_full:
                newest &= 0xFFFF_FFFF
            part = source.below(parts)
            blob = _state_blob(source)
            received = receiver.receive_part(newest, distance, part, parts, source.number(8), blob)
            if received is not None:
                assert received.state.time_order == receiver.newest
                assert received.state.game_status in (0, 1)
        if before is not None:
            assert receiver.newest is not None
            assert receiver.newest >= before
        check_limits(receiver)
    _check_state_round_trip(data)


def names(data: bytes) -> None:
    """A table of the state, changes that use it, and a table of types of events."""
    source = Source(data)
    schema = StateSchema({"e": {ANY: {"x": Fixed(0.5, 0, 100), "hp": UInt8(), "y": Float32()}}})
    sender = StateNames(schema, CONFIG)
    known = KnownNames(CONFIG)
    assert known.receive(0, pack(sender.entries))
    if source.flag():
        entries = source.blob(200)
        check_cost(lambda: KnownNames(CONFIG).receive(0, entries), len(entries))
        known.receive(len(sender.entries), entries)
        types = KnownEventNames(CONFIG)
        types.receive(0, entries)
        check_limits(types)
    check_limits(known)
    head = (b"", b"\x81\xfe\xc7", b"\x81\xa1e\xc7")[source.below(3)]
    blob = source.blob(1140)
    if head:  # records, so that not only the input's first bytes decide
        blob = head + bytes((min(len(blob), 255), 3)) + blob[:255]
    # A record of two bytes becomes a dict: as much as two datagrams may cost.
    check_cost(lambda: _decoded_changes(known, blob), len(blob) + 1200)
    changes = _decoded_changes(known, blob)
    if type(changes) is dict and all(type(name) is str for name in changes):
        try:
            again = pack(sender.shortened(changes, len(sender.entries)))
        except (CannotShorten, PygaseError):
            return
        assert repr(known.decode_changes(again)) == repr(changes) or "nan" in repr(changes)


def _decoded_changes(known: KnownNames, blob: bytes) -> Any:
    try:
        return known.decode_changes(blob)
    except DecodeError:
        return None


def _state_blob(source: Source) -> bytes:
    if source.flag():
        return source.blob(1140)
    changes = {"game_status": 1, "abc"[source.below(3)]: source.number(), "d": {source.number(): {}}}
    return pack(changes)


def _check_state_round_trip(data: bytes) -> None:
    try:
        value = decode(data, config=CONFIG)
    except DecodeError:
        value = data
    store = GameStateStore(GameState(value=1, old={"a": 1}))
    encoder = StateEncoder(store, config=CONFIG, server_clock_us=lambda now: int(now * 1e6))
    receiver = StateReceiver(CONFIG)
    _carry(encoder, receiver, None)
    try:
        store.push_update(GameStateUpdate(0, value=value, old={"b": [value]}))
    except PygaseError:
        return  # nested as deep as may be
    base = receiver.newest
    _carry(encoder, receiver, base)
    assert receiver.newest == store.get_game_state().time_order


def _carry(encoder: StateEncoder, receiver: StateReceiver, base: int | None) -> None:
    encoder.look(1.0)
    encoded = encoder.encode(FULL if base is None else base)
    received = None
    if encoded.parts is None:
        received = receiver.receive_transfer(encoded.transfer_body)
    else:
        distance = FULL if encoded.base is None else encoded.newest - encoded.base
        parts = deque(enumerate(encoded.parts))
        while parts:
            index, blob = parts.pop()
            received = receiver.receive_part(
                encoded.newest, distance, index, len(encoded.parts), encoded.clock_us, blob
            )
    assert received is not None
    expected, _ = encoder.store.snapshot
    assert pack(received.state.to_dict()) == pack(expected.to_dict())
