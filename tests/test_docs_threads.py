"""The examples of docs/threads.md are programs: each runs, and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "threads.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"^```python\n# (\w+\.py)\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE
)
EXAMPLES = {name: (source, output) for name, source, output in BLOCK.findall(PAGE)}


def test_every_example_has_a_name() -> None:
    assert PAGE.count("```python\n") == len(EXAMPLES) == 5


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "app.py"])
def test_an_example_works_as_pasted(name: str, tmp_path: Path) -> None:
    source, output = EXAMPLES[name]
    (tmp_path / name).write_text(source)
    result = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.stderr, result.stdout, result.returncode) == ("", output or "score 7\n", 0)


def test_the_web_application_is_python() -> None:
    compile(EXAMPLES["app.py"][0], "app.py", "exec")
