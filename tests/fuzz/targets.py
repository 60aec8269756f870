"""One function per parser: it takes bytes, and asserts what must hold of any."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from pygase_gevent import calls, codec
from pygase_gevent.codec import Replace
from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError
from pygase_gevent.event import Event
from pygase_gevent.protocol import frame_writer
from pygase_gevent.protocol.frames import MAX_BLOB_BYTES, MessageFrame, Payload, parse_payload, peek
from pygase_gevent.protocol.identity import (
    TICKET_BYTES,
    USER_DATA_BYTES,
    decode_claims,
    decode_ticket,
    decode_user_data,
    decode_welcome,
    encode_ticket,
    encode_user_data,
    encode_welcome,
)
from pygase_gevent.protocol.netcode.crypto import VERSION_INFO, seal_token
from pygase_gevent.protocol.netcode.packet import PRIVATE_TOKEN_BYTES
from pygase_gevent.protocol.netcode.token import (
    CONNECT_TOKEN_BYTES,
    ConnectToken,
    PrivateToken,
    read_challenge_token,
    write_challenge_token,
)
from tests.fuzz.cores_target import cores
from tests.fuzz.measure import DATAGRAM_BYTES, check_cost
from tests.fuzz.netcode_target import netcode
from tests.fuzz.parts_targets import fragments, names, statesync
from tests.fuzz.session_target import session

CONFIG = Config()
KEY = bytes(range(32))
PROTOCOL_ID = 7
CHALLENGE_PLAIN_BYTES = 284
NONCE = bytes(24)


def connect_token(data: bytes) -> None:
    """The public part, the private part and the challenge, each as authentic as an enemy could wish."""
    kind, body = data[:1], data[1:]
    public = body
    if kind != b"\0":
        public = (VERSION_INFO + body).ljust(CONNECT_TOKEN_BYTES, b"\0")[:CONNECT_TOKEN_BYTES]
    try:
        token = ConnectToken.from_bytes(public)
    except DecodeError:
        pass
    else:
        check_cost(lambda: ConnectToken.from_bytes(public), DATAGRAM_BYTES)
        written = token.to_bytes()
        assert ConnectToken.from_bytes(written) == token
    plain = body.ljust(PRIVATE_TOKEN_BYTES - 16, b"\0")[: PRIVATE_TOKEN_BYTES - 16]
    names: dict[str, Any] = {"protocol_id": PROTOCOL_ID, "expire_timestamp": 9, "nonce": NONCE}
    sealed = seal_token(plain, key=KEY, **names)
    try:
        private = PrivateToken.open(sealed, private_key=KEY, **names)
    except DecodeError:
        pass
    else:
        assert private is not None
        again = PrivateToken.open(private.seal(private_key=KEY, **names), private_key=KEY, **names)
        assert again is not None
        assert _said(again) == _said(private)
    assert PrivateToken.open(plain + bytes(16), private_key=KEY, **names) is None
    challenge = body.ljust(CHALLENGE_PLAIN_BYTES, b"\0")[:CHALLENGE_PLAIN_BYTES]
    read = read_challenge_token(challenge)
    assert read_challenge_token(write_challenge_token(*read)) == read


def _said(token: PrivateToken) -> tuple[object, ...]:
    return (
        token.client_id,
        token.timeout_seconds,
        token.server_addresses,
        token.client_to_server_key,
        token.server_to_client_key,
        token.user_data,
    )


def identity(data: bytes) -> None:
    """User data, welcome and ticket; what was read once is written and read again as the same."""
    padded = (b"PGSe" + data).ljust(USER_DATA_BYTES, b"\0")[:USER_DATA_BYTES]
    for user_data in (data, padded):
        check_cost(partial(decode_user_data, user_data, config=CONFIG), len(user_data))
        said = decode_user_data(user_data, config=CONFIG)
        if said is not None:
            assert decode_user_data(encode_user_data(said), config=CONFIG) == said
            assert isinstance(decode_claims(said.claims, CONFIG), dict)
    try:
        welcome = decode_welcome(data, config=CONFIG)
    except DecodeError:
        pass
    else:
        written = encode_welcome(welcome)
        assert len(written) <= MAX_BLOB_BYTES
        assert decode_welcome(written, config=CONFIG) == welcome
    for blob in (data, data.ljust(TICKET_BYTES, b"\0")[:TICKET_BYTES]):
        try:
            token = decode_ticket(
                blob, protocol_id=PROTOCOL_ID, server_addresses=(("127.0.0.1", 1),), unix_time=1
            )
        except DecodeError:
            continue
        assert encode_ticket(token) == blob
        assert token.create_timestamp <= token.expire_timestamp


PARSED = [name for name in dir(Payload) if not name.startswith("_")]


def frames(data: bytes) -> None:
    """A payload; and a second reader sees in it what the first does."""
    payload = data[:DATAGRAM_BYTES]
    welcome, close = peek(payload)
    check_cost(lambda: parse_payload(payload, max_frames=CONFIG.max_events_per_packet), len(payload))
    parsed = parse_payload(payload, max_frames=CONFIG.max_events_per_packet)
    if parsed is None:
        return
    if welcome is not None:
        assert parsed.welcome is not None
    if close is not None:
        assert parsed.close is not None
    bodies = [len(frame.body) for frame in parsed.messages]
    bodies += [len(frame.data) for frame in parsed.states]
    bodies += [len(frame.data) for frame in parsed.state_fragments]
    bodies += [len(parsed.state_step.data)] if parsed.state_step is not None else []
    assert sum(bodies) <= len(payload)
    written = _write(parsed)
    again = parse_payload(written, max_frames=CONFIG.max_events_per_packet)
    assert again is not None
    assert abs(again.ack_delay_s - parsed.ack_delay_s) <= 17e-6  # a step of the wire
    for name in PARSED:
        if name != "ack_delay_s":
            assert getattr(again, name) == getattr(parsed, name), name


def _write(parsed: Payload) -> bytes:
    parts = [frame_writer.encode_header(parsed.ack_largest, parsed.ack_mask, parsed.ack_delay_s)]
    if parsed.welcome is not None:
        parts.append(frame_writer.encode_welcome(parsed.welcome))
    if parsed.close is not None:
        parts.append(frame_writer.encode_close(parsed.close.code, parsed.close.text, parsed.close.flags))
    if parsed.clock_request >= 0:
        parts.append(frame_writer.encode_clock_request(parsed.clock_request))
    if parsed.clock_answer is not None:
        parts.append(frame_writer.encode_clock_answer(*parsed.clock_answer))
    if parsed.state_ack >= 0:
        parts.append(frame_writer.encode_state_ack(parsed.state_ack))
    parts += [frame_writer.encode_ticket(number, blob) for number, blob in parsed.tickets]
    parts += [frame_writer.encode_state_part(*frame) for frame in parsed.states]
    for part in parsed.state_fragments:
        prefix = frame_writer.encode_state_fragment_prefix(part.transfer)
        parts.append(frame_writer.encode_fragment(prefix, part.part, part.parts, part.total_bytes, part.data))
    parts += map(_write_message, parsed.messages)
    for kind, table in ((0x0C, parsed.event_names), (0x0D, parsed.state_names)):
        if table is not None:
            parts.append(frame_writer.encode_names(kind, *table))
    if parsed.is_ack_eliciting or parsed.has_others:
        parts += _quiet(parsed)
    if parsed.state_step is not None:
        parts.append(frame_writer.encode_state_step(*parsed.state_step))
    return b"".join(parts)


def _quiet(parsed: Payload) -> list[bytes]:
    """A ping where nothing else says what one said."""
    says = parsed.messages or parsed.states or parsed.state_step or parsed.state_fragments or parsed.tickets
    is_said = (
        says
        or parsed.event_names is not None
        or parsed.state_names is not None
        or parsed.welcome is not None
        or parsed.clock_answer is not None
    )
    if parsed.is_ack_eliciting and not is_said and parsed.clock_request < 0:
        return [b"\x01"]
    if parsed.has_others and parsed.messages and not _has_control(parsed):
        return [b"\x01"]
    return []


def _has_control(parsed: Payload) -> bool:
    lists = parsed.states or parsed.state_fragments or parsed.tickets
    single = (parsed.welcome, parsed.close, parsed.clock_answer, parsed.state_step, parsed.event_names)
    return (
        bool(lists or parsed.state_names)
        or any(it is not None for it in single)
        or max(parsed.clock_request, parsed.state_ack) >= 0
    )


def _write_message(frame: MessageFrame) -> bytes:
    if not frame.parts:
        return frame_writer.encode_message(frame.delivery, frame.kind, frame.stream, frame.number, frame.body)
    prefix = frame_writer.encode_fragment_prefix(frame.delivery, frame.kind, frame.stream, frame.number)
    return frame_writer.encode_fragment(prefix, frame.part, frame.parts, frame.total_bytes, frame.body)


def decoder(data: bytes) -> None:
    """Values of `codec`, with and without the marks of a state update."""
    body = data[1:]
    marks = data[:1] > b"\x7f"
    check_cost(lambda: _decoded(body, marks), len(body))
    value = _decoded(body, marks)
    if value is None:
        return
    written = codec.encode(value[0], config=CONFIG, marks=marks)
    assert written == codec.pack(value[0])
    again = codec.decode(written, config=CONFIG, marks=marks)
    assert codec.pack(again) == written
    if marks:
        assert _decoded(body, False) is None or not _has_marks(value[0])


def _decoded(body: bytes, marks: bool) -> tuple[Any] | None:
    try:
        return (codec.decode(body, config=CONFIG, marks=marks),)
    except DecodeError:
        return None


def _has_marks(value: Any) -> bool:
    if value is codec.DELETE or isinstance(value, Replace):
        return True
    return isinstance(value, dict) and any(map(_has_marks, value.values()))


def messages(data: bytes) -> None:
    """Events, calls and results: what an application's messages are read as."""
    check_cost(partial(_read_message, data), len(data))
    try:
        event_type = Event.peek_type(data, CONFIG)
    except DecodeError:
        event_type = None
    try:
        event = Event.from_bytes(data, CONFIG)
    except DecodeError:
        pass
    else:
        assert event.type == event_type
        written = event.to_bytes(CONFIG)
        assert Event.from_bytes(written, CONFIG).to_bytes(CONFIG) == written
    try:
        number, event = calls.decode_call(data, config=CONFIG)
    except DecodeError:
        pass
    else:
        assert number == calls.call_number(data)
        written = calls.encode_call(number, event.to_bytes(CONFIG))
        assert calls.decode_call(written, config=CONFIG)[0] == number
    open_calls = calls.OpenCalls(CONFIG)
    open_calls.open()
    open_calls.take_result(data)
    try:
        number, has_returned, value = calls.decode_result(data, config=CONFIG)
    except DecodeError:
        return
    if has_returned:
        written = calls.encode_returned(number, value, config=CONFIG)
        assert calls.encode_returned(*_value(written), config=CONFIG) == written
    else:
        assert isinstance(value, str)


def _read_message(data: bytes) -> None:
    with suppress(DecodeError):
        Event.from_bytes(data, CONFIG)


def _value(written: bytes) -> tuple[int, Any]:
    number, _, value = calls.decode_result(written, config=CONFIG)
    return number, value


TARGETS: dict[str, Callable[[bytes], None]] = {
    "codec": decoder,
    "connect_token": connect_token,
    "cores": cores,
    "fragments": fragments,
    "frames": frames,
    "identity": identity,
    "messages": messages,
    "names": names,
    "netcode": netcode,
    "session": session,
    "statesync": statesync,
}
