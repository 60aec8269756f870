"""Every test that crosses threads, once more in a process where `gevent.monkey.patch_all()` came first.

conftest.py starts that process when the run begins and puts this test last, so the two go on side by side.
"""

from __future__ import annotations

import pytest

from tests.patched_process import PatchedProcess

LIMIT_S = 180


@pytest.mark.looks_at_patched_process
def test_under_patch_all(patched_process: PatchedProcess) -> None:
    returncode, output = patched_process.result(LIMIT_S)
    if returncode is None:
        pytest.fail(f"not through within another {LIMIT_S} s:\n{output}", pytrace=False)
    if returncode != 0:
        pytest.fail(f"exit code {returncode}:\n{output}", pytrace=False)
    assert " passed" in output
