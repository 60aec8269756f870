"""The README's server and client work as pasted."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def snippet(name: str) -> str:
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        if block.startswith(f"# {name}\n"):
            return block
    raise AssertionError(f"no snippet {name} in the README")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_snippets_are_short() -> None:
    for name in ("server.py", "client.py"):
        lines = [line for line in snippet(name).splitlines() if line.strip()]
        assert len(lines) <= 16, name  # 15 and the file's name


def test_server_and_client_work_as_pasted(tmp_path: Path) -> None:
    port = str(free_port())
    for name in ("server.py", "client.py"):
        (tmp_path / name).write_text(snippet(name).replace("8080", port))
    server = subprocess.Popen(
        [sys.executable, "-u", "server.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert "serving" in server.stdout.readline()
        client = subprocess.run(
            [sys.executable, "client.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert client.returncode == 0, client.stderr
        assert client.stderr == ""
        assert "server says whee!" in client.stdout
        assert len(set(re.findall(r"position (-?[\d.]+)", client.stdout))) > 20
        interrupted = subprocess.Popen(
            [sys.executable, "-u", "client.py"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job has none
        )
        assert interrupted.stdout is not None
        assert "position" in interrupted.stdout.readline()
        interrupted.send_signal(signal.SIGINT)
        _, errors = interrupted.communicate(timeout=20)
        # What any Python program says of Ctrl-C in its own loop, and not a word more.
        assert errors.startswith("Traceback (most recent call last):\n")
        assert errors.endswith("\nKeyboardInterrupt\n")
        assert "pygase_gevent" not in errors and errors.count("Traceback") == 1
        assert interrupted.returncode == -signal.SIGINT
    finally:
        server.terminate()  # which ends it as Ctrl-C does
        server.wait(timeout=20)
