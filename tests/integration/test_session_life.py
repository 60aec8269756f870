"""The life of a session, as the public contract has it: silence, resume, restart, kill, end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from pygase_gevent import Config, ConnectionStatus, DisconnectReason
from pygase_gevent.testing.relay import Relay

from .game import Address, Game, Player
from .support import PATCHING, Program, eventually, free_udp_port, is_exactly

SCALE = 5
"""Session times of the regular suite are the real ones divided by this."""
SHORT = Config(
    timeout_s=5.0 / SCALE,
    resume_after_s=2.0 / SCALE,
    resume_window_s=30.0 / SCALE,
    handshake_attempt_s=5.0 / SCALE,
    half_open_timeout_s=5.0 / SCALE,
    challenge_lifetime_s=5.0 / SCALE,
    keepalive_s=0.25 / SCALE,
)
BRIEF = replace(SHORT, resume_window_s=1.0)
REAL = Config()
TIMES = pytest.mark.parametrize(
    ("config", "scale"),
    [pytest.param(SHORT, SCALE, id="short"), pytest.param(REAL, 1, id="real", marks=pytest.mark.slow)],
)


@dataclass
class Table:
    """A game, a relay, and a player who plays through it."""

    game: Game
    relay: Relay
    player: Player
    address: Address
    sent: int = 0

    def exchange(self, count: int = 20) -> None:
        """Reliable ordered events both ways; they need not arrive now."""
        for number in range(self.sent, self.sent + count):
            self.player.send_line(number)
            self.game.server.dispatch_event("TOLD", number, target_client=self.address)
        self.sent += count

    def all_arrived(self) -> None:
        """Waits for everything sent until now, and that it came exactly once and in order."""
        lines, told = self.game.lines[self.address], self.player.told
        eventually(
            lambda: len(lines) >= self.sent and len(told) >= self.sent,
            lambda: f"{len(lines)} and {len(told)} of {self.sent}; {self.player.hooks}, {self.game.hooks}",
        )
        assert is_exactly(lines, self.sent)
        assert is_exactly(told, self.sent)

    def moves(self) -> None:
        """Waits until the player sees the game moving."""
        tick = self.game.state.tick
        self.player.client.wait_until(lambda state: state.tick > tick + 5, timeout=30)

    def hooks_are(self, *, game: list[str], player: list[str]) -> None:
        eventually(lambda: self.game.hooks_of(self.address) == game, lambda: self.game.hooks)
        eventually(lambda: self.player.hooks == player, lambda: self.player.hooks)


@pytest.fixture
def config() -> Config:
    """Of both sides; parametrize a test with another one."""
    return SHORT


@pytest.fixture
def table(config: Config) -> Iterator[Table]:
    game = Game(config=config)
    game.run_in_thread()
    with (
        Relay(("127.0.0.1", game.server.port or 0)) as relay,
        Player(relay.port, config=config) as player,
    ):
        player.wait_playing()
        table = Table(game, relay, player, game.only_client)
        table.exchange()
        table.all_arrived()
        table.moves()
        yield table
    game.backend.shutdown()


def silence(table: Table, seconds: float) -> None:
    """Nothing passes for a while, and both sides go on talking."""
    table.relay.partition()
    end = time.monotonic() + seconds
    table.exchange()
    eventually(lambda: time.monotonic() >= end, limit_s=seconds + 30)
    table.relay.heal()


@TIMES
def test_three_seconds_of_silence(table: Table, scale: float) -> None:
    session_id = table.player.client.connection.session_id
    silence(table, 3 / scale)
    table.all_arrived()
    table.exchange()
    table.all_arrived()
    table.moves()
    table.hooks_are(game=["join", "reconnect"], player=["connect", "drop", "resume"])
    assert table.player.client.connection.session_id == session_id
    assert list(table.game.server.connections) == [table.address]


@TIMES
def test_ten_seconds_of_silence(table: Table, scale: float) -> None:
    session_id = table.player.client.connection.session_id
    connection = table.game.server.connections[table.address]
    table.relay.partition()
    table.exchange()
    end = time.monotonic() + 10 / scale
    eventually(lambda: table.player.client.connection.status == ConnectionStatus.CONNECTING)
    eventually(lambda: connection.status == ConnectionStatus.DISCONNECTED)
    assert table.game.server.connections[table.address].disconnect_reason is None
    table.hooks_are(game=["join", "drop"], player=["connect", "drop"])
    eventually(lambda: time.monotonic() >= end, limit_s=40)
    table.relay.heal()
    table.all_arrived()
    table.exchange()
    table.all_arrived()
    table.moves()
    table.hooks_are(game=["join", "drop", "reconnect"], player=["connect", "drop", "resume"])
    assert table.player.client.connection.session_id == session_id
    assert table.game.server.connections[table.address].session_id == session_id
    assert connection.remote_address != table.address
    assert connection.status == ConnectionStatus.CONNECTED


@TIMES
def test_forty_seconds_of_silence(table: Table, scale: float) -> None:
    sent_before = table.sent
    connection = table.game.server.connections[table.address]
    silence(table, 40 / scale)
    table.hooks_are(game=["join", "drop", "leave"], player=["connect", "drop", "close"])
    assert table.address not in table.game.server.connections
    assert connection.disconnect_reason is not None
    assert connection.disconnect_reason.reason is DisconnectReason.TIMED_OUT
    assert table.player.client.connection.status == ConnectionStatus.DISCONNECTED
    reason = table.player.client.connection.disconnect_reason
    assert reason is not None
    assert reason.reason is DisconnectReason.TIMED_OUT
    eventually(lambda: not table.player.thread.is_alive())
    assert is_exactly(table.game.lines[table.address], sent_before)
    assert is_exactly(table.player.told, sent_before)
    assert table.game.server.host_client is None


def test_new_source_port(table: Table) -> None:
    """As from a router that gives the client another port in the middle of the game."""
    session_id = table.player.client.connection.session_id
    table.relay.rebind()
    table.exchange()
    table.all_arrived()
    table.moves()
    table.hooks_are(game=["join", "reconnect"], player=["connect", "drop", "resume"])
    assert list(table.game.server.connections) == [table.address]
    connection = table.game.server.connections[table.address]
    assert connection.remote_address != table.address
    assert connection.session_id == session_id == table.player.client.connection.session_id


def test_source_port_changes_again_and_again(table: Table) -> None:
    for times in range(1, 4):
        table.relay.rebind()
        table.exchange()
        table.all_arrived()
        resumes = ["drop", "resume"] * times
        table.hooks_are(game=["join", *["reconnect"] * times], player=["connect", *resumes])


@pytest.mark.parametrize("away_s", [0.0, 2.0], ids=["at once", "after the timeout"])
def test_server_shut_down_and_run_again(table: Table, away_s: float) -> None:
    port, session_id = table.game.server.port, table.player.client.connection.session_id
    assert port is not None
    connection = table.game.server.connections[table.address]
    host = table.game.server.host_client
    table.exchange(5)
    table.game.backend.shutdown()
    assert table.game.server.port is None
    eventually(lambda: table.player.client.connection.status == ConnectionStatus.CONNECTING)
    end = time.monotonic() + away_s
    for number in range(table.sent, table.sent + 20):
        table.player.send_line(number)
    eventually(lambda: time.monotonic() >= end)
    assert list(table.game.server.connections) == [table.address]
    table.game.run_in_thread(port)
    for number in range(table.sent, table.sent + 20):
        table.game.server.dispatch_event("TOLD", number, target_client=table.address)
    table.sent += 20
    table.all_arrived()
    table.exchange()
    table.all_arrived()
    table.moves()
    assert table.player.hooks == ["connect", "drop", "resume"]
    hooks = table.game.hooks_of(table.address)
    assert [name for name in hooks if name != "drop"] == ["join", "reconnect"]
    assert connection.session_id == table.player.client.connection.session_id == session_id
    assert table.game.server.host_client == host == table.address


@pytest.mark.parametrize("config", [BRIEF])
def test_server_does_not_come_back(table: Table) -> None:
    table.game.backend.shutdown()
    eventually(lambda: table.player.hooks == ["connect", "drop", "close"], lambda: table.player.hooks)
    reason = table.player.client.connection.disconnect_reason
    assert reason is not None
    assert reason.reason is DisconnectReason.SHUTDOWN
    eventually(lambda: not table.player.thread.is_alive())


@PATCHING
def test_server_process_killed_and_started_anew(is_patched: bool) -> None:
    """Nobody says goodbye; the next process knows nothing, and takes the client as a new one."""
    port = free_udp_port()
    with Program("server", port, is_patched=is_patched) as first, Player(port) as player:
        player.wait_playing()
        for number in range(10):
            player.send_line(number)
        player.client.wait_until(lambda state: state.lines == 10, timeout=30)
        session_id = player.client.connection.session_id
        first.send_signal(signal.SIGKILL)
        first.wait_end()
        for number in range(10, 15):
            player.send_line(number)  # nobody is there: these are pending, and will be discarded
        with Program("server", port, is_patched=is_patched) as second:
            eventually(lambda: player.hooks == ["connect", "drop", "connect"], lambda: player.hooks)
            assert player.client.connection.session_id != session_id
            for number in range(20):
                player.send_line(number)
            player.client.wait_until(lambda state: state.lines >= 20 and state.tick > 50, timeout=30)
            assert player.state().lines == 20
            assert player.state().hooks == ["join"]
            assert player.client.connection.stats.drops["session_replaced"] == 5
            player.client.disconnect(shutdown_server=True)
            assert second.wait_end() == 0
            assert second.errors == ""
    assert player.hooks == ["connect", "drop", "connect", "close"]


@PATCHING
def test_a_client_process_goes_on_from_another_port(is_patched: bool) -> None:
    port = free_udp_port()
    with (
        Program("server", port, is_patched=is_patched) as server,
        Relay(("127.0.0.1", port)) as relay,
        Player(port) as player,
        Program("client", relay.port, is_patched=is_patched) as client,
    ):
        player.wait_playing()
        client.wait_line("connected")
        relay.rebind()
        client.wait_line("resumed")
        player.client.wait_until(lambda state: "reconnect" in state.hooks, timeout=30)
        assert player.state().hooks == ["join", "join", "reconnect"]
        player.client.disconnect(shutdown_server=False)
        server.send_signal(signal.SIGTERM)
        assert server.wait_end() == 0
        assert server.errors == ""
        client.send_signal(signal.SIGTERM)
        assert client.wait_end() == 0
        assert client.errors == ""
        assert client.lines == ["connected", "resumed", "closed goodbye", "ended"]


@PATCHING
def test_client_process_killed(is_patched: bool) -> None:
    game = Game(config=BRIEF)
    game.run_in_thread()
    with Program("client", game.server.port, is_patched=is_patched) as client:
        client.wait_line("connected")
        address = game.only_client
        client.send_signal(signal.SIGKILL)
        eventually(lambda: game.hooks_of(address) == ["join", "drop", "leave"], lambda: game.hooks)
    assert not game.server.connections
    game.backend.shutdown()


def stop_for_three_seconds(program: Program) -> None:
    """What a laptop lid or a debugger does; shorter than the server's timeout."""
    program.send_signal(signal.SIGSTOP)
    time.sleep(3.0)
    program.send_signal(signal.SIGCONT)


@PATCHING
def test_client_process_stopped_and_continued(is_patched: bool) -> None:
    """It finds what arrived meanwhile before it judges the silence: nothing happened."""
    game = Game()
    game.run_in_thread()
    with Program("client", game.server.port, is_patched=is_patched) as client:
        client.wait_line("connected")
        address = game.only_client
        stop_for_three_seconds(client)
        assert game.server.call(address, "ECHO", "awake", timeout=30) == "awake"
        assert "drop" not in game.hooks_of(address)
        client.send_signal(signal.SIGTERM)
        assert client.wait_end() == 0
    game.backend.shutdown()


@PATCHING
def test_server_process_stopped_and_continued(is_patched: bool) -> None:
    """The client notices, and resumes when the server is back."""
    port = free_udp_port()
    with Program("server", port, is_patched=is_patched) as server, Player(port) as player:
        player.wait_playing()
        for number in range(10):
            player.send_line(number)
        session_id = player.client.connection.session_id
        stop_for_three_seconds(server)
        for number in range(10, 20):
            player.send_line(number)
        player.client.wait_until(lambda state: state.lines == 20, timeout=30)
        assert player.client.connection.session_id == session_id
        assert player.hooks in (["connect", "drop", "resume"], ["connect"])


def ends(player: Player, act: Callable[[], object]) -> DisconnectReason:
    act()
    eventually(lambda: not player.thread.is_alive())
    reason = player.client.connection.disconnect_reason
    assert reason is not None
    return reason.reason


def test_goodbye_of_the_client(table: Table) -> None:
    assert ends(table.player, table.player.client.disconnect) is DisconnectReason.GOODBYE
    table.hooks_are(game=["join", "leave"], player=["connect", "close"])
    assert not table.game.server.connections


def test_kick(table: Table) -> None:
    reason = ends(table.player, lambda: table.game.server.kick(table.address, "the table is closed"))
    assert reason is DisconnectReason.KICKED
    assert table.player.client.connection.disconnect_reason is not None
    assert table.player.client.connection.disconnect_reason.text == "the table is closed"
    table.hooks_are(game=["join", "leave"], player=["connect", "close"])
    assert not table.game.server.connections
