"""What became of the tests that ran in processes of their own, beside the others.

conftest.py starts those processes when the run begins, and puts these tests last. Every test that
crosses threads runs once more in a process where `gevent.monkey.patch_all()` came first. The
integration tests, which mostly wait, have a process of their own in a run of everything, and so have the
tests of whole programs and those that compute most.
"""

from __future__ import annotations

import pytest

from tests.beside import APART, Beside

LIMIT_S = 180


@pytest.mark.looks_beside
@pytest.mark.parametrize("run", ["patched", *APART])
def test_beside(run: str, beside: dict[str, Beside]) -> None:
    returncode, output = beside[run].result(LIMIT_S)
    if returncode is None:
        pytest.fail(f"not through within another {LIMIT_S} s:\n{output}", pytrace=False)
    if returncode != 0:
        pytest.fail(f"exit code {returncode}:\n{output}", pytrace=False)
    assert " passed" in output
    print(run, output.splitlines()[-1])
