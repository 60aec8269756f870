"""What fuzzing found, each told as a story; decoder bombs are in `bombs.py`."""

from __future__ import annotations

from pygase_gevent.event import Delivery
from pygase_gevent.protocol.frame_writer import encode_message
from pygase_gevent.protocol.layout import ORDERED, SEQUENCED, MessageKind
from pygase_gevent.protocol.session import Session
from pygase_gevent.protocol.stats import DropReason
from tests.fuzz.parts_targets import CONFIG, check_limits
from tests.fuzz.session_target import End


def test_calls_and_results_come_in_no_stream() -> None:
    """Those in streams passed the limits of calls, of streams and of reordering."""
    session = Session(config=CONFIG, is_server=True, now=0.0)
    session.attach(0.0)
    frames = [
        encode_message(delivery, kind, stream, number, b"body")
        for delivery in (ORDERED, SEQUENCED)
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
