"""Types of events as small numbers: fewer bytes, the same events."""

from __future__ import annotations

import pytest
from session_pair import LinkConditions, Pair

from pygase_gevent.codec import pack
from pygase_gevent.config import Config
from pygase_gevent.event import Delivery, Event
from pygase_gevent.protocol.eventnames import EventNamesSender, KnownEventNames
from pygase_gevent.protocol.frame_writer import encode_message, encode_names
from pygase_gevent.protocol.layout import NAMED_EVENT, UNRELIABLE, FrameType

CONFIG = Config()
UGLY = LinkConditions(loss=0.15, delay_s=0.05, jitter_s=0.04, duplication=0.05)


def body(event_type: str, number: int) -> bytes:
    return Event(event_type, number).to_bytes(CONFIG)


@pytest.mark.parametrize("mode", list(Delivery))
def test_types_become_numbers_in_every_mode(mode: Delivery) -> None:
    sizes = []
    for learned_after in (8, 10_000):
        pair = Pair(config=Config(learned_after=learned_after), link=LinkConditions(delay_s=0.02))
        sent = []
        for number in range(50):
            sent.append(body("MOVEMENT OF A PLAYER", number))
            pair.send(pair.client, sent[-1], mode, stream="MOVEMENT OF A PLAYER")
            pair.run(0.025)
        pair.run(1)
        assert pair.bodies(pair.server) == sent
        sizes.append(sum(pair.client.sizes))
    assert sizes[0] < sizes[1] - 35 * 21


@pytest.mark.parametrize("seed", range(3))
def test_over_a_bad_link_and_resumes_every_event_is_what_it_was(seed: int) -> None:
    pair = Pair(seed=seed, link=UGLY)
    types = ["A", "B" * 31, "C" * 32, "D" * 255, "\u00e4\u00f6\u00fc"]
    sent: dict[str, list[bytes]] = {"client": [], "server": []}

    def send(number: int) -> None:
        for side in (pair.client, pair.server):
            event_type = types[(number + seed) % len(types)]
            sent[side.name].append(body(event_type, number))
            pair.send(side, sent[side.name][-1], Delivery.RELIABLE_ORDERED, stream="one")

    pair.every(0.02, 300, send)
    pair.run(2)
    pair.detach()
    pair.run(0.5)
    pair.attach()
    pair.run(10)
    assert pair.bodies(pair.server) == sent["client"]
    assert pair.bodies(pair.client) == sent["server"]


def test_bodies_that_are_no_events_go_as_they_are() -> None:
    sender = EventNamesSender(CONFIG)
    for data in (
        b"",
        b"\x93",
        b"\x93\xd9",
        b"\x93\xd9\xff" + b"x" * 10,
        b"\x93\xd9\x01x",
        b"\x00abc",
        b"\x93\xda\x00",
    ):
        for _ in range(20):
            assert sender.shortened(data) == b""


def test_tables_are_bounded() -> None:
    config = Config(max_learned_names=2, learned_after=2, max_name_candidates=4)
    sender = EventNamesSender(config)
    for number in range(100):
        for _ in range(1 + (number > 90)):
            assert not sender.shortened(body(f"TYPE {number}", 0))
    assert len(sender._entries) == 2
    assert len(sender._counts) <= 4


@pytest.mark.parametrize("names", [[5], ["text"], [b"x" * 256], [b"x"] * 129, 5, {}])
def test_bad_tables_are_refused(names: object) -> None:
    known = KnownEventNames(CONFIG)
    assert not known.receive(0, pack(names))
    assert not known.receive(1, pack([b"gap"]))
    assert not known.receive(0, b"\xc1")
    assert known.receive(0, pack([b"A"])) and known.receive(0, pack([b"other", b"B"]))
    assert not known.receive(0, pack([b"x"] * 129))


def test_the_type_of_a_number_is_known_where_an_event_may_have_it() -> None:
    names = [b"A", b"a type of 20 letters", b"\xff"]
    for max_bytes, second in ((64, "a type of 20 letters"), (19, "")):
        known = KnownEventNames(Config(max_event_type_bytes=max_bytes))
        assert known.receive(0, pack(names[:1])) and known.receive(0, pack(names))
        assert [known.type_of(number) for number in range(3)] == ["A", second, ""]


def test_unknown_numbers_and_bad_tables_are_counted_and_dropped() -> None:
    pair = Pair(link=LinkConditions(delay_s=0.02))
    pair.run(0.5)
    session = pair.server.session
    named = encode_message(UNRELIABLE, NAMED_EVENT, 0, -1, b"\x00\x91\x05\x80")
    for sequence, payload in enumerate(
        (b"\x00" + named, b"\x00" + encode_names(FrameType.EVENT_NAMES, 3, pack([b"A"])) + named)
    ):
        session.receive_payload(10_000 + sequence, payload, pair.now)
    assert session.stats.drops["bad_names"] == 2
    assert not session.has_messages
    learned = b"\x00" + encode_names(FrameType.EVENT_NAMES, 0, pack([b"A"])) + named
    session.receive_payload(10_002, learned, pair.now)
    message = session.next_message()
    assert message is not None and message.body == Event("A", 5).to_bytes(CONFIG)[:-1] + b"\x80"
