"""What fuzzing found, each told as a story; decoder bombs are in `bombs.py`."""

from __future__ import annotations

from functools import partial

from pygase_gevent.codec import pack
from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.protocol.frame_writer import (
    encode_fragment,
    encode_message,
    encode_state_fragment_prefix,
    encode_state_part,
)
from pygase_gevent.protocol.layout import ORDERED, SEQUENCED, UNRELIABLE, MessageKind
from pygase_gevent.protocol.session import Session
from pygase_gevent.protocol.stats import DropReason
from tests.fuzz.measure import BOMB_BYTES, DATAGRAM_BYTES, peak_of
from tests.fuzz.parts_targets import CONFIG, check_limits
from tests.fuzz.session_target import End


def test_calls_and_results_that_are_not_reliable_are_refused() -> None:
    """Those in streams passed the limits of calls, streams and reordering, unreliable ones that of calls."""
    session = Session(config=CONFIG, is_server=True, now=0.0)
    session.attach(0.0)
    frames = [
        encode_message(delivery, kind, stream, number, b"body")
        for delivery in (ORDERED, SEQUENCED, UNRELIABLE)
        for kind in (MessageKind.CALL, MessageKind.RESULT)
        for stream in (0, CONFIG.max_streams, 60_000)
        for number in (0, 1, 9)
    ]
    for sequence, frame in enumerate(frames):
        session.receive_payload(sequence, b"\0" + frame, 0.0)
    assert session.stats.drops == {DropReason.MALFORMED_PAYLOAD: len(frames)}
    assert session.next_call() is None


def test_a_peer_that_acknowledges_nothing_costs_no_more_than_packets_in_flight() -> None:
    """Packets that count as lost were remembered until something newer was acknowledged."""
    end = End(True)
    now = 0.0
    end.attach(now)
    for _ in range(3 * CONFIG.max_packets_in_flight):
        now += 0.1
        end.session.send_message(
            b"tick",
            delivery=Delivery.UNRELIABLE,
            stream="A",
            retries=0,
            kind=MessageKind.EVENT,
            token=None,
            now=now,
        )
        end.turn(now)
        end.drain()
    assert end.sequence > 2 * CONFIG.max_packets_in_flight
    check_limits(end.session)


def test_a_datagram_has_a_client_apply_one_update() -> None:
    """Each of 47 deltas copied a dict of 100,000 entries: 0.6 s and 235 MiB for a datagram."""
    session = Session(config=Config(), is_server=False, now=0.0)
    session.attach(0.0)
    full = pack({"game_status": 1, "d": {number: number for number in range(10_000)}})
    header = (2**64 - 1).to_bytes(8, "little") + (1).to_bytes(8, "little") + bytes(8)
    assert session.state_receiver.receive_transfer(header + full) is not None
    deltas = [(2 + k, pack({"d": {k: -1}})) for k in range(40)]
    parts = b"".join(encode_state_part(newest, 1, 0, 1, 0, blob) for newest, blob in deltas)
    transfers = b""
    for newest, blob in deltas[:20]:
        body = b"".join(number.to_bytes(8, "little") for number in (newest - 1, newest, 0)) + blob
        transfers += encode_fragment(encode_state_fragment_prefix(newest), 0, 1, len(body), body)
    for sequence, frames in enumerate((parts, transfers)):
        payload = b"\0" + frames
        assert len(payload) <= DATAGRAM_BYTES
        cost = peak_of(partial(session.receive_payload, sequence, payload, 0.0))
        assert cost <= BOMB_BYTES
    assert session.state_receiver.newest == 1
