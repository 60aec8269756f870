"""Server and clients as processes of their own: they play, and they end when they are told to."""

from __future__ import annotations

import signal
import socket

import pytest

from .game import ENTITIES, Player, is_consistent
from .support import Program, eventually, free_udp_port

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
PATCHING = pytest.mark.parametrize("is_patched", [False, True], ids=["plain", "patched"])


@pytest.mark.parametrize("hubs", ["threads", "greenlets"])
@PATCHING
def test_basic_path(hubs: str, is_patched: bool) -> None:
    with Program("acceptance", hubs, is_patched=is_patched) as program:
        status = program.wait_end()
        assert program.errors == ""
        assert program.lines == ["all of it works"]
        assert status == 0
        assert not program.has_left_processes()


@PATCHING
def test_state_and_events_of_another_process(is_patched: bool) -> None:
    port = free_udp_port()
    with Program("server", port, is_patched=is_patched) as server:
        player = Player(port)
        player.client.wait_connected(30)
        ticks: list[int] = []
        for _ in range(100):
            last = ticks[-1] if ticks else -1
            player.client.wait_until(lambda state, last=last: state.tick > last, timeout=30)
            state = player.state()
            assert len(state.entities) == ENTITIES
            assert is_consistent(state)
            ticks.append(state.tick)
        assert ticks == sorted(set(ticks))
        for number in range(200):
            player.client.dispatch_event("PING", number)
        eventually(lambda: len(player.pongs) >= 200)
        assert sorted(player.pongs) == list(range(200))
        player.client.disconnect(shutdown_server=True)
        assert server.wait_end() == 0
        assert server.errors == ""
        player.thread.join(30)


@SIGNALS
@PATCHING
def test_signal_ends_server_and_client_is_told(number: signal.Signals, is_patched: bool) -> None:
    port = free_udp_port()
    with Program("server", port, is_patched=is_patched) as server:
        player = Player(port)
        player.client.wait_connected(30)
        server.send_signal(number)
        assert server.wait_end() == 0
        assert server.lines == ["ended"]
        assert server.errors == ""
        assert not server.has_left_processes()
        eventually(lambda: player.hooks == ["connect", "drop"], lambda: player.hooks)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", port))
        player.client.disconnect()
        player.thread.join(30)
        assert player.hooks == ["connect", "drop", "close"]


@SIGNALS
@PATCHING
def test_signal_ends_client_and_server_is_told(number: signal.Signals, is_patched: bool) -> None:
    port = free_udp_port()
    with Program("server", port) as server:
        player = Player(port)
        player.client.wait_connected(30)
        with Program("client", port, is_patched=is_patched) as client:
            client.wait_line("connected")
            client.send_signal(number)
            client.wait_end()
            assert client.errors == ""
            assert not client.has_left_processes()
        player.client.wait_until(lambda state: "leave" in state.hooks, timeout=30)
        player.client.disconnect(shutdown_server=True)
        player.thread.join(30)
        assert server.wait_end() == 0


@PATCHING
def test_ctrl_c_ends_programs_that_run_in_threads(is_patched: bool) -> None:
    port = free_udp_port()
    with Program("server", port, "--in-thread", is_patched=is_patched) as server:
        server.wait_line("listening")
        with Program("client", port, "--in-thread", is_patched=is_patched) as client:
            client.wait_line("connected")
            for program in (client, server):
                program.send_signal(signal.SIGINT)
                assert program.wait_end() == 0
                assert program.lines[-1] == "ended"
                assert program.errors == ""
                assert not program.has_left_processes()


@SIGNALS
def test_signal_to_a_whole_terminal(number: signal.Signals) -> None:
    """Ctrl-C in a terminal reaches the server and all clients at once."""
    port = free_udp_port()
    with Program("server", port) as server, Program("client", port) as one, Program("client", port) as other:
        for client in (one, other):
            client.wait_line("connected")
        programs = [server, one, other]
        for program in programs:
            program.send_signal(number)
        for program in programs:
            program.wait_end()
            assert program.errors == ""
            assert not program.has_left_processes()


def test_clients_may_start_first() -> None:
    port = free_udp_port()
    with Program("client", port) as client:
        player = Player(port)
        for number in range(20):
            player.send_line(number)
        with Program("server", port) as server:
            player.client.wait_connected(30)
            client.wait_line("connected")
            player.client.wait_until(lambda state: state.lines == 20, timeout=30)
            player.client.disconnect(shutdown_server=True)
            server.wait_end()
            client.send_signal(signal.SIGINT)
            client.wait_end()
            assert client.errors == server.errors == ""
        player.thread.join(30)
