"""The benchmarks run: each piece for moments, and never is a figure held against a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import datagrams, machine, workloads
from benchmarks.build import load_program
from benchmarks.contenders import CONTENDERS
from benchmarks.goals import judged
from benchmarks.growth import flatness
from benchmarks.processes import Failed, Program, Unavailable, cores
from benchmarks.profiling import summary
from benchmarks.search import largest
from benchmarks.table import as_markdown, as_text
from benchmarks.w1 import probe
from benchmarks.workloads import Lengths
from pygase_gevent.hub import batches
from pygase_gevent.protocol.netcode import sealing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are pinned to cores as on Linux")

OURS = CONTENDERS["ours"]
MOMENTS = Lengths(round_trips=5, flood_s=0.3, events=5, repeats=1, connections=3, settle_s=0.1)


@pytest.fixture(scope="module")
def load_generator() -> None:
    """Compiled, or the test is skipped with what is missing for it."""
    try:
        load_program()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("protocol", ["ours", "bare"])
@pytest.mark.usefixtures("load_generator")
def test_the_load_generator_connects_plays_and_gets_states(protocol: str) -> None:
    result = probe(CONTENDERS[protocol], 4, measure_s=0.5, settle_s=0.2)
    assert result.connected == 4
    assert result.states_hz > 0 and result.inputs_hz > 0
    assert result.staleness_p50_ms > 0
    assert result.bytes_down > 0 and result.bytes_up > 0


@pytest.mark.usefixtures("load_generator")
def test_the_load_generator_takes_a_state_that_comes_as_a_transfer() -> None:
    result = probe(OURS, 2, measure_s=0.5, settle_s=0.2, server_options=("--blob", "100000"))
    assert result.connected == 2
    assert result.states_hz > 0


@pytest.mark.usefixtures("load_generator")
def test_inputs_of_many_types_arrive() -> None:
    types = ("--event-types", "7")
    result = probe(OURS, 2, measure_s=0.3, settle_s=0.2, server_options=types, load_options=types)
    assert result.inputs_hz > 0


@pytest.mark.usefixtures("load_generator")
def test_reliable_events_of_the_load_generator_are_handled() -> None:
    figures = workloads.w3(OURS, MOMENTS)
    assert figures["W3 reliable events/s"] > 0
    assert figures["W3 reliable events/s, both ends its own"] > 0


@pytest.mark.parametrize("name", ["ours", "bare"])
def test_round_trips_yield_their_rows(name: str) -> None:
    figures = workloads.w2(CONTENDERS[name], MOMENTS)
    assert 0 < figures["W2 round trip p50, ms"] <= figures["W2 round trip p99, ms"]


def test_a_bad_line_delivers_all_events_once_and_in_order() -> None:
    figures = workloads.w4(OURS, MOMENTS, 0.2)
    assert figures["W4 20% loss: delivered of 5"] == 5
    assert figures["W4 20% loss: duplicates"] == figures["W4 20% loss: out of order"] == 0


def test_a_program_that_ends_says_its_last_words() -> None:
    program = Program([*OURS.server(), "--no-such-option"], cores()[0])
    with pytest.raises(Failed, match="no-such-option"):
        program.answer()
    program.end()


@pytest.mark.parametrize("limit", [1, 2, 17, 100, 223, 5000])
@pytest.mark.parametrize("guess", [1, 100, 4000])
def test_the_search_finds_the_largest_number_that_holds(limit: int, guess: int) -> None:
    found = largest(lambda number: number <= limit, guess)
    assert limit / 1.04 - 1 <= found <= limit


def test_the_search_asks_no_more_than_it_may_once_it_has_an_answer() -> None:
    asked: list[int] = []

    def holds(number: int) -> bool:
        asked.append(number)
        return number <= 1000

    assert 0 < largest(holds, 10, questions=3) <= 1000
    assert len(asked) <= 3
    assert largest(lambda number: False, 100) == 0


def test_samples_become_functions_by_their_own_time() -> None:
    stacks = [
        "main (server.py:3);seal (/somewhere/crypto.py:7) 3",
        "main (server.py:4);seal (/somewhere/crypto.py:9) 1",
        "main (server.py:5) 4",
        "Referee.serve (game.py:1) 90",
    ]
    lines = summary(stacks).splitlines()
    assert lines[1].split() == ["50.0%", "50.0%", "seal", "(crypto.py)"]
    assert lines[2].split() == ["50.0%", "100.0%", "main", "(server.py)"]


def _results(ours: float, bare: float) -> dict[str, Any]:
    def cell(value: float) -> dict[str, Any]:
        return {"median": value, "min": value - 1, "max": value + 1, "values": [value] * 3}

    return {
        "machine": machine.description(),
        "repeats": 3,
        "versions": {"ours": "1", "bare": "2", "enet": "missing: not here"},
        "titles": {"ours": "Ours", "bare": "Bare", "enet": "ENet"},
        "notes": [],
        "failures": [],
        "rows": {"W2 round trip p50, ms": {"ours": cell(ours), "bare": cell(bare)}},
    }


@pytest.mark.parametrize("show", [as_text, lambda results: as_markdown(results, "a command")])
def test_the_table_has_medians_with_their_spread_and_says_who_is_missing(
    show: Callable[[dict[str, Any]], str],
) -> None:
    text = show(_results(15.0, 10.0))
    assert "15 (14 to 16)" in text and "10 (9 to 11)" in text
    assert "missing" in text


def test_goals_are_judged_by_ratios_within_a_run() -> None:
    ((row, figure, least, aim),) = judged(_results(15.0, 10.0))
    assert (row, figure) == ("W2 round trip p50, ms", "15")
    assert least == "20 (2 x bare): yes" and aim == "14 (1.4 x bare): NO"


def test_growth_says_whether_a_client_among_many_costs_what_one_among_few_does() -> None:
    def rows(*costs: float) -> list[dict[str, Any]]:
        return [
            {"clients": 10 * 2**i, "held": "yes", "net CPU each, %": cost} for i, cost in enumerate(costs)
        ]

    assert "flat within 15%" in flatness(rows(0.50, 0.52, 0.55))
    assert "NOT flat within 15%" in flatness(rows(0.50, 0.52, 0.60))
    assert "-50% from 10 to 20 clients" in flatness(rows(1.0, 0.5))
    assert "too few" in flatness(rows(0.5))


def test_datagrams_are_timed_one_by_one() -> None:
    body = bytes(60)
    runs = (
        *datagrams.send_and_receive(batches, 4, body),
        *datagrams.seal_and_open(sealing, sealing, sealing, body),
    )
    assert all(run() > 0 for run in runs)
