"""Over a relay that loses and delays: everything arrives, exactly as promised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pygase_gevent import GameStateUpdate
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.relay import Relay

from .game import Game, Player, is_consistent
from .support import eventually, is_exactly

BAD = LinkOptions(loss=0.2, delay_s=0.05, jitter_s=0.02)
TEN_PERCENT = LinkOptions(loss=0.1, delay_s=0.005)
CLEAN = LinkOptions(delay_s=0.005)
ALL_BAD = LinkOptions(
    loss=0.1, delay_s=0.03, jitter_s=0.02, duplicate=0.1, reorder=0.1, reorder_s=0.05, corrupt=0.05
)
LINES = pytest.mark.parametrize("line", [CLEAN, TEN_PERCENT], ids=["clean", "10 % loss"])


@pytest.fixture
def game() -> Iterator[Game]:
    game = Game(blob=b"", blobs=0)
    game.run_in_thread()
    yield game
    game.backend.shutdown()


@pytest.mark.parametrize("line", [BAD, ALL_BAD], ids=["20 % loss", "everything"])
def test_reliable_ordered_events_exactly_once_both_ways(game: Game, line: LinkOptions) -> None:
    with Relay(("127.0.0.1", game.server.port or 0), up=line, seed=1) as relay, Player(relay.port) as player:
        player.wait_playing()
        address = game.only_client
        for number in range(500):
            player.send_line(number)
            game.server.dispatch_event("TOLD", number, target_client=address)
            if number % 10 == 9:  # over fifty steps, so that they travel in many packets
                player.next_state()
        eventually(lambda: len(game.lines[address]) >= 500, lambda: len(game.lines[address]))
        eventually(lambda: len(player.told) >= 500, lambda: len(player.told))
        assert is_exactly(game.lines[address], 500)
        assert is_exactly(player.told, 500)
        assert relay.up_counts["lost"] > 0
        assert relay.down_counts["lost"] > 0
    assert player.hooks == ["connect", "close"]


@pytest.mark.parametrize("line", [BAD, ALL_BAD], ids=["20 % loss", "everything"])
def test_state_keeps_moving_and_ends_as_the_servers(game: Game, line: LinkOptions) -> None:
    with Relay(("127.0.0.1", game.server.port or 0), up=line, seed=2) as relay, Player(relay.port) as player:
        player.wait_playing()
        for _ in range(60):
            assert is_consistent(player.next_state())
        for number in range(8):  # and back and forth, so that it stands still on more than one state
            game.is_moving = False
            eventually(lambda: not_moving(game), "the server stands still")
            player.client.wait_until(lambda state: state.tick == game.state.tick, timeout=30)
            with player.client.access_game_state() as state:
                assert state.to_dict() == game.state.to_dict()
            if number % 2 == 0:
                game.backend.game_state_store.push_update(GameStateUpdate(0, blob=bytes([number]) * 700))
                player.client.wait_until(lambda state: state.blob == game.state.blob, timeout=30)
            game.is_moving = True
            player.next_state(ticks=3)
    assert player.hooks == ["connect", "close"]


@LINES
def test_large_state_arrives_while_small_events_flow(game: Game, line: LinkOptions) -> None:
    blob = bytes(range(256)) * 400  # 100 KiB
    game.backend.game_state_store.push_update(GameStateUpdate(0, blob=blob))
    with Relay(("127.0.0.1", game.server.port or 0), up=line, seed=3) as relay, Player(relay.port) as player:
        player.wait_playing()
        numbers = ping_until(player, lambda: "blob" in player.state().to_dict())
        assert player.state().blob == blob
        assert is_consistent(player.state())
        other = bytes(reversed(blob))  # and as a change of the state that it has
        game.backend.game_state_store.push_update(GameStateUpdate(0, blob=other))
        numbers += ping_until(player, lambda: player.state().blob == other, first=numbers)
        assert is_consistent(player.next_state(ticks=10))
        all_answered(player, numbers)
    assert player.hooks == ["connect", "close"]


@LINES
def test_large_event_arrives_while_small_events_flow(game: Game, line: LinkOptions) -> None:
    note = bytes(range(256)) * 4095  # with its envelope just under 1 MiB
    with Relay(("127.0.0.1", game.server.port or 0), up=line, seed=4) as relay, Player(relay.port) as player:
        player.wait_playing()
        address = game.only_client
        player.client.dispatch_event("NOTE", note)
        numbers = ping_until(player, lambda: game.notes[address])
        game.server.dispatch_event("NOTE", note, target_client=address)
        numbers += ping_until(player, lambda: player.notes, first=numbers)
        assert game.notes[address] == [note]
        assert player.notes == [note]
        assert numbers > 4, "no small event got through while the large one was under way"
        assert is_consistent(player.next_state())
        all_answered(player, numbers)
    assert player.hooks == ["connect", "close"]


def ping_until(player: Player, is_done: object, *, first: int = 0) -> int:
    """Pings one after the other until something is done; how many came back meanwhile."""
    assert callable(is_done)
    number = first
    while not is_done():
        player.client.dispatch_event("PING", number)
        number += 1
        eventually(lambda number=number: len(player.pongs) >= number, lambda: len(player.pongs))  # type: ignore[misc]
    return number - first


def all_answered(player: Player, count: int) -> None:
    eventually(lambda: len(player.pongs) >= count)
    assert player.pongs == list(range(count))


def not_moving(game: Game) -> bool:
    """Whether the loop has taken a step since it was told to stand still."""
    tick, game_time = game.state.tick, game.backend.game_state_machine.game_time
    eventually(lambda: game.backend.game_state_machine.game_time > game_time + 0.03)
    return bool(game.state.tick == tick)
