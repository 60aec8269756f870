"""Two sessions over a bad link, in virtual time: what the session layer promises as a whole."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import msgpack
import pytest
from session_pair import LinkConditions, Pair, Side, latencies, number_body, percentile

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, MessageTooLargeError, QueueFullError
from pygase_gevent.event import Delivery, Event
from pygase_gevent.gamestate import GameState, GameStateStore, GameStateUpdate
from pygase_gevent.protocol.frame_writer import encode_header, encode_names, encode_state_ack
from pygase_gevent.protocol.layout import MASK_ONES, FrameType
from pygase_gevent.protocol.session import (
    CloseReceived,
    EventSink,
    MessageKind,
    Session,
    SessionStats,
    TicketReceived,
    WelcomeReceived,
)
from pygase_gevent.protocol.statesync import StateEncoder
from pygase_gevent.schema import ANY, Fixed, UInt8

FIGURES = ("_received", "_sent", "_lost", "_resent", "_along", "_discarded", "probes")
BAD = LinkConditions(loss=0.2, delay_s=0.05, jitter_s=0.02)
UGLY = LinkConditions(loss=0.1, delay_s=0.05, jitter_s=0.04, duplication=0.05, corruption=0.02)


def numbers(pair: Pair, side: Side) -> list[int]:
    return [int.from_bytes(body[:8], "big") for body in pair.bodies(side)]


# --- events -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "p50_s", "p99_s"), [(0.0, 0.075, 0.1), (0.05, 0.08, 0.25), (0.2, 0.15, 0.4)]
)
def test_ordered_events_arrive_once_in_order_and_soon(loss: float, p50_s: float, p99_s: float) -> None:
    waits: list[float] = []
    for seed in range(5):
        pair = Pair(seed=seed, link=LinkConditions(loss=loss, delay_s=0.05, jitter_s=0.02))
        pair.run(0.5)
        sent_at: dict[bytes, float] = {}

        def dispatch(index: int, pair: Pair = pair, sent_at: dict[bytes, float] = sent_at) -> None:
            body = number_body(index)
            sent_at[body[:8]] = pair.now
            pair.send(pair.client, body, token=index)

        pair.every(0.02, 500, dispatch)
        pair.run(15)
        assert numbers(pair, pair.server) == list(range(500))
        assert sorted(pair.client.acked) == list(range(500))
        assert pair.client.lost == []
        waits += latencies(pair, pair.server, sent_at)
    assert percentile(waits, 0.5) < p50_s
    assert percentile(waits, 0.99) < p99_s


@pytest.mark.parametrize("seed", range(5))
def test_every_mode_keeps_its_promise_on_an_ugly_link(seed: int) -> None:
    pair = Pair(seed=seed, link=UGLY)
    modes = list(Delivery)
    sent: dict[Delivery, list[bytes]] = {mode: [] for mode in modes}

    def dispatch(index: int) -> None:
        mode = modes[index % 4]
        body = bytes([index % 4]) + index.to_bytes(4, "big")
        sent[mode].append(body)
        pair.send(pair.server, body, mode, stream=f"{index % 3}", token=index, retries=index % 2 * 3)

    pair.every(0.004, 2000, dispatch)
    pair.run(20)
    got = pair.bodies(pair.client)
    by_mode = {mode: [body for body in got if body[0] == place] for place, mode in enumerate(modes)}
    assert len(got) == len(set(got))  # nothing twice, whatever the mode
    assert sorted(by_mode[Delivery.RELIABLE]) == sent[Delivery.RELIABLE]
    for mode in (Delivery.RELIABLE_ORDERED, Delivery.SEQUENCED):
        for stream in range(3):
            line = [body for body in by_mode[mode] if int.from_bytes(body[1:], "big") % 3 == stream]
            assert line == sorted(line)
    assert sorted(by_mode[Delivery.RELIABLE_ORDERED]) == sent[Delivery.RELIABLE_ORDERED]
    assert len(by_mode[Delivery.UNRELIABLE]) > 400
    # Each token comes back exactly once, one way or the other.
    assert sorted(pair.server.acked + pair.server.lost) == list(range(2000))  # type: ignore[type-var]
    reliable = [index for index in range(2000) if index % 4 >= 2]
    assert set(reliable) <= set(pair.server.acked)


def test_a_single_lost_event_does_not_wait_for_a_full_second() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.05))
    pair.run(2)
    pair.link.is_cut = True
    sent_at = pair.now
    pair.send(pair.client, b"lonely")
    pair.link.is_cut = False
    pair.run(2)
    assert pair.bodies(pair.server) == [b"lonely"]
    assert pair.server.received[0][0] - sent_at < 0.3


def test_an_event_leaves_at_once_and_alone() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.01))
    pair.run(1)
    packets = pair.client.next_sequence
    pair.send(pair.client, b"now", Delivery.UNRELIABLE)
    assert pair.client.next_sequence == packets + 1


def test_streams_do_not_hold_each_other_up() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.05))
    pair.run(1)
    pair.link.is_cut = True
    pair.send(pair.client, b"lost first", stream="A")
    pair.link.is_cut = False
    pair.send(pair.client, b"second", stream="A")
    pair.send(pair.client, b"other", stream="B")
    pair.run(0.06)
    assert pair.bodies(pair.server) == [b"other"]
    pair.run(1)
    assert pair.bodies(pair.server) == [b"other", b"lost first", b"second"]


def test_a_newer_sequenced_message_takes_the_place_of_one_that_waits() -> None:
    pair = Pair(attach=False)
    for index in range(10):
        pair.send(pair.client, b"%d" % index, Delivery.SEQUENCED, token=index)
    assert pair.client.session.queued_events == 1
    pair.attach()
    pair.run(1)
    assert pair.bodies(pair.server) == [b"9"]
    assert pair.client.lost == list(range(9))
    assert pair.client.acked == [9]


def test_retries_are_bounded_and_a_timeout_is_never_over_a_second() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.05))
    pair.run(1)
    pair.link.is_cut = True
    pair.send(pair.client, b"into the void", Delivery.UNRELIABLE, retries=2, token="T")
    start = pair.now
    pair.run(10, until=lambda: bool(pair.client.lost))
    assert pair.client.lost == ["T"]
    assert pair.now - start <= 3.01  # the first and two more, each at most a second
    pair.link.is_cut = False
    pair.run(5)
    assert pair.bodies(pair.server) == []
    assert pair.client.session.queued_events == 0


@pytest.mark.parametrize("mode", [Delivery.UNRELIABLE, Delivery.SEQUENCED])
def test_retried_messages_mostly_arrive_and_never_twice(mode: Delivery) -> None:
    pair = Pair(seed=3, link=BAD)
    pair.every(
        0.02, 300, lambda index: pair.send(pair.client, number_body(index), mode, retries=5, token=index)
    )
    pair.run(15)
    got = numbers(pair, pair.server)
    assert len(got) == len(set(got))
    assert len(pair.client.acked) + len(pair.client.lost) == 300
    if mode is Delivery.UNRELIABLE:
        assert len(got) == 300
    else:
        assert got == sorted(got)


def test_calls_and_results_come_out_apart_results_first() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.01))
    for kind in (MessageKind.CALL, MessageKind.RESULT):
        pair.send(pair.client, kind.name.encode(), Delivery.RELIABLE, kind=kind)
    pair.send(pair.client, b"event", Delivery.RELIABLE)
    pair.run(0.5)
    assert pair.bodies(pair.server) == [b"event"]
    assert sorted(pair.server.calls) == [(MessageKind.CALL, b"CALL"), (MessageKind.RESULT, b"RESULT")]


# --- errors at the call -----------------------------------------------------------------------------


def test_bad_input_is_refused_at_the_call() -> None:
    pair = Pair(attach=False, config=Config(max_queued_events=3, max_event_bytes=100, max_streams=2))
    with pytest.raises(MessageTooLargeError, match="101 bytes is over the limit of 100"):
        pair.send(pair.client, bytes(101))
    with pytest.raises(ArgumentError, match="retries must be from 0 to 1000"):
        pair.send(pair.client, b"", Delivery.UNRELIABLE, retries=1001)
    for stream in "AB":
        pair.send(pair.client, b"", stream=stream)
    with pytest.raises(ArgumentError, match="max_streams"):
        pair.send(pair.client, b"", stream="C")
    pair.send(pair.client, b"", Delivery.RELIABLE)
    with pytest.raises(QueueFullError, match="3 events wait"):
        pair.send(pair.client, b"", Delivery.RELIABLE)
    assert pair.client.session.queued_events == 3
    # Calls have a bound of their own, so that an answer finds room when events do not.
    pair.send(pair.client, b"", Delivery.RELIABLE, kind=MessageKind.RESULT)


# --- large messages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(Delivery))
def test_a_large_event_arrives_in_every_mode(mode: Delivery) -> None:
    pair = Pair(seed=5, link=BAD)
    bodies = [bytes([index]) * size for index, size in enumerate((1160, 1161, 2321, 50_000, 100_000))]
    for body in bodies:
        pair.send(pair.client, body, mode, stream=str(len(body)), token=len(body))
    pair.run(60, until=lambda: len(pair.client.acked) == len(bodies))
    got = pair.bodies(pair.server)
    large = [body for body in bodies if len(body) > 1160]
    assert sorted(body for body in got if len(body) > 1160) == sorted(large)
    assert pair.client.session.queued_bytes == 0


def test_a_mebibyte_at_ten_percent_loss_lets_small_events_pass() -> None:
    pair = Pair(seed=7, link=LinkConditions(loss=0.1, delay_s=0.05, jitter_s=0.02))
    pair.run(1)
    big = pair.random.randbytes(1024 * 1024)
    pair.send(pair.client, big, Delivery.RELIABLE, token="big")
    sent_at: dict[bytes, float] = {}

    def dispatch(index: int) -> None:
        body = number_body(index)
        sent_at[body[:8]] = pair.now
        pair.send(pair.client, body)

    pair.every(0.02, 3000, dispatch)
    start = pair.now
    pair.run(60, until=lambda: "big" in pair.client.acked)
    assert big in pair.bodies(pair.server)
    assert pair.now - start < 20
    small = latencies(pair, pair.server, sent_at)
    assert len(small) > 100
    assert percentile(small, 0.99) < 3 * 0.1
    assert numbers_in_order(small_numbers(pair, sent_at))


def small_numbers(pair: Pair, sent_at: dict[bytes, float]) -> list[int]:
    return [int.from_bytes(body[:8], "big") for body in pair.bodies(pair.server) if body[:8] in sent_at]


def numbers_in_order(values: list[int]) -> bool:
    return values == list(range(len(values)))


def test_transfers_share_fairly() -> None:
    pair = Pair(seed=9, link=LinkConditions(delay_s=0.02, bytes_per_s=500_000))
    pair.run(0.5)
    for index in range(4):
        pair.send(pair.client, bytes([index]) * 200_000, Delivery.RELIABLE, token=index)
    pair.run(60, until=lambda: len(pair.client.acked) == 4)
    ends = [when for when, body in pair.server.received]
    assert ends[-1] - ends[0] < 0.35 * (ends[-1] - 100.5)


def test_a_large_ordered_message_keeps_its_place() -> None:
    pair = Pair(seed=2, link=BAD)
    bodies = [b"before", b"L" * 30_000, b"after", b"M" * 5_000, b"end"]
    for body in bodies:
        pair.send(pair.client, body)
    pair.run(20)
    assert pair.bodies(pair.server) == bodies


def test_bulk_beyond_the_unpaced_packets_yields_to_the_window() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.05))
    pair.run(0.5)
    before = pair.client.next_sequence
    for index in range(3000):
        pair.send(pair.client, number_body(index, 400), flush=False)
    pair.flush(pair.client)
    burst = pair.client.next_sequence - before
    assert 16 <= burst <= 16 + 15  # unpaced packets, and a first window of 12,000 bytes
    pair.run(20)
    assert numbers(pair, pair.server) == list(range(3000))


# --- back-pressure ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Delivery.RELIABLE, Delivery.RELIABLE_ORDERED])
def test_a_full_inbox_slows_the_sender_and_loses_nothing(mode: Delivery) -> None:
    pair = Pair(seed=4, link=LinkConditions(loss=0.05, delay_s=0.02), config=Config(max_received_events=50))
    pair.server.drains = False
    for index in range(400):
        pair.send(pair.client, number_body(index), mode, token=index)
    pair.run(3)
    session = pair.server.session
    assert session.stats.drops["inbox_full"] > 0
    assert len(pair.client.acked) <= 60
    assert session.loss < 0.5  # the other direction is not disturbed
    waiting = 0
    while session.next_message() is not None:
        waiting += 1
    assert waiting <= 50 + 30
    pair.server.drains = True
    pair.run(20)
    assert waiting + len(pair.server.received) == 400
    assert len(pair.client.acked) == 400


@pytest.mark.parametrize("size_bytes", [900, 5000])
@pytest.mark.parametrize("mode", [Delivery.RELIABLE, Delivery.RELIABLE_ORDERED])
def test_the_bytes_that_wait_are_bounded_too(mode: Delivery, size_bytes: int) -> None:
    config = Config(max_event_bytes=10_000, max_received_bytes=20_000, max_reorder_bytes=10_000)
    pair = Pair(seed=4, link=LinkConditions(loss=0.05, delay_s=0.02), config=config)
    pair.server.drains = False
    for index in range(100):
        pair.send(pair.client, number_body(index, size_bytes), mode, token=index)
    pair.run(3)
    session = pair.server.session
    waiting = []
    while (message := session.next_message()) is not None:
        waiting.append(len(message.body))
    assert session.stats.drops["inbox_full"] > 0
    assert 10_000 < sum(waiting) <= 20_000 + config.max_reorder_bytes
    pair.server.drains = True
    pair.run(30)
    assert len(waiting) + len(pair.server.received) == 100
    assert len(pair.client.acked) == 100


def test_the_bytes_of_calls_that_wait_are_bounded_too() -> None:
    config = Config(max_event_bytes=10_000, max_received_bytes=20_000)
    pair = Pair(link=LinkConditions(delay_s=0.02), config=config)
    pair.server.drains = False
    pair.server.drains_calls = False
    for index in range(20):
        pair.send(
            pair.client, number_body(index, 5000), Delivery.RELIABLE, kind=MessageKind.CALL, token=index
        )
    pair.run(3)
    assert len(pair.client.acked) <= 6
    pair.server.drains_calls = True
    pair.run(30)
    assert len(pair.server.calls) == 20


def test_acks_state_and_clock_are_taken_from_a_payload_whose_events_are_not() -> None:
    store = GameStateStore(GameState(score=0))
    pair = Pair(link=LinkConditions(delay_s=0.02), config=Config(max_received_events=1))
    encoder = StateEncoder(store, config=pair.config, server_clock_us=lambda now: int(now * 1e6))
    pair.client.drains = False
    pair.run(0.5)
    for index in range(20):
        store.push_update(GameStateUpdate(0, score=index + 1))
        pair.server.session.queue_state(encoder, pair.now)
        pair.send(pair.server, number_body(index), Delivery.RELIABLE)
        pair.send(pair.client, b"x", Delivery.RELIABLE, token=index)
        pair.run(0.05)
    assert pair.client.session.stats.drops["inbox_full"] > 0
    assert pair.client.states[-1][1].state.score == 20
    assert len(pair.client.acked) >= 18
    pair.client.drains = True
    pair.run(5)
    assert sorted(numbers(pair, pair.client)) == list(range(20))


def test_calls_pass_a_full_inbox() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.02), config=Config(max_received_events=1))
    pair.server.drains = False
    pair.run(0.2)
    for index in range(10):
        pair.send(pair.client, number_body(index), Delivery.RELIABLE, flush=False)
    pair.send(pair.client, b"answer", Delivery.RELIABLE, kind=MessageKind.RESULT, token="answer")
    pair.run(0.3)
    pair.send(pair.client, b"answer 2", Delivery.RELIABLE, kind=MessageKind.RESULT)
    pair.run(2)
    assert [body for _, body in pair.server.calls] == [b"answer", b"answer 2"]


def test_an_ordered_line_that_fills_the_reorder_room_still_gets_its_head() -> None:
    config = Config(max_reorder_bytes=2000)
    pair = Pair(link=LinkConditions(delay_s=0.02), config=config, client_config=Config())
    pair.run(0.5)
    pair.link.is_cut = True
    pair.send(pair.client, number_body(0, 100))
    pair.link.is_cut = False
    for index in range(1, 200):
        pair.send(pair.client, number_body(index, 100))
    pair.run(30)
    assert pair.server.session.stats.drops["reorder_limit"] > 0
    assert numbers(pair, pair.server) == list(range(200))


# --- the life of a session --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_resumes_at_any_moment_deliver_everything_once(seed: int) -> None:
    pair = Pair(seed=seed, link=LinkConditions(loss=0.15, delay_s=0.04, jitter_s=0.03, duplication=0.05))
    total = 200
    large = {50: 30_000, 120: 90_000}

    def dispatch(index: int) -> None:
        mode = Delivery.RELIABLE_ORDERED if index % 2 else Delivery.RELIABLE
        size = large.get(index, 30)
        for side in (pair.client, pair.server):
            pair.send(side, number_body(index, size), mode, token=index)

    pair.every(0.02, total, dispatch)
    for _ in range(6):
        pair.run(pair.random.uniform(0.01, 0.8))
        pair.detach()
        pair.run(pair.random.choice([0.0, 0.01, 0.5, 1.5]))
        pair.attach()
    pair.run(30)
    for side in (pair.client, pair.server):
        got = numbers(pair, side)
        assert sorted(got) == list(range(total))
        ordered = [number for number in got if number % 2]
        assert ordered == sorted(ordered)
        assert sorted(side.acked) == list(range(total))  # type: ignore[type-var]
        assert side.lost == []
        assert side.session.queued_events == 0


def test_retried_messages_stay_single_across_a_resume() -> None:
    pair = Pair(seed=1, link=LinkConditions(delay_s=0.05))
    pair.run(0.5)
    pair.send(pair.client, b"seen but not acked", Delivery.UNRELIABLE, retries=3, token="T")
    pair.run(0.051)
    assert pair.bodies(pair.server) == [b"seen but not acked"]
    pair.detach()
    pair.attach()
    pair.run(1)
    assert pair.bodies(pair.server) == [b"seen but not acked"]
    assert pair.client.acked == ["T"]


def test_while_detached_unreliable_messages_live_for_a_second_and_reliable_ones_stay() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.01))
    pair.run(0.5)
    pair.detach()
    for mode in Delivery:
        pair.send(pair.client, mode.value.encode(), mode, token=mode.value)
    pair.run(0.8)
    assert pair.client.lost == []
    pair.run(0.8)
    assert sorted(pair.client.lost) == ["sequenced", "unreliable"]  # type: ignore[type-var]
    pair.attach()
    pair.run(1)
    assert sorted(pair.bodies(pair.server)) == [b"reliable", b"reliable_ordered"]


def test_what_is_dispatched_before_the_first_connection_waits_for_it() -> None:
    pair = Pair(attach=False, link=LinkConditions(delay_s=0.01))
    pair.send(pair.client, b"early", Delivery.UNRELIABLE)
    assert pair.client.session.next_timer() is None
    pair.run(20)
    pair.attach()
    pair.run(1)
    assert pair.bodies(pair.server) == [b"early"]


def test_discard_gives_every_message_back() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.05))
    pair.link.is_cut = True
    for index, (mode, size) in enumerate(itertools.product(Delivery, (10, 5000))):
        pair.send(pair.client, bytes(size), mode, stream=str(index), token=index)
    pair.run(0.01)
    assert pair.client.session.discard(pair.now) == 7  # the small unreliable one has left for good
    pair.detach()
    pair.drain(pair.client)
    assert sorted(pair.client.lost) == list(range(8))  # type: ignore[type-var]
    assert pair.client.session.queued_bytes == 0
    pair.link.is_cut = False
    pair.attach()
    pair.run(1)
    assert pair.bodies(pair.server) == []


# --- control ----------------------------------------------------------------------------------------


def test_welcome_tickets_and_close_arrive_on_a_bad_link() -> None:
    pair = Pair(seed=11, link=BAD)
    server = pair.server.session
    server.queue_welcome(b"W" * 255)
    for index in range(3):
        server.queue_ticket(bytes([index]) * 1124)
    pair.flush(pair.server)
    pair.run(3)
    kinds = [type(event) for event in pair.client.events]
    assert kinds.count(WelcomeReceived) == 1
    tickets = [event.blob[0] for event in pair.client.events if isinstance(event, TicketReceived)]
    assert sorted(tickets) == [0, 1, 2]
    server.queue_close(3, "kicked: ü", 2, pair.now)
    for _ in range(4):
        pair.flush(pair.server)
        pair.run(0.05)
    pair.run(0.2)
    assert CloseReceived(3, "kicked: ü", 2) in pair.client.events


def test_the_newest_tickets_take_the_place_of_the_oldest() -> None:
    config = Config(resume_tickets=3)
    pair = Pair(link=LinkConditions(delay_s=0.01), config=config)
    pair.run(0.1)
    pair.link.is_cut = True
    for index in range(10):
        pair.server.session.queue_ticket(bytes((index,)) * 1000)
    pair.run(1)
    pair.link.is_cut = False
    pair.run(5)
    tickets = [event.blob for event in pair.client.events if isinstance(event, TicketReceived)]
    assert sorted(tickets) == [bytes((index,)) * 1000 for index in range(4, 10)]


def test_the_welcome_is_the_first_frame_until_it_is_acknowledged() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.05))
    pair.server.session.queue_welcome(b"hello")
    payloads: list[bytes] = []

    def take(payload: bytes) -> int:
        payloads.append(payload)
        return pair._carry(pair.server, payload)

    for index in range(3):
        pair.send(pair.server, number_body(index), flush=False)
        pair.server.session.send_payloads(pair.now, take)
    assert all(b"\x03\x05hello" in payload[:23] for payload in payloads)
    pair.run(0.5)
    payloads.clear()
    pair.send(pair.server, b"later", flush=False)
    pair.server.session.send_payloads(pair.now, take)
    assert payloads and b"hello" not in payloads[0]


def test_large_things_do_not_wait_for_a_long_welcome() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.05))
    pair.server.session.queue_welcome(b"W" * 255)
    pair.send(pair.server, b"B" * 50_000, Delivery.RELIABLE)
    pair.send(pair.server, b"S" * 1160, Delivery.RELIABLE)
    pair.run(0.052)
    assert b"S" * 1160 in pair.bodies(pair.client)
    pair.run(2)
    assert len(pair.client.received) == 2


def test_an_idle_session_keeps_alive_and_says_little() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.02))
    pair.run(2)
    before = pair.client.next_sequence, pair.server.next_sequence
    pair.run(10)
    for side, start in zip((pair.client, pair.server), before, strict=True):
        packets = side.next_sequence - start
        assert 40 <= packets <= 65  # 4 a second, and the clock


def test_the_client_knows_the_servers_clock() -> None:
    pair = Pair(seed=6, link=BAD)
    assert pair.client.session.server_time(pair.now) is None
    pair.run(3)
    last = 0.0
    for _ in range(200):
        pair.run(0.05)
        estimate = pair.client.session.server_time(pair.now)
        assert estimate is not None
        assert abs(estimate - (pair.now + 1000)) < 0.02
        assert estimate > last
        last = estimate


def test_figures() -> None:
    pair = Pair(seed=8, link=LinkConditions(loss=0.2, delay_s=0.05, jitter_s=0.0))
    pair.every(0.02, 1000, lambda index: pair.send(pair.client, number_body(index)))
    pair.run(25)
    session = pair.client.session
    assert 0.09 < session.latency < 0.16  # a few last probes, some of whose acknowledgements were lost
    assert session.jitter < 0.08
    assert 0.05 < session.loss < 0.45
    stats = session.stats
    assert stats.packets_sent == len(pair.client.sizes)
    assert stats.bytes_sent == sum(pair.client.sizes)
    assert 100 < stats.packets_lost < 350
    assert stats.messages_ridden_along > 0


def test_what_rides_along_keeps_to_its_share() -> None:
    pair = Pair(seed=8, link=BAD)
    pair.run(1)
    pair.every(0.02, 1000, lambda index: pair.send(pair.client, number_body(index)))
    pair.run(25)
    stats = pair.client.session.stats
    ridden = stats.messages_ridden_along * 46
    wire = stats.bytes_sent + stats.packets_sent * 47
    assert ridden <= pair.config.redundancy_floor_bytes_per_s * 25 + 2400
    assert ridden > 0.2 * wire  # so little that it is the floor which counts


def test_what_rides_along_beside_much_else_keeps_to_its_share() -> None:
    config = Config(redundancy_floor_bytes_per_s=100.0)
    pair = Pair(seed=8, link=BAD, config=config)
    pair.run(1)
    pair.every(0.02, 1000, lambda index: pair.send(pair.client, number_body(index)))
    pair.run(25)
    stats = pair.client.session.stats
    ridden = stats.messages_ridden_along * 46
    wire = stats.bytes_sent + stats.packets_sent * 47
    assert ridden <= config.redundancy_share * wire + 2400


# --- state ------------------------------------------------------------------------------------------


def moving_state(pair: Pair, entities: int, ticks: int) -> tuple[GameStateStore, StateEncoder]:
    state = {str(index): {"x": 0, "y": 0.5, "hp": 100} for index in range(entities)}
    store = GameStateStore(GameState(entities=state, tick=0))
    encoder = StateEncoder(store, config=pair.config, server_clock_us=lambda now: int(now * 1e6))

    def tick(index: int) -> None:
        moved = {str((index * 7 + k) % entities): {"x": index} for k in range(10)}
        store.push_update(GameStateUpdate(0, entities=moved, tick=index + 1))
        pair.server.session.queue_state(encoder, pair.now)
        pair.flush(pair.server)

    pair.every(0.025, ticks, tick)
    return store, encoder


def test_state_follows_on_a_bad_link_and_ends_equal() -> None:
    pair = Pair(seed=12, link=BAD)
    store, _ = moving_state(pair, 50, 400)
    pair.run(10)
    stalls = [b[0] - a[0] for a, b in itertools.pairwise(pair.client.states)]
    assert percentile(stalls, 0.99) < 0.3
    pair.run(2)
    latest = pair.client.states[-1][1].state
    assert latest.to_dict() == store.get_game_state().to_dict()
    times = [state.state.time_order for _, state in pair.client.states]
    assert times == sorted(times)


def test_on_a_path_that_loses_nothing_each_change_is_sent_once() -> None:
    sizes = {}
    for distrust_s in (0.001, 1e6):
        config = Config(state_distrust_s=distrust_s)
        pair = Pair(seed=12, config=config, link=LinkConditions(delay_s=0.05))
        store, _ = moving_state(pair, 50, 200)
        if distrust_s > 1:
            pair.server.session.state_sender.handle_loss(pair.now)
        pair.run(7)
        assert pair.client.states[-1][1].state.to_dict() == store.get_game_state().to_dict()
        assert not pair.client.session.stats.drops
        sizes[distrust_s] = sum(pair.server.sizes)
    assert sizes[0.001] < sizes[1e6] * 0.5


@pytest.mark.parametrize("loss", [0.005, 0.02, 0.1])
def test_states_on_a_path_that_loses_come_as_soon_as_with_acknowledged_bases(loss: float) -> None:
    staleness = {}
    for distrust_s in (Config().state_distrust_s, 1e6):
        late: list[float] = []
        for seed in range(2):
            link = LinkConditions(loss=loss, delay_s=0.04, jitter_s=0.01)
            pair = Pair(seed=seed, config=Config(state_distrust_s=distrust_s), link=link)
            moving_state(pair, 50, 1200)
            if distrust_s > 10:
                pair.server.session.state_sender.handle_loss(pair.now)
            pair.run(30)
            late += [b[0] - a[0] for a, b in itertools.pairwise(pair.client.states)]
        staleness[distrust_s] = percentile(late, 0.99)
    usual, acknowledged = staleness.values()
    assert usual <= acknowledged + 0.03  # a tick


def test_on_a_path_that_loses_the_newest_state_rides_along_with_acknowledgements() -> None:
    ages = [age for seed in range(3) for age in ages_of_state(seed)]
    # Each update once, forty times a second, would give .122 to .135.
    assert percentile(ages, 0.99) < 0.118


def ages_of_state(seed: int) -> list[float]:
    """Of a client's newest state, in each millisecond, while it sends events over a bad link."""
    pair = Pair(seed=seed, link=BAD)
    moving_state(pair, 50, 800)
    pair.every(0.02, 1000, lambda i: pair.send(pair.client, number_body(i), Delivery.RELIABLE_ORDERED))
    pair.run(20)
    ages: list[float] = []
    for (begin, seen), (end, _) in itertools.pairwise(pair.client.states):
        age = begin - seen.server_time
        ages += [age + step * 0.001 for step in range(round((end - begin) * 1000))]
    return ages


def test_names_and_declared_numbers_arrive_on_a_bad_link_and_over_a_resume() -> None:
    pair = Pair(seed=15, link=BAD)
    schema = {"entities": {ANY: {"x": Fixed(0.5, 0, 1000), "hp": UInt8()}}}
    store = GameStateStore(GameState(entities={}), state_schema=schema)
    encoder = StateEncoder(store, config=pair.config, server_clock_us=lambda now: int(now * 1e6))

    def tick(index: int) -> None:
        moved = {number: {"x": index * 0.7, "hp": index % 256} for number in range(index % 50)}
        store.push_update(GameStateUpdate(0, entities=moved, score={"left": index, "right": -index}))
        pair.server.session.queue_state(encoder, pair.now)
        pair.flush(pair.server)

    pair.every(0.025, 400, tick)
    pair.run(4)
    pair.detach()
    pair.run(1)
    pair.attach()
    pair.run(8)
    assert pair.client.states[-1][1].state.to_dict() == store.get_game_state().to_dict()
    assert {"entities", "score", "left", "right"} < set(encoder.names.entries[1:])
    assert pair.server.session.state_sender.view == len(encoder.names.entries)


def test_a_large_state_arrives_while_the_game_goes_on() -> None:
    pair = Pair(seed=13, link=LinkConditions(loss=0.1, delay_s=0.05, jitter_s=0.02))
    store, _ = moving_state(pair, 5000, 600)
    pair.run(17)
    assert store.get_game_state().to_dict() == pair.client.states[-1][1].state.to_dict()
    assert len(pair.client.states) > 50


def test_state_goes_on_after_a_resume_without_a_full_one() -> None:
    pair = Pair(seed=14, link=BAD)
    store, _ = moving_state(pair, 50, 400)
    pair.run(4)
    pair.detach()
    pair.run(1)
    pair.attach()
    pair.run(8)
    assert pair.client.states[-1][1].state.to_dict() == store.get_game_state().to_dict()


# --- nonsense ---------------------------------------------------------------------------------------


def test_nonsense_from_an_authenticated_peer_is_counted_and_dropped() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.02))
    pair.run(0.5)
    session = pair.server.session
    bad = [
        b"",
        b"\x80",
        b"\x00\x7f",
        b"\x01\x00\xff\xff\xff",  # acknowledges what was never sent
        b"\x00\x03\x01W",  # a client does not say welcome
        b"\x00\x92\x00\x00\x00\x00\x00\x00\x00",
    ]
    for payload in bad:
        session.receive_payload(10_000, payload, pair.now)
    assert sum(session.stats.drops.values()) == len(bad)
    assert session.stats.drops["malformed_payload"] == 4
    assert session.stats.drops["bad_ack"] == 1
    assert session.stats.drops["wrong_direction"] == 1
    pair.send(pair.client, b"still well")
    pair.run(1)
    assert pair.bodies(pair.server) == [b"still well"]


def test_mutated_payloads_never_raise_and_never_deliver_twice() -> None:
    pair = Pair(seed=21, link=LinkConditions(delay_s=0.02))
    rng = pair.random
    recorded: list[bytes] = []
    original = pair._carry

    def carry(side: Side, payload: bytes) -> int:
        recorded.append(payload)
        return original(side, payload)

    pair._carry = carry  # type: ignore[method-assign]
    for index in range(40):
        for mode in Delivery:
            pair.send(pair.client, number_body(index, rng.choice([8, 300, 3000])), mode, retries=index % 2)
    moving_state(pair, 20, 20)
    pair.run(3)
    for is_server in (False, True):
        from pygase_gevent.protocol.session import Session

        session = Session(config=Config(), is_server=is_server, now=pair.now)
        session.attach(pair.now)
        for sequence in range(6000):
            data = bytearray(rng.choice(recorded))
            for _ in range(rng.randrange(4)):
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
            if rng.random() < 0.2:
                del data[rng.randrange(len(data)) :]
            session.receive_payload(sequence, bytes(data), pair.now)
            session.send_payloads(pair.now, lambda payload, sequence=sequence: sequence)
            session.next_event()
            session.next_message()
            session.next_call()
        assert sum(session.stats.drops.values()) > 0


def test_the_same_seed_gives_the_same_bytes() -> None:
    def trace() -> list[int]:
        pair = Pair(seed=33, link=UGLY)
        for index in range(100):
            pair.send(pair.client, number_body(index, 50 + index * 20), list(Delivery)[index % 4])
        pair.run(5)
        return pair.client.sizes + pair.server.sizes

    assert trace() == trace()


def test_two_sides_that_keep_a_rate_send_no_acknowledgements_apart() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.0307))
    pair.run(1.0)
    sides = (pair.client, pair.server)
    before = [side.session.stats.packets_sent for side in sides]
    for _ in range(80):
        for side in sides:
            pair.send(side, b"40 Hz")
        pair.run(0.025)
    for side, sent in zip(sides, before, strict=True):
        assert side.session.stats.packets_sent - sent <= 84  # the clock is asked for, too


def test_a_side_whose_steps_come_late_sends_no_acknowledgements_apart_either() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.0307))
    pair.run(1.0)
    before = pair.server.session.stats.packets_sent
    for step in range(90):
        pair.send(pair.client, b"40 Hz")
        if step % 3:
            pair.send(pair.server, b"as far as it keeps up")
        pair.run(0.025)
    assert pair.server.session.stats.packets_sent - before <= 60 + 4


@pytest.mark.parametrize("seed", range(20))
def test_a_steady_payload_is_taken_as_one_with_the_same_frames_in_another_order(seed: int) -> None:
    """What a client that plays sends has a short way of its own; its frames turned round have none."""
    randomness = random.Random(seed)
    config = Config(max_received_events=randomness.choice((3, 1000)), learned_after=1)
    sessions = [Session(config=config, is_server=True, now=0.0) for _ in range(2)]
    stores = [GameStateStore(GameState(x=0)) for _ in range(2)]
    encoders = [
        StateEncoder(store, config=config, server_clock_us=lambda now: int(now * 1e6)) for store in stores
    ]
    sent: list[list[bytes]] = [[], []]

    def sender(payloads: list[bytes]) -> Callable[[bytes], int]:
        return lambda payload: payloads.append(payload) or len(payloads) - 1

    told = b"\x00" + encode_names(FrameType.EVENT_NAMES, 0, msgpack.packb([b"MOVE", b"SAY"]))
    for session in sessions:
        session.attach(0.0)
        session.receive_payload(0, told, 0.0)
    for step in range(1, 120):
        now = step * 0.025
        for store in stores:
            store.push_update(GameStateUpdate(0, x=step))
        newest = len(sent[0]) - 1
        largest = randomness.choice((newest, newest, newest - 1, newest + 3, 0))
        header = encode_header(max(largest, 0), MASK_ONES, 0.003)
        state_ack = encode_state_ack(randomness.choice((step - 1, step - 1, step - 2, 0xFF_FFFF)))
        named = bytes((0x8C, 4, randomness.choice((0, 1, 5)))) + b"\x91\x07\x80"
        event = msgpack.packb(["X", [1], {}])
        message = randomness.choice(
            (named, b"\x80" + bytes((len(event),)) + event, b"\x80\x00", b"\x8c\x00", b"")
        )
        sequence = step if randomness.random() < 0.9 else max(0, step - 2)
        is_cut = randomness.random() < 0.1
        for session, frames in zip(sessions, (state_ack + message, message + state_ack), strict=True):
            session.receive_payload(sequence, header + (frames[:-1] if is_cut else frames), now)
        for session, encoder, payloads in zip(sessions, encoders, sent, strict=True):
            while step % 3 and session.next_message() is not None:
                pass
            session.queue_state(encoder, now)
            session.send_payloads(now, sender(payloads))
            session.handle_timer(now)
        first, second = sessions
        assert sent[0] == sent[1]
        assert first.stats.drops == second.stats.drops
        assert first.next_timer() == second.next_timer()
        assert first.latency == second.latency
    figures = [
        {name: getattr(session.stats, name) for name in dir(SessionStats) if name.endswith(FIGURES)}
        for session in sessions
    ]
    assert figures[0] == figures[1]
    bodies = [[message.body for message in iter(session.next_message, None)] for session in sessions]
    assert bodies[0] == bodies[1]
    assert figures[0]["messages_received"] > 20


class Sink(EventSink):
    def __init__(self) -> None:
        self.taken: list[tuple[bytes, str]] = []
        self.is_full = False

    def take_event(self, body: bytes, event_type: str) -> bool:
        if not self.is_full:
            self.taken.append((body, event_type))
        return not self.is_full


@pytest.mark.pure
def test_a_sink_is_asked_for_events_of_known_types_that_none_waits_before() -> None:
    session = Session(config=Config(), is_server=True, now=0.0)
    session.event_sink = sink = Sink()
    session.attach(0.0)
    session.send_payloads(0.3, lambda payload: 0)
    told = b"\x00" + encode_names(FrameType.EVENT_NAMES, 0, msgpack.packb([b"MOVE"]))
    session.receive_payload(0, told, 0.3)
    rest, unnamed = b"\x91\x07\x80", msgpack.packb(["MOVE", [8], {}])
    named = bytes((0x8C, 1 + len(rest), 0)) + rest
    head = encode_header(0, MASK_ONES, 0.0) + encode_state_ack(0)

    def receive(sequence: int, message: bytes) -> None:
        session.receive_payload(sequence, head + message, 0.3 + sequence / 40)

    body = Event("MOVE", 7).to_bytes()
    receive(1, named)
    assert sink.taken == [(body, "MOVE")] and not session.has_messages
    sink.is_full = True
    receive(2, named)  # refused, so it waits
    sink.is_full = False
    receive(3, named)  # behind the one that waits
    receive(4, b"\x80" + bytes((len(unnamed),)) + unnamed)
    waiting = [(message.body, message.event_type) for message in iter(session.next_message, None)]
    assert waiting == [(body, "MOVE"), (body, "MOVE"), (unnamed, "")]
    receive(5, named)
    assert len(sink.taken) == 2 and not session.has_messages
    assert session.stats.messages_received == 5 and not session.stats.drops
