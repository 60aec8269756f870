"""Pong as a user runs it: its processes, on a terminal and without one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from demos.pong import rules
from demos.pong.network import PongClient
from pygase_gevent import ConnectionStatus

PONG = [sys.executable, "-m", "demos.pong"]
WITHOUT_SCREEN = {
    name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")
}
SECONDS = 30  # generous: these wait on conditions
FIGURES = r"round trip \d+\.\d ms, loss \d+\.\d%, (\d+\.\d) updates/s"


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PONG, *options],
        env=WITHOUT_SCREEN,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
    )


def wait_for(condition: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- without a screen ---------------------------------------------------------------------------------


def test_without_a_screen_bots_play_and_the_figures_are_printed() -> None:
    outcome = run("--seconds", "3")
    assert outcome.returncode == 0 and outcome.stderr == ""
    lines = outcome.stdout.splitlines()
    assert re.fullmatch(r"pong on localhost:\d+: bots play for 3 seconds", lines[0])
    for line, who in zip(
        lines[1:4], (r"Ada \(\w+\)", r"Bob \(\w+\)", r"spectator \(watching\)"), strict=True
    ):
        match = re.fullmatch(f"{who}: {FIGURES}", line)
        assert match, line
        assert 20 < float(match[1]) < 70
    assert {"left", "right"} == set(re.findall(r"\((left|right)\)", outcome.stdout))
    assert re.fullmatch(r"final score: \d+ : \d+", lines[4])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--join", "localhost:9"), r"pong: no game answers at localhost:9: is it running there"),
        (("--view", "terminal"), r"pong: --view terminal needs a terminal"),
    ],
)
def test_what_cannot_be_fails_with_one_line(options: tuple[str, ...], expected: str) -> None:
    outcome = run(*options)
    assert outcome.returncode == 1
    assert re.match(expected, outcome.stderr.splitlines()[-1])
    assert "Traceback" not in outcome.stderr


def test_without_a_display_a_window_is_refused_with_a_way_out() -> None:
    environment = {**WITHOUT_SCREEN, "SDL_VIDEODRIVER": "no such driver"}
    command = [*PONG, "--view", "window", "--muted"]
    outcome = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
    )
    assert outcome.returncode == 1
    assert re.match(
        r"pong: no window can be opened \(.+\); try --view terminal", outcome.stderr.splitlines()[-1]
    )


# --- a server of its own ------------------------------------------------------------------------------


@contextmanager
def hosted(port: int, state: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*PONG, "--host", "localhost", "--port", str(port), "--state", str(state)]
    server = subprocess.Popen(command, env=WITHOUT_SCREEN, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == f"listening on localhost:{port}\n"
        assert server.stdout.readline() == f"to join: python -m demos.pong --join localhost:{port}\n"
        yield server
    finally:
        server.kill()
        server.wait()


def test_a_killed_server_comes_back_with_the_score(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "match.json"
    players = [PongClient(name) for name in ("Ada", "Bob")]
    try:
        with hosted(port, state) as server:
            for player in players:
                player.connect("localhost", port)
            players[0].client.wait_until(lambda game: sum(game.score.values()) == 1, SECONDS)
            score = dict(players[0].game().score)
            wait_for(lambda: json.loads(state.read_text())["score"] == score)
            server.send_signal(signal.SIGKILL)
            server.wait()
        with hosted(port, state):
            wait_for(lambda: all(_plays_again(player) for player in players))
            for player, side in zip(players, rules.SIDES, strict=True):
                game = player.game()
                assert rules.name_at(game, side) == player.name
                assert all(game.score[each] >= score[each] for each in rules.SIDES)
            assert len(players[0].game().players) == 2
    finally:
        for player in players:
            player.client.disconnect()


def _plays_again(player: PongClient) -> bool:
    game = player.game()
    is_new = getattr(game, "tick", 1 << 30) < 15 / rules.TICK_S
    return player.status == ConnectionStatus.CONNECTED and is_new and game.starts_at > 0


def test_a_port_that_is_taken_is_told_with_what_to_do(tmp_path: Path) -> None:
    port = free_port()
    expected = f"pong: port {port} is taken: is another game running there? --port chooses another one"
    with hosted(port, tmp_path / "match.json"):
        for options in (["--host", "localhost"], ["--view", "headless"]):
            outcome = run(*options, "--port", str(port))
            assert outcome.returncode == 1
            assert outcome.stderr.startswith(expected) and outcome.stderr.count("\n") == 1


# --- on a terminal ------------------------------------------------------------------------------------


def processes_of(parent: int) -> list[int]:
    """Children that still run."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
    return [pid for pid in pids if is_running(pid) and stat_of(pid)[1:2] == [str(parent)]]


def is_running(pid: int) -> bool:
    return stat_of(pid)[:1] not in ([], ["Z"])


def stat_of(pid: int) -> list[str]:
    """What the kernel says of a process from its state on, the parent next; empty if there is none."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def wait_gone(pids: list[int]) -> None:
    wait_for(lambda: not any(map(is_running, pids)), f"still running: {pids}")


def expect_all(terminal: pexpect.spawn, *patterns: str) -> None:
    """Waits until all patterns were drawn, in whatever order."""
    waiting = list(patterns)
    while waiting:
        waiting.pop(terminal.expect(waiting))


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
class TestOnATerminal:
    def start(self, *options: str, **environment: str) -> pexpect.spawn:
        return pexpect.spawn(
            sys.executable,
            ["-m", "demos.pong", *options],
            env={**WITHOUT_SCREEN, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment},
            dimensions=(30, 100),
            encoding="utf-8",
            timeout=SECONDS,
        )

    def test_a_game_against_a_bot_starts_by_itself_and_q_ends_everything(self) -> None:
        game = self.start("--name", "Zoe")
        expect_all(game, r"\[Zoe\]", "Ada", r"to join: python -m demos.pong --join [\d.]+:\d+", "\u2588")
        children = processes_of(game.pid)
        assert len(children) == 2
        for key in ("w", "s", "\x1bOA", "\x1bOB"):
            game.send(key)
        game.send("q")
        game.expect(r"Zoe \(left\): round trip")
        game.expect(pexpect.EOF)
        game.close()
        assert game.exitstatus == 0
        wait_gone(children)

    def test_a_friend_takes_the_bots_seat_over_a_bad_line(self) -> None:
        game = self.start("--name", "Zoe")
        game.expect(r"--join [\d.]+:(\d+)")
        friend = self.start(
            "--name", "Max", "--join", f"127.0.0.1:{game.match[1]}", "--lossy", "10%,80ms,20ms"
        )
        friend.expect_exact("[Max]")
        game.expect_exact("Max")
        friend.send("n")
        friend.expect(r"round trip 1[4-9]\d ms")
        friend.send("q")
        friend.expect(pexpect.EOF)
        game.expect_exact("Ada")
        game.send("q")
        game.expect(pexpect.EOF)

    def test_a_key_moves_the_paddle_as_a_spectator_sees(self) -> None:
        # Of another age: no UTF-8, so no blocks.
        game = self.start("--name", "Zoe", LC_ALL="POSIX", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
        game.expect(r"--join [\d.]+:(\d+)")
        port = int(game.match[1])
        expect_all(game, r"\[Zoe\]", "#")
        spectator = PongClient("Eve", is_watching=True)
        try:
            spectator.connect("127.0.0.1", port)
            for key, is_there in (("s", lambda y: y > 60.0), ("\x1bOA", lambda y: y < 30.0)):
                deadline = time.monotonic() + SECONDS
                while not is_there(spectator.game().paddles["left"]["y"]):
                    assert time.monotonic() < deadline
                    game.send(key)
                    with contextlib.suppress(pexpect.TIMEOUT):  # a screen that nobody reads holds it up
                        game.read_nonblocking(1 << 16, timeout=0.05)
        finally:
            spectator.client.disconnect()
        game.send("q")
        game.expect(pexpect.EOF)

    def test_ctrl_c_ends_everything_without_a_traceback(self) -> None:
        game = self.start("--name", "Zoe")
        game.expect_exact("[Zoe]")
        children = processes_of(game.pid)
        game.sendintr()
        game.expect(pexpect.EOF)
        assert "Traceback" not in game.before
        game.close()
        assert game.exitstatus == 0
        wait_gone(children)

    def test_a_killed_game_leaves_nothing_running(self) -> None:
        game = self.start("--name", "Zoe")
        game.expect_exact("[Zoe]")
        children = processes_of(game.pid)
        assert len(children) == 2
        os.kill(game.pid, signal.SIGKILL)
        wait_gone(children)
        game.close()
