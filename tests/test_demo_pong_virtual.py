"""Pong over bad lines, in virtual time: the demo's own server, clients, bots, and what a screen shows."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demos.pong import rules
from demos.pong.bot import Bot
from demos.pong.captions import announcement
from demos.pong.network import PongClient
from demos.pong.savefile import SaveFile
from demos.pong.scene import Scene
from demos.pong.server import PongServer
from demos.pong.shared import STEP_S
from pygase_gevent import Backend, ConnectionStatus, GameStateUpdate
from pygase_gevent.testing import VirtualNetwork
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.plugin import LossyLink

MINUTE_S, TEN_MINUTES_S = 60.0, 600.0
SETTLING_S = 2.0
"""After the last change everybody has it."""
FRAME_S = 1 / 60


def started(save_file: SaveFile | None = None, *, interval: float = STEP_S, port: int = 0) -> Backend:
    backend = PongServer(save_file).backend
    backend.run_in_thread(port=port, interval=interval)
    return backend


def joined(name: str, port: int, *, is_bot: bool = False, is_watching: bool = False) -> PongClient:
    player = PongClient(name, is_bot=is_bot, is_watching=is_watching)
    player.connect("localhost", port)
    return player


def total(player: PongClient) -> int:
    return sum(player.game().score.values())


# With 60 steps a second the ten minutes take twice the time.
@pytest.mark.parametrize(
    ("play_s", "interval_s"),
    [
        (MINUTE_S, 1 / 30),
        pytest.param(TEN_MINUTES_S, 1 / 30, marks=pytest.mark.long),
        pytest.param(TEN_MINUTES_S, STEP_S, marks=pytest.mark.slow),
    ],
)
@pytest.mark.virtual_network(seed=1, real_limit_s=180)
def test_both_players_see_the_same_score_after_minutes_at_20_percent_loss(
    play_s: float, interval_s: float, virtual_network: VirtualNetwork, lossy_link: LossyLink
) -> None:
    backend = started(interval=interval_s)
    players, hands = [], []
    for name in ("Ada", "Bob"):
        line = lossy_link(backend.server.port or 0, loss=0.2, delay_s=0.05, jitter_s=0.02)
        players.append(joined(name, line.port, is_bot=True))
        hands.append(threading.Thread(target=Bot().play, args=(players[-1], play_s, 2 * interval_s)))
    for hand in hands:
        hand.start()
    seen: list[list[tuple[int, int, int]]] = [[], []]  # by each player, each second
    while any(hand.is_alive() for hand in hands):
        time.sleep(1)
        for player, scores in zip(players, seen, strict=True):
            game = player.game()
            scores.append((game.serve, game.score["left"], game.score["right"]))
    assert virtual_network.now > play_s
    backend.game_state_machine.stop()
    time.sleep(SETTLING_S)

    final = backend.game_state_store.get_game_state().to_dict()
    assert [player.game().to_dict() for player in players] == [final, final]
    assert final["serve"] > play_s // 15
    assert {player["name"] for player in final["players"].values()} == {"Ada", "Bob"}
    assert sum(player["wins"] for player in final["players"].values()) >= play_s // 200
    for player, scores in zip(players, seen, strict=True):
        assert player.status == ConnectionStatus.CONNECTED
        assert player.client.connection.stats.packets_lost > play_s // 3
        assert all(before[0] <= after[0] for before, after in itertools.pairwise(scores))
        assert len({score[0] for score in scores}) > play_s // 20
        player.client.disconnect()
    backend.shutdown()


# --- what a screen shows ------------------------------------------------------------------------------


class Jumps:
    """The largest ones seen between two frames, in field units.

    Attributes:
        ball: how much further than it flies in a frame it was moved.
        sideways: how far from where its speed would have taken it, in frames without a bounce.
        own, other: of a paddle, beyond its own speed.
        newest: of the ball as of one who draws the newest state.
    """

    def __init__(self) -> None:
        self.ball = self.sideways = self.own = self.other = self.newest = 0.0


def frames(player: PongClient, seconds: float, bot: Bot, jumps: Jumps) -> Iterator[Scene]:
    """Plays as a window does, with a bot at the keys, and measures what would be seen."""
    scene, paddle_way = Scene(player), rules.PADDLE_SPEED * FRAME_S
    newest, ball, velocity = player.game(), (0.0, 0.0), (0.0, 0.0)
    for _ in range(round(seconds / FRAME_S)):
        before, paddles, side = scene.shown, dict(scene.paddles), scene.side
        scene.advance(bot.way(player), FRAME_S)
        game = player.game()
        if before is not None and scene.shown is not None and before.serve == scene.shown.serve:
            speed = math.hypot(*scene.velocity) * FRAME_S if math.dist(ball, scene.ball) else 0.0
            jumps.ball = max(jumps.ball, math.dist(ball, scene.ball) - speed)
            if velocity == scene.velocity and speed:
                expected = (ball[0] + velocity[0] * FRAME_S, ball[1] + velocity[1] * FRAME_S)
                jumps.sideways = max(jumps.sideways, math.dist(expected, scene.ball))
            if newest.serve == game.serve:
                step = math.dist((newest.ball["x"], newest.ball["y"]), (game.ball["x"], game.ball["y"]))
                jumps.newest = max(jumps.newest, step - speed)
        if side is not None and side == scene.side:
            for each, y in paddles.items():
                beyond = abs(scene.paddles[each] - y) - paddle_way
                if each == side:
                    jumps.own = max(jumps.own, beyond)
                else:
                    jumps.other = max(jumps.other, beyond)
        newest, ball, velocity = game, scene.ball, scene.velocity
        yield scene
        time.sleep(FRAME_S)


@pytest.mark.virtual_network(seed=3)
def test_what_is_drawn_at_100_ms_round_trip_and_5_percent_loss_does_not_jump(
    virtual_network: VirtualNetwork, lossy_link: LossyLink
) -> None:
    backend = started()
    players = [
        joined(name, lossy_link(backend.server.port or 0, loss=0.05, delay_s=0.05, jitter_s=0.01).port)
        for name in ("Ada", "Bob")
    ]
    hand = threading.Thread(target=Bot(2).play, args=(players[1], 40.0))
    hand.start()
    jumps, hits = Jumps(), []
    for scene in frames(players[0], 40.0, Bot(5), jumps):
        hits += [hit.kind for hit in scene.hits]
    two_percent = 0.02 * rules.WIDTH
    assert hits.count("paddle") > 10 and "point" in hits and "wall" in hits
    assert jumps.ball < two_percent and jumps.sideways < two_percent
    assert jumps.newest > jumps.ball  # what it is compared to
    assert jumps.own < 0.01  # the server never disagreed
    assert jumps.other < two_percent
    hand.join()


@pytest.mark.virtual_network(seed=1)
def test_the_own_paddle_moves_in_the_frame_of_the_key_and_is_not_corrected(
    virtual_network: VirtualNetwork, lossy_link: LossyLink
) -> None:
    backend = started()
    line = lossy_link(backend.server.port or 0, loss=0.1, delay_s=0.15, jitter_s=0.02)
    ada, bob = joined("Ada", line.port), joined("Bob", line.port)
    scene = Scene(ada)
    for _ in range(10):
        scene.advance(0.0, FRAME_S)
        time.sleep(FRAME_S)
    drawn = [scene.paddles["left"]]
    assert scene.side == "left" and drawn[0] == rules.HEIGHT / 2
    way = rules.PADDLE_SPEED * FRAME_S
    for frame in range(240):
        pressed = (1, 1, 0, -1)[frame // 12 % 4]
        scene.advance(pressed * way, FRAME_S)
        drawn.append(scene.paddles["left"])
        assert drawn[-1] - drawn[-2] == pytest.approx(pressed * way, abs=0.01) or drawn[-1] > 80
        time.sleep(FRAME_S)
    for _ in range(120):
        scene.advance(0.0, FRAME_S)
        assert scene.paddles["left"] == drawn[-1]
        time.sleep(FRAME_S)
    for game in (backend.game_state_store.get_game_state(), ada.game(), bob.game()):
        assert game.paddles["left"]["y"] == pytest.approx(drawn[-1])


@pytest.mark.virtual_network(seed=1)
def test_a_correction_is_seen_only_when_the_server_disagrees(virtual_network: VirtualNetwork) -> None:
    backend = started()
    line = virtual_network.link(backend.server.port or 0, up=LinkOptions(delay_s=0.05))
    ada, _ = joined("Ada", line.port), joined("Bob", line.port)
    scene = Scene(ada)
    for _ in range(30):
        scene.advance(0.0, FRAME_S)
        time.sleep(FRAME_S)
    y = scene.paddles["left"]
    reached = backend.game_state_store.get_game_state()
    backend.game_state_machine.stop()
    backend.game_state_store.push_update(
        GameStateUpdate(reached.time_order + 1, paddles={"left": {"y": y - 20.0}})
    )
    last, steps = y, []
    for _ in range(60):
        scene.advance(0.0, FRAME_S)
        steps.append(abs(scene.paddles["left"] - last))
        last = scene.paddles["left"]
        time.sleep(FRAME_S)
    assert last == pytest.approx(y - 20.0, abs=0.1)
    assert 0.5 < max(steps) < 0.02 * rules.WIDTH  # drawn there step by step


@pytest.mark.virtual_network(seed=1)
def test_a_spectator_sees_it_all_and_can_move_nothing(virtual_network: VirtualNetwork) -> None:
    backend = started()
    port = backend.server.port or 0
    ada, eve = joined("Ada", port), joined("Eve", port, is_watching=True)
    bob = joined("Bob", port, is_bot=True)
    hands = [threading.Thread(target=Bot(1).play, args=(player, 10.0)) for player in (ada, bob)]
    for hand in hands:
        hand.start()
    jumps = Jumps()
    for scene in frames(eve, 10.0, Bot(), jumps):
        assert scene.side is None
    assert jumps.ball < 1.0 and total(eve) == total(ada)
    assert announcement(scene)[0] in ("", "1")


# --- lines that break, servers that end ---------------------------------------------------------------


@pytest.mark.virtual_network(seed=1)
def test_a_player_who_drops_keeps_the_seat_and_resumes(
    virtual_network: VirtualNetwork, lossy_link: LossyLink
) -> None:
    backend = started()
    port = backend.server.port or 0
    line = lossy_link(port, loss=0.05)
    ada, bob, max_ = joined("Ada", port), joined("Bob", line.port), joined("Max", port)
    bob.client.try_to(lambda game: game.starts_at or None, 10)
    ada.client.wait_until(lambda game: sum(game.score.values()) > 0, 30)
    line.partition()
    scene = Scene(ada)
    ada.client.wait_until(lambda game: game.players[bob.player_id]["back_by"] > 0, 10)
    score = dict(ada.game().score)
    time.sleep(6)
    scene.advance(0.0, FRAME_S)
    assert announcement(scene)[0] == "Bob lost the line"
    line.heal()
    ada.client.wait_until(lambda game: not game.players[bob.player_id]["back_by"], 4)
    assert (ada.game().seats["right"], dict(ada.game().score)) == (bob.player_id, score)
    line.partition()
    ada.client.wait_until(lambda game: game.seats["right"] == max_.player_id, 20)
    assert total(ada) == 0
    line.heal()
    ada.client.wait_until(lambda game: rules.queue(game) == [bob.player_id], 20)


@pytest.mark.virtual_network(seed=1)
def test_a_server_that_is_another_process_goes_on_with_the_score(
    virtual_network: VirtualNetwork, tmp_path: Path
) -> None:
    file = tmp_path / "match.json"
    backend = started(SaveFile(file))
    port = backend.server.port or 0
    ada, bob = joined("Ada", port), joined("Bob", port)
    scene = Scene(bob)
    bob.client.wait_until(lambda game: sum(game.score.values()) == 2, 60)
    score, seats = dict(bob.game().score), dict(bob.game().seats)
    time.sleep(0.1)
    backend.game_state_machine.stop()  # so that nobody scores meanwhile
    scene.advance(0.0, FRAME_S)
    assert scene.side == "right"
    backend.shutdown()
    time.sleep(1)

    again = started(SaveFile(file), port=port)
    deadline = virtual_network.now + 8
    while not again.game_state_store.get_game_state().starts_at:  # both are back, and it counts down
        assert virtual_network.now < deadline
        scene.advance(0.1, FRAME_S)
        time.sleep(FRAME_S)
    time.sleep(0.2)
    assert dict(again.game_state_store.get_game_state().score) == score
    for player, side in ((ada, "left"), (bob, "right")):
        assert player.status == ConnectionStatus.CONNECTED
        assert player.game().seats[side] == player.player_id == seats[side]
        assert rules.name_at(player.game(), side) == player.name
    bob.client.wait_until(lambda game: sum(game.score.values()) > 2, 30)  # it goes on
    assert len(again.game_state_store.get_game_state().players) == 2


@pytest.mark.virtual_network(seed=1)
def test_who_does_not_come_back_to_a_restarted_server_is_forgotten(
    virtual_network: VirtualNetwork, tmp_path: Path
) -> None:
    file = tmp_path / "match.json"
    backend = started(SaveFile(file))
    ada, bob = joined("Ada", backend.server.port or 0), joined("Bob", backend.server.port or 0)
    ada.client.wait_until(lambda game: sum(game.score.values()) == 1, 60)
    backend.shutdown()
    for player in (ada, bob):
        player.client.disconnect()
    time.sleep(1)
    again = started(SaveFile(file))
    zoe = joined("Zoe", again.server.port or 0)
    assert total(zoe) == 1 and zoe.player_id not in zoe.game().seats.values()
    zoe.client.wait_until(lambda game: len(game.players) == 1, 20)
    assert zoe.game().seats == {"left": zoe.player_id, "right": 0} and total(zoe) == 0
