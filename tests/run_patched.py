"""Runs pytest in a process where `patch_all()` came first: `python tests/run_patched.py [arguments]`."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

if __name__ == "__main__":
    os.environ["PYGASE_TESTS_PATCHED"] = "1"
    sys.path.insert(0, str(Path(__file__).parent.parent))
    sys.exit(pytest.main(sys.argv[1:]))
