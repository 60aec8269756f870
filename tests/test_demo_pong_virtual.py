"""Ten minutes of pong over a bad line, in virtual time: the demo's own server, clients and bots."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from demos.pong.client import Bot, PongClient
from demos.pong.server import PongServer
from demos.pong.shared import STEP_S
from pygase_gevent import ConnectionStatus
from pygase_gevent.testing import VirtualNetwork
from pygase_gevent.testing.plugin import LossyLink

TEN_MINUTES_S = 600.0
SETTLING_S = 2.0
"""After the last change everybody has it."""


# With 60 steps a second the ten minutes take 25 s of real time, with 30 they take 14.
@pytest.mark.parametrize("interval_s", [1 / 30, pytest.param(STEP_S, marks=pytest.mark.slow)])
@pytest.mark.virtual_network(seed=1, real_limit_s=180)
def test_both_players_see_the_same_score_after_ten_minutes_at_20_percent_loss(
    interval_s: float, virtual_network: VirtualNetwork, lossy_link: LossyLink
) -> None:
    backend = PongServer().backend
    backend.run_in_thread(interval=interval_s)
    players = [PongClient(name, is_bot=True) for name in ("Ada", "Bob")]
    hands = []
    for player in players:
        line = lossy_link(backend.server.port or 0, loss=0.2, delay_s=0.05, jitter_s=0.02)
        player.connect("localhost", line.port)
        hands.append(threading.Thread(target=Bot().play, args=(player, TEN_MINUTES_S)))
    for hand in hands:
        hand.start()
    seen: list[list[tuple[int, int]]] = [[], []]  # by each player, each second
    while any(hand.is_alive() for hand in hands):
        time.sleep(1)
        for player, scores in zip(players, seen, strict=True):
            score = player.game().score
            scores.append((score["left"], score["right"]))
    assert virtual_network.now > TEN_MINUTES_S
    backend.game_state_machine.stop()
    time.sleep(SETTLING_S)

    final = backend.game_state_store.get_game_state().to_dict()
    assert [player.game().to_dict() for player in players] == [final, final]
    assert final["score"]["left"] + final["score"]["right"] > 20
    assert {player["name"] for player in final["players"].values()} == {"Ada", "Bob"}
    for player, scores in zip(players, seen, strict=True):
        assert player.client.connection.status == ConnectionStatus.CONNECTED
        assert player.client.connection.stats.packets_lost > 200
        assert all(
            before[0] <= after[0] and before[1] <= after[1] for before, after in itertools.pairwise(scores)
        )
        player.disconnect()
    backend.shutdown()
