"""Every target with inputs from Hypothesis: bytes, and changes to what is in the corpus."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.source import Source
from tests.fuzz.targets import TARGETS

EXAMPLES = {
    "codec": 250,
    "connect_token": 150,
    "cores": 100,
    "fragments": 120,
    "frames": 250,
    "identity": 150,
    "messages": 200,
    "names": 250,
    "netcode": 120,
    "session": 100,
    "statesync": 150,
}
"""So many that all of them take about ten seconds."""
SEEDS = {name: sorted(path.read_bytes() for path in (CORPUS / name).iterdir()) for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_escapes(name: str) -> None:
    target = TARGETS[name]

    @given(st.one_of(st.binary(max_size=600), _changed(SEEDS[name])))
    @example(b"")
    @settings(
        max_examples=EXAMPLES[name],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def run(data: bytes) -> None:
        target(data)

    run()


def _changed(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    changes = st.binary(min_size=4, max_size=24)
    return st.builds(lambda seed, how: Source(how).mutated(seed), st.sampled_from(seeds), changes)
