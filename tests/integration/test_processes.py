"""Server and clients as processes of their own: they play, and they end when they are told to."""

from __future__ import annotations

import signal
import socket

import pytest

from .game import ENTITIES, Player, is_consistent
from .support import PATCHING, Program, eventually, free_udp_port

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


def ends_clean(program: Program) -> None:
    """Waits for a program's end: without an error, a word on standard error, or anything left of it."""
    assert program.wait_end() == 0, program.errors
    assert program.errors == ""
    assert not program.has_left_processes()


@PATCHING
def test_state_and_events_of_another_process(is_patched: bool) -> None:
    port = free_udp_port()
    with Program("server", port, is_patched=is_patched) as server, Player(port) as player:
        player.wait_playing()
        ticks = [player.state().tick]
        for _ in range(100):
            state = player.next_state()
            assert len(state.entities) == ENTITIES
            assert is_consistent(state)
            ticks.append(state.tick)
        assert ticks == sorted(set(ticks))
        for number in range(200):
            player.client.dispatch_event("PING", number)
        eventually(lambda: len(player.pongs) >= 200)
        assert sorted(player.pongs) == list(range(200))
        player.client.disconnect(shutdown_server=True)
        ends_clean(server)


@SIGNALS
@PATCHING
def test_signal_ends_server_and_client_is_told(number: signal.Signals, is_patched: bool) -> None:
    port = free_udp_port()
    with Program("server", port, is_patched=is_patched) as server, Player(port) as player:
        player.wait_playing()
        server.send_signal(number)
        ends_clean(server)
        assert server.lines == ["ended"]
        eventually(lambda: player.hooks == ["connect", "drop"], lambda: player.hooks)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", port))
    assert player.hooks == ["connect", "drop", "close"]


@SIGNALS
@PATCHING
def test_signal_ends_client_and_server_is_told(number: signal.Signals, is_patched: bool) -> None:
    port = free_udp_port()
    with Program("server", port) as server, Player(port) as player:
        player.wait_playing()
        with Program("client", port, is_patched=is_patched) as client:
            client.wait_line("connected")
            client.send_signal(number)
            ends_clean(client)
            assert client.lines[-1] == "ended"
        player.client.wait_until(lambda state: state.hooks == ["join", "join", "leave"], timeout=30)
        player.client.disconnect(shutdown_server=True)
        ends_clean(server)


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
                assert "ended" in program.lines
                # Where a patched program waits, gevent's hub itself says the word, without a traceback.
                assert program.errors == "" or (
                    is_patched and program.errors.startswith("KeyboardInterrupt\n")
                )
                assert "Traceback" not in program.errors
                assert not program.has_left_processes()


@SIGNALS
def test_signal_to_all_at_once(number: signal.Signals) -> None:
    """As Ctrl-C in a terminal, which reaches the server and its clients in any order."""
    port = free_udp_port()
    with Program("server", port) as server, Program("client", port) as one, Program("client", port) as other:
        programs = [server, one, other]
        for client in (one, other):
            client.wait_line("connected")
        for program in programs:
            program.send_signal(number)
        for program in programs:
            ends_clean(program)


def test_clients_may_start_first() -> None:
    port = free_udp_port()
    with Program("client", port) as client, Player(port) as player:
        for number in range(20):
            player.send_line(number)
        with Program("server", port) as server:
            player.wait_playing()
            client.wait_line("connected")
            player.client.wait_until(lambda state: state.lines == 20, timeout=30)
            server.send_signal(signal.SIGINT)
            ends_clean(server)
        client.send_signal(signal.SIGINT)
        ends_clean(client)
