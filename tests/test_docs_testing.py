"""The examples of docs/testing.md, run as a test file of a game is: by pytest, with the plugin."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLUGIN = "pygase_gevent.testing.plugin"


def test_the_examples_of_the_how_to_pass(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "test_examples.py").write_text("\n\n".join(examples))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", PLUGIN, tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{sum(example.count('def test_') for example in examples)} passed" in done.stdout
