"""Pong: its rules, the match in a file, and the size of the parts that a reader starts with."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import stat
from pathlib import Path

import pytest

from demos.pong import rules
from demos.pong.options import parse_arguments, parse_line
from demos.pong.savefile import SaveFile
from pygase_gevent import GameState, GameStateUpdate

PONG = Path(rules.__file__).parent


def play(game: GameState, changes: rules.Tree) -> GameState:
    return game + GameStateUpdate(game.time_order + 1, **changes)


def passed(game: GameState, seconds: float) -> GameState:
    for _ in range(round(seconds / rules.TICK_S / 2)):
        game = play(game, rules.step(game, 2))
    return game


def joined(game: GameState, *people: int, bots: tuple[int, ...] = ()) -> GameState:
    for player_id in (*people, *bots):
        game = play(game, rules.join(game, player_id, f"p{player_id}", player_id in bots, False))
    return game


def game_of(*people: int, bots: tuple[int, ...] = ()) -> GameState:
    return joined(rules.new_game(), *people, bots=bots)


def with_ball(**ball: float) -> GameState:
    ball = {"vx": 0.0, "vy": 0.0, "x": 80.0, "y": 45.0, **ball}
    return play(game_of(1, 2), {"starts_at": 1, "tick": 100, "ball": ball})


# --- the ball -----------------------------------------------------------------------------------------


def test_nothing_moves_before_both_seats_are_taken_and_it_was_counted_down() -> None:
    for game in (rules.new_game(), game_of(1)):
        later = passed(game, 5.0)
        assert later.ball == game.ball and later.starts_at == 0 and later.tick == 600
    game = passed(game_of(1, 2), 2.9)
    assert game.ball["x"] == rules.WIDTH / 2
    assert passed(game, 0.3).ball["x"] != rules.WIDTH / 2


def test_the_ball_bounces_off_walls() -> None:
    game = with_ball(y=0.2, vy=-60.0, vx=1.0)
    ball = rules.step(game, 1)["ball"]
    assert ball["y"] == pytest.approx(0.3) and ball["vy"] == 60.0


@pytest.mark.parametrize(("side", "vx"), [("left", -100.0), ("right", 100.0)])
def test_a_paddle_returns_the_ball_faster_and_by_where_it_was_hit(side: str, vx: float) -> None:
    game = with_ball(x=rules.PADDLE_X[side] - vx * 0.01, y=45.0 + rules.PADDLE_HEIGHT / 4, vx=vx)
    ball = rules.step(game, 3)["ball"]
    assert ball["vx"] * vx < 0 and ball["vy"] > 0
    assert math.hypot(ball["vx"], ball["vy"]) == pytest.approx(100.0 * rules.SPEED_UP)


def test_a_rally_speeds_up_to_a_limit() -> None:
    ball, speeds = rules.Ball(80.0, 45.0, rules.BALL_SPEED, 0.0), set()
    for _ in range(120 * 60):
        ball = rules.fly(ball, 45.0, 45.0)  # hit in the paddle's middle, again and again
        speeds.add(round(abs(ball.vx), 6))
    assert min(speeds) == rules.BALL_SPEED and max(speeds) == rules.MAX_BALL_SPEED and len(speeds) > 10


def test_a_paddle_that_comes_late_saves_a_ball_that_is_still_on_the_field() -> None:
    missed = rules.fly(rules.Ball(4.0, 70.0, -60.0, 0.0), 20.0, 45.0)
    assert missed.vx < 0
    assert rules.fly(missed, 70.0, 45.0).vx > 0


@pytest.mark.parametrize(("winner", "vx"), [("right", -100.0), ("left", 100.0)])
def test_a_missed_ball_scores_and_another_is_served(winner: str, vx: float) -> None:
    game = with_ball(x=80.0 + vx * 0.75, y=80.0, vx=vx)
    after = passed(game, 0.2)
    assert after.score[winner] == 1 and sum(after.score.values()) == 1
    assert after.serve == game.serve + 1
    assert (after.ball["x"], after.ball["y"]) == (rules.WIDTH / 2, rules.HEIGHT / 2)
    assert passed(after, 1.2).ball["x"] != rules.WIDTH / 2


def test_a_stall_is_not_played_after_the_fact() -> None:
    game = with_ball(x=20.0, vx=100.0)
    assert rules.step(game, 100_000) == rules.step(game, rules.MAX_TICKS)


def test_rules_do_not_change_the_game_they_are_given() -> None:
    game = with_ball(vx=90.0, vy=20.0)
    before = repr(game.to_dict())
    rules.step(game, 12)
    rules.move(game, "left", 1, [100, 100])
    rules.leave(game, 1)
    assert repr(game.to_dict()) == before


def test_ticks_one_by_one_or_together_are_the_same() -> None:
    game = with_ball(vx=-140.0, vy=97.0)
    one_by_one = game
    for _ in range(240):
        one_by_one = play(one_by_one, rules.step(one_by_one, 1))
    together = passed(game, 2.0)
    assert (one_by_one.ball, one_by_one.score) == (together.ball, together.score)


def test_the_crossing_is_where_the_ball_crosses_a_paddles_line() -> None:
    ball = rules.Ball(80.0, 45.0, 100.0, 173.0)
    game = with_ball(**ball._asdict())
    crossing = rules.crossing(game, "right")
    assert rules.crossing(game, "left") is None and crossing is not None
    while ball.x < rules.PADDLE_X["right"] - 1:
        ball = rules.fly(ball, 0.0, -1000.0)
    assert abs(ball.y - crossing) < 3


# --- moves --------------------------------------------------------------------------------------------


def test_moves_are_made_once_and_stay_on_the_field() -> None:
    game = play(game_of(1, 2), rules.move(game_of(1, 2), "left", 1, [150, 150]))
    assert game.paddles["left"]["y"] == 48.0 and game.paddles["left"]["applied"] == 2
    again = play(game, rules.move(game, "left", 1, [150, 150, -100]))
    assert again.paddles["left"]["y"] == 47.0 and again.paddles["left"]["applied"] == 3
    for number in itertools.count(4):
        again = play(again, rules.move(again, "left", number, [180]))
        again = play(again, rules.step(again, 2))
        if number > 60:
            break
    assert again.paddles["left"]["y"] == rules.HEIGHT - rules.PADDLE_HEIGHT / 2
    assert again.paddles["right"]["y"] == 45.0


def test_who_asks_for_more_than_a_paddles_speed_gets_no_more() -> None:
    game = game_of(1, 2)
    start = game.paddles["left"]["y"]
    for number in range(1, 31):  # half a second: 16 moves in a step, each a second's way
        moves = rules.move(game, "left", 16 * number, [-(10**6), 10**4] * 8)
        game = play(game, moves)
        game = play(game, rules.step(game, 2))
    assert abs(game.paddles["left"]["y"] - start) <= rules.MAX_REACH + 1.1 * rules.PADDLE_SPEED * 0.5
    assert game.paddles["left"]["reach"] >= 0


def test_moves_at_a_paddles_speed_are_all_made_however_late_they_come() -> None:
    game = game_of(1, 2)
    way = int(rules.PADDLE_SPEED / 60 * rules.MOVES_PER_UNIT)
    waiting: list[int] = []
    number = 0
    for frame in range(1, 241):
        waiting.append(way if frame % 40 < 20 else -way)
        game = play(game, rules.step(game, 2))
        if frame % 15 == 0:  # a quarter of a second late
            game = play(game, rules.move(game, "left", number + 1, waiting))
            number += len(waiting)
            waiting = []
            assert game.paddles["left"]["applied"] == number
    expected = 45.0
    for frame in range(1, 241):
        expected = rules.moved(expected, way if frame % 40 < 20 else -way)
    assert game.paddles["left"]["y"] == pytest.approx(expected)


# --- people -------------------------------------------------------------------------------------------


def test_seats_go_to_people_first_and_a_bot_waits_for_its_turn() -> None:
    game = game_of(1, bots=(2,))
    assert game.seats == {"left": 1, "right": 2}
    game = joined(game, 3)
    assert game.seats == {"left": 1, "right": 3}
    game = joined(game, 4)
    assert game.seats == {"left": 1, "right": 3} and rules.queue(game) == [4, 2]
    game = play(game, rules.leave(game, 1))
    assert game.seats == {"left": 4, "right": 3}
    game = play(game, rules.leave(game, 3))
    assert game.seats == {"left": 4, "right": 2}
    assert sorted(game.players) == [2, 4]


def test_who_only_watches_gets_no_seat() -> None:
    game = rules.new_game()
    game = play(game, rules.join(game, 1, "eye", False, True))
    assert game.seats == {"left": 0, "right": 0} and rules.queue(game) == []


def test_a_new_player_begins_a_new_match_and_a_leaving_one_does_not() -> None:
    game = play(game_of(1, bots=(2,)), {"score": {"left": 3, "right": 1}})
    assert play(game, rules.leave(game, 2)).score == {"left": 3, "right": 1}
    assert joined(game, 3).score == {"left": 0, "right": 0}
    assert play(game, rules.join(game, 4, "eye", False, True)).score == {"left": 3, "right": 1}


def won(game: GameState, side: str) -> GameState:
    """After the match that `side` wins."""
    vx = {"left": 500.0, "right": -500.0}[side]
    score = {"left": 2, "right": 2, side: rules.WINNING_SCORE - 1}
    ball = {"x": 80.0, "y": 89.0, "vx": vx, "vy": 0.0}
    game = play(game, {"score": score, "starts_at": game.tick + 1, "ball": ball})
    return passed(game, 0.5)


def test_without_anybody_who_waits_there_is_another_match() -> None:
    game = won(game_of(1, bots=(2, 3)), "left")
    assert game.winner == "left" and game.score["left"] == rules.WINNING_SCORE
    assert game.players[1]["wins"] == 1
    game = passed(game, 4.0)
    assert game.winner == "" and game.score == {"left": 0, "right": 0}
    assert game.seats == {"left": 1, "right": 2}


def test_paddles_stay_where_they_are_between_matches_and_players() -> None:
    game = game_of(1, bots=(2,))
    for side in rules.SIDES:
        game = play(game, rules.move(game, side, 1, [900, 900]))
    rematch, sat_down = passed(won(game, "left"), 4.0), joined(game, 3)
    winner_stayed = passed(won(joined(game, 3, 4), "left"), 4.0)
    for later in (rematch, sat_down, winner_stayed):
        assert [later.paddles[side]["y"] for side in rules.SIDES] == [63.0, 63.0]
    assert winner_stayed.seats == {"left": 1, "right": 4}
    assert [winner_stayed.paddles[side]["applied"] for side in rules.SIDES] == [2, 0]  # counted anew


def test_the_winner_stays_and_the_loser_goes_to_the_end_of_the_queue() -> None:
    game = game_of(1, 2, 3, 4)
    for winner, seats, waiting in (
        ("left", {"left": 1, "right": 3}, [4, 2]),
        ("left", {"left": 1, "right": 4}, [2, 3]),
        ("right", {"left": 2, "right": 4}, [3, 1]),
    ):
        game = passed(won(game, winner), 4.0)
        assert game.seats == seats and rules.queue(game) == waiting
        game = passed(game, 3.1)
    assert [game.players[player]["wins"] for player in (1, 2, 3, 4)] == [0, 0, 0, 1]


def test_a_dropped_players_seat_is_kept_for_ten_seconds_while_the_game_waits() -> None:
    game = play(with_ball(vx=30.0), {"score": {"left": 3, "right": 1}})
    game = joined(game, 3)
    game = play(game, rules.drop(game, 2))
    ball = game.ball
    game = passed(game, 9.5)
    assert game.ball == ball and game.seats == {"left": 1, "right": 2}
    back = play(game, rules.come_back(game, 2))
    back = passed(back, 2.9)
    assert back.ball == ball and back.score == {"left": 3, "right": 1}  # counted down
    assert passed(back, 0.3).ball != ball
    gone = passed(game, 1.0)
    assert gone.seats == {"left": 1, "right": 3} and gone.score == {"left": 0, "right": 0}
    again = play(gone, rules.come_back(gone, 2))
    assert again.seats == {"left": 1, "right": 3} and rules.queue(again) == [2]


def test_who_is_away_is_not_seated() -> None:
    game = game_of(1, 2, 3)
    game = play(game, rules.drop(game, 3))
    game = play(game, rules.leave(game, 2))
    assert game.seats == {"left": 1, "right": 0}
    assert play(game, rules.come_back(game, 3)).seats == {"left": 1, "right": 3}


def test_names_carry_no_control_characters() -> None:
    game = rules.new_game()
    game = play(game, rules.join(game, 1, "\x1b[31mRed\x07\u202e", False, False))
    assert game.players[1]["name"] == "[31mRed"
    assert rules.clean_name("\x00") == "nobody"
    assert len(rules.clean_name("x" * 999)) == rules.NAME_LENGTH


# --- the match in a file ------------------------------------------------------------------------------


def test_a_match_is_saved_whenever_it_changes_and_goes_on_from_there(tmp_path: Path) -> None:
    path = tmp_path / "match.json"
    game, secrets = play(game_of(1, 5), {"score": {"left": 3, "right": 1}}), {1: "one", 5: "five"}
    file = SaveFile(path)
    file.save(game, secrets)
    written = path.stat().st_mtime_ns
    file.save(play(game, {"tick": 99}), secrets)
    assert path.stat().st_mtime_ns == written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # it says how players are known again
    assert [each.name for each in tmp_path.iterdir()] == ["match.json"]

    match = SaveFile(path).load()
    assert match is not None and match.secrets == secrets
    again = rules.continued_game(match.score, match.players, match.seats)
    assert again.score == game.score and again.seats == game.seats
    assert rules.name_at(again, "right") == "p5"
    assert passed(again, 9.0).seats == game.seats
    assert passed(again, 11.0).seats == {"left": 0, "right": 0}
    back = play(play(again, rules.come_back(again, 1)), rules.come_back(again, 5))
    assert passed(back, 3.5).ball != game.ball and passed(back, 3.5).score == game.score


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"score": 1}',
        json.dumps({"score": {"left": 1, "right": 0}, "seats": {"left": 9, "right": 0}, "players": {}}),
        json.dumps(
            {
                "score": {"left": 1, "right": 0},
                "seats": {"left": 9, "right": 0},
                "players": {},
                "secrets": {"9": "x"},
            }
        ),
    ],
)
def test_a_broken_file_is_no_match(content: str, tmp_path: Path) -> None:
    path = tmp_path / "match.json"
    assert SaveFile(path).load() is None
    path.write_text(content)
    assert SaveFile(path).load() is None


def test_a_file_that_cannot_be_written_does_not_stop_the_game(tmp_path: Path) -> None:
    (tmp_path / "no directory").touch()
    SaveFile(tmp_path / "no directory" / "match.json").save(game_of(1, 2), {1: "one", 2: "two"})


# --- options and sizes --------------------------------------------------------------------------------


def test_a_line_in_words() -> None:
    line = parse_line("10%,80ms,20ms")
    assert (line.loss, line.delay_s, line.jitter_s) == (0.1, 0.08, 0.02)
    assert parse_line("5%").loss == 0.05
    for wrong in ("", "10", "10%,80,20", "10%,80ms,20ms,1"):
        with pytest.raises(argparse.ArgumentTypeError):
            parse_line(wrong)


def test_wrong_options_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (
        ["--lossy", "200%,1ms,1ms"],
        ["--lossy", "x%,1ms"],
        ["--size", "10x10"],
        ["--join", "nowhere"],
        ["--join", "localhost:0"],
        ["--join", "localhost:65536"],
        ["--join", "localhost:" + "9" * 5000],
        ["--join", ":47801"],
    ):
        with pytest.raises(SystemExit):
            parse_arguments(wrong)
        message = capsys.readouterr().err.splitlines()[-1]
        assert wrong[1][:20] in message and len(message) < 200
        assert "parse_" not in message
        assert wrong[0] != "--join" or "is not an address such as localhost:47801" in message


@pytest.mark.parametrize(("name", "limit"), [("server.py", 150), ("network.py", 100)])
def test_what_one_reads_first_is_short(name: str, limit: int) -> None:
    assert len((PONG / name).read_text(encoding="utf-8").splitlines()) < limit
