"""Frames: the bytes that PROTOCOL.md promises, and that nothing else is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pygase_gevent.protocol import frame_writer
from pygase_gevent.protocol.frames import MAX_CLOSE_TEXT_BYTES, Payload, parse_payload, peek
from pygase_gevent.protocol.layout import ONES_64, ORDERED, RELIABLE, SEQUENCED, UNRELIABLE, FrameType

VECTORS = json.loads((Path(__file__).parent / "vectors" / "frames.json").read_text("utf-8"))


def parse(payload: bytes) -> Payload | None:
    return parse_payload(payload, max_frames=512)


def name_of(vector: dict[str, Any]) -> str:
    return str(vector["name"]).replace(" ", "-")


@pytest.mark.parametrize("vector", VECTORS["good"], ids=name_of)
def test_a_good_payload_reads_as_written_down(vector: dict[str, Any]) -> None:
    parsed = parse(bytes.fromhex(vector["payload"]))
    assert parsed is not None
    largest, mask, delay = vector.get("ack", [-1, "0", 0])
    assert (parsed.ack_largest, f"{parsed.ack_mask & ONES_64:x}") == (largest, mask)
    assert round(parsed.ack_delay_s / 16e-6) == delay
    assert parsed.is_ack_eliciting == vector["eliciting"]
    assert (None if parsed.welcome is None else parsed.welcome.hex()) == vector.get("welcome")
    assert (None if parsed.close is None else list(parsed.close)) == vector.get("close")
    assert parsed.clock_request == vector.get("clock_request", -1)
    answer = parsed.clock_answer
    assert (None if answer is None else list(answer)) == vector.get("clock_answer")
    assert parsed.state_ack == vector.get("state_ack", -1)
    assert [[number, blob.hex()] for number, blob in parsed.tickets] == vector.get("tickets", [])
    assert [[*frame[:-1], frame.data.hex()] for frame in parsed.states] == vector.get("states", [])
    step = parsed.state_step
    assert (None if step is None else [*step[:-1], step.data.hex()]) == vector.get("state_step")
    for kind, names in (("event_names", parsed.event_names), ("state_names", parsed.state_names)):
        assert (None if names is None else [names[0], names[1].hex()]) == vector.get(kind)
    fragments = [[*frame[:-1], frame.data.hex()] for frame in parsed.state_fragments]
    assert fragments == vector.get("state_fragments", [])
    fields = [frame.fields() for frame in parsed.messages]
    messages = [[*values[:4], values[4].hex(), *values[5:]] for values in fields]
    assert messages == vector.get("messages", [])


@pytest.mark.parametrize("vector", VECTORS["good"], ids=name_of)
def test_a_good_payload_is_written_as_written_down(vector: dict[str, Any]) -> None:
    largest, mask, delay = vector.get("ack", [-1, "0", 0])
    signed = int.from_bytes(int(mask, 16).to_bytes(8, "little"), "little", signed=True)
    payload = frame_writer.encode_header(largest, signed, delay * 16e-6 + 1e-9)
    if "welcome" in vector:
        payload += frame_writer.encode_welcome(bytes.fromhex(vector["welcome"]))
    if "close" in vector:
        payload += frame_writer.encode_close(*vector["close"])
    for number, blob in vector.get("tickets", []):
        payload += frame_writer.encode_ticket(number, bytes.fromhex(blob))
    if "clock_request" in vector:
        payload += frame_writer.encode_clock_request(vector["clock_request"])
    if "clock_answer" in vector:
        payload += frame_writer.encode_clock_answer(*vector["clock_answer"])
    if "state_ack" in vector:
        payload += frame_writer.encode_state_ack(vector["state_ack"])
    for *numbers, data in vector.get("states", []):
        payload += frame_writer.encode_state_part(*numbers, bytes.fromhex(data))
    for transfer, part, parts, total, data in vector.get("state_fragments", []):
        prefix = frame_writer.encode_state_fragment_prefix(transfer)
        payload += frame_writer.encode_fragment(prefix, part, parts, total, bytes.fromhex(data))
    for delivery, kind, stream, number, body, part, parts, total in vector.get("messages", []):
        if parts:
            prefix = frame_writer.encode_fragment_prefix(delivery, kind, stream, number)
            payload += frame_writer.encode_fragment(prefix, part, parts, total, bytes.fromhex(body))
        else:
            payload += frame_writer.encode_message(delivery, kind, stream, number, bytes.fromhex(body))
    for kind in ("event_names", "state_names"):
        if kind in vector:
            first, data = vector[kind]
            payload += frame_writer.encode_names(getattr(FrameType, kind.upper()), first, bytes.fromhex(data))
    if "state_step" in vector:
        *numbers, data = vector["state_step"]
        payload += frame_writer.encode_state_step(*numbers, bytes.fromhex(data))
    if vector["name"] == "ping":
        payload += b"\x01"
    assert payload.hex() == vector["payload"]


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=name_of)
def test_a_bad_payload_is_refused_as_a_whole(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["payload"])
    assert parse(payload) is None
    if payload[:1] == b"\x00":  # ... whatever stands before the bad frame
        assert parse(b"\x00\x01" + payload[1:]) is None


def test_too_many_frames_are_refused() -> None:
    assert parse_payload(b"\x00" + b"\x01" * 10, max_frames=10) is not None
    assert parse_payload(b"\x00" + b"\x01" * 11, max_frames=10) is None


def test_peek_sees_welcome_and_close_at_their_places_only() -> None:
    welcome = frame_writer.encode_welcome(b"blob")
    close = frame_writer.encode_close(7, "why", 1)
    for header in (b"\x00", frame_writer.encode_header(5, 1, 0.0)):
        assert peek(header + welcome + close + b"\x01") == (b"blob", (7, "why", 1))
        assert peek(header + welcome + b"\x01" + close) == (b"blob", None)
        assert peek(header + close) == (None, (7, "why", 1))
        assert peek(header + b"\x01" + welcome) == (None, None)
        assert peek(header + welcome[:-1]) == (None, None)
    assert peek(b"") == (None, None)


def test_a_long_close_text_is_cut_between_characters() -> None:
    payload = b"\x00" + frame_writer.encode_close(1, "ü" * 150 + "x", 0)
    parsed = parse(payload)
    assert parsed is not None and parsed.close is not None
    assert parsed.close.text == "ü" * 100
    assert payload[4] == MAX_CLOSE_TEXT_BYTES


@given(st.binary(max_size=1200))
@settings(max_examples=500, deadline=None)
def test_random_bytes_never_raise(data: bytes) -> None:
    parse(data)
    peek(data)
    parse(b"\x00" + data)


@given(st.sampled_from(VECTORS["good"]), st.data())
@settings(max_examples=500, deadline=None)
def test_flipped_and_cut_payloads_never_raise(vector: dict[str, Any], data: st.DataObject) -> None:
    payload = bytearray.fromhex(vector["payload"])
    for _ in range(data.draw(st.integers(0, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    parsed = parse(cut)
    peek(cut)
    if parsed is not None:
        assert sum(len(frame.body) for frame in parsed.messages) <= len(cut)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([UNRELIABLE, SEQUENCED, RELIABLE, ORDERED]),
            st.integers(0, 2),
            st.integers(0, 1023),
            st.integers(0, 2**40),
            st.binary(max_size=300),
        ).filter(lambda message: message[1] == 0 or message[0] == RELIABLE),
        max_size=3,
    )
)
@settings(max_examples=200, deadline=None)
def test_messages_survive_the_wire(messages: list[tuple[int, int, int, int, bytes]]) -> None:
    payload = b"\x00" + b"".join(frame_writer.encode_message(*message) for message in messages)
    parsed = parse(payload)
    assert parsed is not None
    assert len(parsed.messages) == len(messages)
    for frame, (delivery, kind, stream, number, body) in zip(parsed.messages, messages, strict=True):
        bits = 16 if delivery >= RELIABLE else 32
        assert frame.number == number % 2**bits
        assert frame.stream == (stream if delivery in (SEQUENCED, ORDERED) else 0)
        assert (frame.delivery, frame.kind, frame.body) == (delivery, kind, body)
