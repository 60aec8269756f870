"""The command line, run as a user runs it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pygase_gevent", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ, **environment),
    )


def test_key_prints_a_new_key_each_time() -> None:
    first, second = run("key").stdout.strip(), run("key").stdout.strip()
    assert len(bytes.fromhex(first)) == 32
    assert first != second


def test_token_prints_a_connect_token(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("11" * 32 + "\n")
    done = run("token", "--key-file", str(key_file), "--game", "pong", "--server", "127.0.0.1:8080",
               "--server", "[::1]:8080", "--claims", '{"user": 42}')  # fmt: skip
    assert done.returncode == 0, done.stderr
    token = base64.b64decode(done.stdout)
    assert len(token) == 2048
    assert token.startswith(b"NETCODE 1.02\0")


def test_the_key_may_come_from_the_environment() -> None:
    done = run("token", "--server", "127.0.0.1:8080", PYGASE_KEY="22" * 32)
    assert done.returncode == 0, done.stderr


def test_what_is_wrong_is_said_in_one_line() -> None:
    for arguments, environment, message in [
        (("--server", "127.0.0.1:8080"), {"PYGASE_KEY": ""}, "no key"),
        (("--server", "127.0.0.1:8080"), {"PYGASE_KEY": "xyz"}, "64 hex digits"),
        (("--server", "127.0.0.1:8080"), {"PYGASE_KEY": "00"}, "32 bytes"),
        (("--server", "nowhere"), {"PYGASE_KEY": "22" * 32}, "HOST:PORT"),
        (("--server", "not.an.ip:80"), {"PYGASE_KEY": "22" * 32}, "address"),
    ]:
        done = run("token", *arguments, **environment)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
