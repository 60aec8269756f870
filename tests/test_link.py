"""The line as a pure function."""

from __future__ import annotations

import random

import pytest

from pygase_gevent.errors import ArgumentError
from pygase_gevent.testing.link import LinkModel, LinkOptions

DATAGRAMS = [b"%d" % number for number in range(10_000)]


def carry(model: LinkModel) -> list[tuple[float, bytes]]:
    """Sends a datagram every millisecond and returns what arrives, by time."""
    sent = enumerate(DATAGRAMS)
    arrived = [
        delivery for number, datagram in sent for delivery in model.deliveries(datagram, number / 1000)
    ]
    return sorted(arrived, key=lambda delivery: delivery[0])


def test_a_perfect_line_delivers_everything_at_once_and_in_order() -> None:
    arrived = carry(LinkModel())
    assert arrived == [(number / 1000, datagram) for number, datagram in enumerate(DATAGRAMS)]


def test_the_same_seed_gives_the_same_line() -> None:
    options = LinkOptions(
        loss=0.2, delay_s=0.05, jitter_s=0.02, duplicate=0.1, reorder=0.1, corrupt=0.1, reorder_s=0.03
    )
    assert carry(LinkModel(options, rng=7)) == carry(LinkModel(options, rng=random.Random(7)))
    assert carry(LinkModel(options, rng=7)) != carry(LinkModel(options, rng=8))


def test_loss_duplicates_and_corruption_have_the_asked_share() -> None:
    model = LinkModel(LinkOptions(loss=0.2, duplicate=0.1, corrupt=0.05))
    arrived = carry(model)
    counts = model.counts
    assert counts["sent"] == len(DATAGRAMS)
    assert 0.18 < counts["lost"] / counts["sent"] < 0.22
    passed = counts["sent"] - counts["lost"]
    assert 0.08 < counts["duplicated"] / passed < 0.12
    assert 0.04 < counts["corrupted"] / passed < 0.06
    assert len(arrived) == counts["delivered"] == passed + counts["duplicated"]


def test_delay_stays_within_jitter_and_jitter_lets_datagrams_overtake_each_other() -> None:
    arrived = carry(LinkModel(LinkOptions(delay_s=0.05, jitter_s=0.02)))
    delays = [at - int(datagram) / 1000 for at, datagram in arrived]
    assert 0.03 - 1e-9 <= min(delays) < 0.031 and 0.069 < max(delays) <= 0.07 + 1e-9
    assert [datagram for _, datagram in arrived] != DATAGRAMS
    assert sorted(int(datagram) for _, datagram in arrived) == list(range(len(DATAGRAMS)))


def test_jitter_larger_than_the_delay_never_delivers_before_sending() -> None:
    model = LinkModel(LinkOptions(delay_s=0.001, jitter_s=0.1))
    assert all(at >= 5.0 for _ in range(1000) for at, _ in model.deliveries(b"x", 5.0))


def test_reordering_holds_back_the_asked_share() -> None:
    model = LinkModel(LinkOptions(reorder=0.1, reorder_s=0.005))
    late = [datagram for at, datagram in carry(model) if at > int(datagram) / 1000]
    assert len(late) == model.counts["reordered"]
    assert 0.08 < len(late) / len(DATAGRAMS) < 0.12


def test_corruption_flips_exactly_one_bit() -> None:
    model = LinkModel(LinkOptions(corrupt=1.0))
    for _ in range(200):
        [(_, arrived)] = model.deliveries(bytes(16), 0.0)
        assert len(arrived) == 16 and int.from_bytes(arrived, "big").bit_count() == 1
    assert model.deliveries(b"", 0.0) == [(0.0, b"")]


def test_a_cut_line_takes_nothing() -> None:
    model = LinkModel()
    model.is_cut = True
    assert model.deliveries(b"x", 0.0) == []
    model.is_cut = False
    assert model.deliveries(b"x", 0.0) == [(0.0, b"x")]
    assert model.counts["cut"] == 1


def test_changing_one_option_leaves_the_others_draws_alone() -> None:
    everything = dict(carry(LinkModel(LinkOptions(delay_s=0.05, jitter_s=0.02), rng=3)))
    lossy = dict(carry(LinkModel(LinkOptions(delay_s=0.05, jitter_s=0.02, loss=0.5), rng=3)))
    assert lossy.items() <= everything.items()


@pytest.mark.parametrize(
    "wrong", [{"loss": 1.1}, {"duplicate": -0.1}, {"delay_s": -1.0}, {"jitter_s": float("nan")}]
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        LinkOptions(**wrong)


def test_a_line_that_becomes_well_is_out_of_its_burst() -> None:
    model = LinkModel(LinkOptions(burst_start=1.0, burst_end=1e-9, burst_loss=1.0), rng=1)
    assert model.deliveries(b"lost", 0.0) == []
    model.options = LinkOptions()
    assert len(model.deliveries(b"arrives", 0.1)) == 1
