"""`python -m pygase_gevent lossy`, run as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pexpect
import pytest

from pygase_gevent import Client, Delivery, GameStateStore, Server
from pygase_gevent.__main__ import main

LOSSY = ("-m", "pygase_gevent", "lossy")
SECONDS = 30  # generous: these wait on conditions


def start(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *LOSSY, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_game_plays_over_it_and_the_figures_say_what_was_lost() -> None:
    server = Server(GameStateStore())
    server.register_event_handler("ECHO", lambda number: number)
    server.run_in_thread()
    line = ["--loss", "30%", "--delay", "5ms", "--jitter", "2ms", "--seed", "3", "--duplicate", "0.01"]
    relay = start("--listen", "0", "--to", f"localhost:{server.port}", *line)
    assert relay.stdout is not None and relay.stderr is not None
    head = relay.stdout.readline()
    assert f"-> localhost:{server.port}: loss 30%, delay 5 ms, jitter 2 ms, duplicate 1%" in head
    assert "datagrams/s" in relay.stdout.readline()
    port = int(re.match(r"127\.0\.0\.1:(\d+) ->", head)[1])  # type: ignore[index]
    client = Client(deliveries={"ECHO": Delivery.RELIABLE})
    client.connect_in_thread(port)
    client.wait_connected(SECONDS)
    assert [client.call("ECHO", number, timeout=SECONDS) for number in range(15)] == list(range(15))
    line_of_figures = relay.stdout.readline()
    assert re.match(r" +\d+ s +1 \| +[\d.]+ +[\d.]+% \| +[\d.]+ +[\d.]+%\n", line_of_figures), line_of_figures
    client.disconnect()
    server.shutdown()
    relay.send_signal(signal.SIGINT)
    output, errors = relay.communicate(timeout=SECONDS)
    assert (relay.returncode, errors) == (0, "")
    lost = [float(share) for share in re.findall(r"([\d.]+)% lost", output.splitlines()[-1])]
    assert len(lost) == 2 and all(5 < share < 60 for share in lost), output


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_on_a_terminal_the_line_is_rewritten_in_place() -> None:
    options = ["--listen", "0", "--to", "localhost:9", "--seconds", "2.2"]
    terminal = pexpect.spawn(
        sys.executable,
        [*LOSSY, *options],
        env={**os.environ, "TERM": "xterm"},
        encoding="utf-8",
        timeout=SECONDS,
    )
    terminal.expect_exact("seed 0")
    for second in (1, 2):
        terminal.expect(rf"\r\x1b\[2K +{second} s +0 \| +0\.0 +0\.0% \| +0\.0 +0\.0%")
        assert terminal.before.count("\n") <= (2 if second == 1 else 0)
    terminal.expect_exact("in all: up 0 datagrams, 0.0% lost; down 0 datagrams, 0.0% lost")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--listen 99999 --to localhost:9", "not a port"),
        ("--listen 0 --to localhost", "HOST:PORT"),
        ("--listen 0 --to localhost:9 --loss 5", "not a share such as 5%"),
        ("--listen 0 --to localhost:9 --delay 5min", "not a time such as 50ms"),
        ("--listen 0 --to localhost:9 --delay 50", "not a time such as 50ms"),
        ("--listen 0 --to localhost:9 --host 192.0.2.1", "cannot listen"),
        ("--to localhost:9", "--listen"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: object = main(["lossy", *options.split()])
    except SystemExit as exit_:
        status = exit_.code
    output, errors = capsys.readouterr()
    assert (status, output) == (2, "")
    assert message in errors.splitlines()[-1]
