"""Everything at once, many seeds: bad links, limits that differ, resumes, inboxes that fill up."""

from __future__ import annotations

import random

import pytest
from session_pair import LinkConditions, Pair, number_body

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.protocol.session import MessageKind

MESSAGES = 150
MODES = list(Delivery)
SIZES = (8, 8, 20, 200, 1100, 1161, 4000, 20_000)


def random_link(rng: random.Random) -> LinkConditions:
    delay_s = rng.choice([0.001, 0.02, 0.05, 0.15])
    return LinkConditions(
        loss=rng.choice([0, 0.05, 0.2, 0.4]),
        delay_s=delay_s,
        jitter_s=delay_s * rng.choice([0, 0.4, 0.9]),
        duplication=rng.choice([0, 0.1]),
        corruption=rng.choice([0, 0.03]),
        bytes_per_s=rng.choice([0, 0, 100_000, 1e6]),
    )


def random_config(rng: random.Random) -> Config:
    return Config(
        max_received_events=rng.choice([2, 20, 4096]),
        reliable_window=rng.choice([16, 64, 4096]),
        max_transfers=rng.choice([1, 3, 8]),
        max_reorder_bytes=rng.choice([5_000, 4 * 1024 * 1024]),
    )


class Soak:
    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        self.pair = Pair(
            seed=seed, link=random_link(rng), config=random_config(rng), client_config=random_config(rng)
        )
        self.sides = (self.pair.client, self.pair.server)
        self.sent: dict[tuple[str, int], tuple[Delivery, str, int]] = {}

    def dispatch(self, index: int) -> None:
        rng = self.rng
        for side in self.sides:
            mode, stream = rng.choice(MODES), str(rng.randrange(3))
            size = rng.choice(SIZES) if rng.random() < 0.5 else 20
            kind = MessageKind.EVENT
            if rng.random() < 0.2:
                kind, mode = rng.choice([MessageKind.CALL, MessageKind.RESULT]), Delivery.RELIABLE
            self.sent[side.name, index] = (mode, stream, size)
            retries = rng.choice([0, 3])
            body = number_body(index, size)
            self.pair.send(side, body, mode, stream=stream, retries=retries, token=index, kind=kind)

    def run(self) -> None:
        rng, pair = self.rng, self.pair
        pair.every(0.02, MESSAGES, self.dispatch)
        for _ in range(rng.randrange(5)):
            pair.run(rng.uniform(0, 1.5))
            pair.server.drains = rng.random() < 0.5
            if rng.random() < 0.7:
                pair.detach()
                pair.run(rng.choice([0, 0.3, 1.4]))
                pair.attach()
        pair.run(rng.uniform(0, 3))
        pair.server.drains = True
        pair.drain(pair.server)
        pair.flush(pair.server)
        pair.run(400, until=self.is_done)
        pair.run(3)

    def is_done(self) -> bool:
        return all(len(side.acked) + len(side.lost) == MESSAGES for side in self.sides)


@pytest.mark.parametrize("seed", range(40))
def test_every_promise_holds(seed: int) -> None:
    soak = Soak(seed)
    soak.run()
    for side in soak.sides:
        peer = soak.pair.other(side)
        bodies = [body for _, body in peer.received + peer.calls]
        got = [int.from_bytes(body[:8], "big") for body in bodies]
        sent = {index: what for (name, index), what in soak.sent.items() if name == side.name}
        reliable = {
            index
            for index, (mode, _, _) in sent.items()
            if mode in (Delivery.RELIABLE, Delivery.RELIABLE_ORDERED)
        }
        assert len(got) == len(set(got)), "something came twice"
        assert all(
            body == number_body(index, sent[index][2]) for index, body in zip(got, bodies, strict=True)
        )
        assert reliable <= set(got), "something reliable is missing"
        assert sorted(side.acked + side.lost) == list(range(MESSAGES))  # type: ignore[type-var]
        assert reliable <= set(side.acked)
        assert set(side.acked) <= set(got), "acknowledged without delivery"
        for mode in (Delivery.RELIABLE_ORDERED, Delivery.SEQUENCED):
            for stream in "012":
                line = [index for index in got if sent[index][:2] == (mode, stream)]
                assert line == sorted(line), "a line went back"
        assert side.session.queued_events == side.session.queued_bytes == 0
