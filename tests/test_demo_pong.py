"""Pong: its rules, and real runs of its processes."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import time

import pexpect
import pytest

from demos.pong import rules
from pygase_gevent import GameState, GameStateUpdate

PONG = [sys.executable, "-m", "demos.pong"]
SECONDS = 30  # generous: these wait on conditions


def play(game: GameState, changes: rules.Tree) -> GameState:
    return game + GameStateUpdate(game.time_order + 1, **changes)


def game_of(*joins: tuple[int, bool]) -> GameState:
    game = rules.new_game()
    for player_id, is_bot in joins:
        game = play(game, rules.join(game, player_id, f"p{player_id}", is_bot, False))
    return game


def with_ball(**ball: float) -> GameState:
    game = game_of((1, False), (2, False))
    return play(game, {"serve_in": 0.0, "ball": {"vx": 0.0, "vy": 0.0, "x": 80.0, "y": 45.0, **ball}})


# --- rules --------------------------------------------------------------------------------------------


def test_nothing_moves_before_both_seats_are_taken() -> None:
    assert rules.step(rules.new_game(), 0.1) == {}
    assert rules.step(game_of((1, False)), 0.1) == {}
    assert rules.step(game_of((1, False), (2, True)), 0.1) != {}


def test_seats_go_to_people_first_and_a_bot_waits_for_its_turn() -> None:
    game = game_of((1, False), (2, True))
    assert game.seats == {"left": 1, "right": 2}
    game = play(game, rules.join(game, 3, "guest", False, False))
    assert game.seats == {"left": 1, "right": 3}
    game = play(game, rules.join(game, 4, "late", False, False))
    assert game.seats == {"left": 1, "right": 3}
    game = play(game, rules.leave(game, 1))
    assert game.seats == {"left": 4, "right": 3}
    game = play(game, rules.leave(game, 3))
    assert game.seats == {"left": 4, "right": 2}
    assert sorted(game.players) == [2, 4]


def test_who_only_watches_gets_no_seat() -> None:
    game = rules.new_game()
    game = play(game, rules.join(game, 1, "eye", False, True))
    assert game.seats == {"left": 0, "right": 0}


def test_a_new_player_begins_a_new_match_and_a_leaving_one_does_not() -> None:
    game = play(game_of((1, False), (2, True)), {"score": {"left": 3, "right": 1}})
    left = play(game, rules.leave(game, 2))
    assert left.score == {"left": 3, "right": 1}
    joined = play(game, rules.join(game, 3, "new", False, False))
    assert joined.score == {"left": 0, "right": 0}


def test_names_carry_no_control_characters() -> None:
    game = rules.new_game()
    game = play(game, rules.join(game, 1, "\x1b[31mRed\x07\u202e", False, False))
    assert game.players[1]["name"] == "[31mRed"
    assert rules.clean_name("\x00") == "nobody"
    assert len(rules.clean_name("x" * 999)) == rules.NAME_LENGTH


def test_the_ball_bounces_off_walls() -> None:
    game = with_ball(y=1.0, vy=-60.0, vx=1.0)
    ball = rules.step(game, 0.05)["ball"]
    assert ball["y"] == pytest.approx(2.0) and ball["vy"] == 60.0


@pytest.mark.parametrize(("side", "vx"), [("left", -100.0), ("right", 100.0)])
def test_a_paddle_returns_the_ball_faster_and_by_where_it_was_hit(side: str, vx: float) -> None:
    game = with_ball(x=rules.PADDLE_X[side] - vx * 0.01, y=45.0 + rules.PADDLE_HEIGHT / 4, vx=vx)
    ball = rules.step(game, 0.02)["ball"]
    assert ball["vx"] * vx < 0 and ball["vy"] > 0
    assert math.hypot(ball["vx"], ball["vy"]) == pytest.approx(100.0 * rules.SPEED_UP)


@pytest.mark.parametrize(("winner", "vx"), [("right", -100.0), ("left", 100.0)])
def test_a_missed_ball_scores_and_is_served_anew(winner: str, vx: float) -> None:
    game = with_ball(x=80.0 + vx * 0.75, y=80.0, vx=vx)
    game = play(game, rules.step(game, 0.2))
    assert game.score[winner] == 1 and sum(game.score.values()) == 1
    assert game.ball == {"x": rules.WIDTH / 2, "y": rules.HEIGHT / 2, "vx": 0.0, "vy": 0.0}
    for _ in range(round((rules.SERVE_DELAY_S + 0.1) * 60)):
        game = play(game, rules.step(game, 1 / 60))
    assert game.ball["vx"] != 0


def test_a_paddle_moves_at_its_speed_to_where_it_aims_and_stays_on_the_field() -> None:
    game = game_of((1, False), (2, False))
    game = play(game, rules.aim("left", -500.0))
    moved = play(game, rules.step(game, 0.1))
    assert moved.paddles["left"]["y"] == pytest.approx(45.0 - 0.1 * rules.PADDLE_SPEED)
    for _ in range(60):
        moved = play(moved, rules.step(moved, 1 / 60))
    assert moved.paddles["left"]["y"] == pytest.approx(rules.PADDLE_HEIGHT / 2)
    assert moved.paddles["right"]["y"] == 45.0


def test_a_stall_is_not_played_after_the_fact() -> None:
    game = with_ball(x=20.0, vx=100.0)
    assert rules.step(game, 3600.0) == rules.step(game, rules.MAX_STEP_S)


def test_a_step_does_not_change_the_game_it_is_given() -> None:
    game = with_ball(vx=90.0, vy=20.0)
    before = repr(game.ball), repr(game.paddles)
    rules.step(game, 0.1)
    assert (repr(game.ball), repr(game.paddles)) == before


def test_a_bot_that_does_not_err_is_where_the_ball_crosses_its_line() -> None:
    game = with_ball(vx=100.0, vy=173.0)
    aimed = rules.bot_target(game, "right", 0.0)
    assert rules.bot_target(game, "left", 0.0) == rules.HEIGHT / 2
    while game.ball["x"] < rules.PADDLE_X["right"] - 2:
        game = play(game, rules.step(game, 1 / 120))
    assert abs(rules.clamp_paddle(game.ball["y"]) - aimed) < 5


# --- real runs ----------------------------------------------------------------------------------------


def processes_in_group_of(session_leader: int) -> list[int]:
    """Children, by their parent's id, that still run."""
    output = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in output.splitlines()]
    return [pid for pid, parent in pairs if parent == session_leader]


def wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + SECONDS
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.05)


def expect_all(terminal: pexpect.spawn, *patterns: str) -> None:
    """Waits until all patterns were drawn, in whatever order."""
    waiting = list(patterns)
    while waiting:
        waiting.pop(terminal.expect(waiting))


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_without_a_terminal_bots_play_and_the_figures_are_printed() -> None:
    run = subprocess.run(
        [*PONG, "--seconds", "3"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
    )
    assert run.returncode == 0 and run.stderr == ""
    lines = run.stdout.splitlines()
    assert re.fullmatch(r"pong on localhost:\d+: bots play for 3 seconds", lines[0])
    figures = r"round trip \d+\.\d ms, loss \d+\.\d%, (\d+\.\d) updates/s"
    for line, who in zip(
        lines[1:4], (r"Ada \(\w+\)", r"Bob \(\w+\)", r"spectator \(watching\)"), strict=True
    ):
        match = re.fullmatch(f"{who}: {figures}", line)
        assert match, line
        assert 20 < float(match[1]) < 70
    assert {"left", "right"} == set(re.findall(r"\((left|right)\)", run.stdout))
    assert re.fullmatch(r"final score: \d+ : \d+", lines[4])


def test_joining_where_nobody_listens_fails_with_one_line() -> None:
    run = subprocess.run(
        [*PONG, "--join", "localhost:9", "--bots"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("pong: ") and run.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
class TestOnATerminal:
    def start(self, *options: str) -> pexpect.spawn:
        return pexpect.spawn(
            sys.executable,
            ["-m", "demos.pong", *options],
            env={**os.environ, "TERM": "xterm"},
            dimensions=(30, 100),
            encoding="utf-8",
            timeout=SECONDS,
        )

    def test_a_game_against_a_bot_starts_by_itself_and_q_ends_everything(self) -> None:
        game = self.start("--name", "Zoe")
        expect_all(game, r"\[Zoe\]", "Ada", r"round trip .*updates/s", r"--join localhost:\d+")
        children = processes_in_group_of(game.pid)
        assert len(children) == 2
        for key in ("w", "s", "\x1b[A", "\x1b[B"):
            game.send(key)
        game.send("q")
        game.expect(r"Zoe \(left\): round trip")
        game.expect(pexpect.EOF)
        game.close()
        assert game.exitstatus == 0
        wait_gone(children)

    def test_a_friend_takes_the_bots_seat(self) -> None:
        game = self.start("--name", "Zoe")
        game.expect(r"--join (localhost:\d+)")
        friend = self.start("--name", "Max", "--join", game.match[1])
        friend.expect_exact("[Max]")
        game.expect_exact("Max")
        friend.send("q")
        friend.expect(pexpect.EOF)
        game.expect_exact("Ada")
        game.send("q")
        game.expect(pexpect.EOF)

    def test_ctrl_c_ends_everything_without_a_traceback(self) -> None:
        game = self.start("--name", "Zoe")
        game.expect_exact("[Zoe]")
        children = processes_in_group_of(game.pid)
        game.sendintr()
        game.expect(pexpect.EOF)
        assert "Traceback" not in game.before
        game.close()
        assert game.exitstatus == 0
        wait_gone(children)

    def test_a_killed_game_leaves_nothing_running(self) -> None:
        game = self.start("--name", "Zoe")
        game.expect_exact("[Zoe]")
        children = processes_in_group_of(game.pid)
        assert len(children) == 2
        os.kill(game.pid, signal.SIGKILL)
        wait_gone(children)
        game.close()
