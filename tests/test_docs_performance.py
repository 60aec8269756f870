"""The example of docs/performance.md is a program: it runs, and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "performance.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_example_works_as_pasted(tmp_path: Path) -> None:
    ((name, source, output),) = BLOCK.findall(PAGE)
    (tmp_path / name).write_text(source)
    result = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.stderr, result.stdout, result.returncode) == ("", output, 0)
