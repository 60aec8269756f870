"""The checkers catch every known defect, and complain of nothing where there is none."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant

pytestmark = pytest.mark.pure

SEEDS = (1, 2, 3)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_defect_is_seen(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.put_back(monkeypatch)
    for seed in SEEDS:
        violation = mutant.violation(seed)
        if violation is not None:
            assert violation.startswith(mutant.seen_by)
            return
    pytest.fail(f"nobody saw in {len(SEEDS)} runs that {mutant.name}")


@pytest.mark.parametrize(
    "mutant", [mutant for mutant in MUTANTS if mutant.has_control], ids=lambda mutant: mutant.name
)
def test_without_it_there_is_nothing_to_see(mutant: Mutant) -> None:
    assert mutant.violation(SEEDS[0]) is None
