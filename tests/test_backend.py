"""State, loop and server together; tests/contract has what the public contract promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import gevent
import pytest
from conftest import RunScript, eventually
from native import run_natively
from shell_pair import QUICK, Party, party

from pygase_gevent import (
    AlreadyRunningError,
    ArgumentError,
    ArgumentTypeError,
    Backend,
    Client,
    Delivery,
    GameState,
)
from pygase_gevent.testing import LinkOptions, VirtualNetwork

ORDERED = {"N": Delivery.RELIABLE_ORDERED}


@pytest.fixture
def net() -> Iterator[Party]:
    with party() as it:
        yield it


def backend_of(net: Party, **keywords: Any) -> Backend:
    backend = Backend(
        GameState(n=0), lambda game_state, dt: {"n": game_state.n + 1}, config=QUICK, **keywords
    )
    net.at_end(backend.shutdown)
    return backend


def test_an_event_that_neither_server_nor_game_loop_handles_is_told(
    net: Party, caplog: pytest.LogCaptureFixture
) -> None:
    backend = backend_of(net, event_handlers={"BOOM": lambda: None})
    backend.run_in_thread()
    client = net.client(backend.server)
    client.dispatch_event("BOOOM", retries=5)
    (connection,) = backend.server.connections.values()
    eventually(lambda: connection.stats.unhandled == 1)
    assert "'BOOOM'" in caplog.text


@pytest.mark.crosses_threads
def test_hooks_and_events_of_a_client_come_in_order(net: Party) -> None:
    log: list[tuple[object, object]] = []

    def note(what: object, client_address: object) -> None:
        log.append((client_address, what))

    backend = backend_of(
        net,
        event_handlers={"N": note},
        on_join=partial(note, "join"),
        on_leave=partial(note, "leave"),
    )
    backend.run_in_thread()
    names = [visit(net, backend) for _ in range(3)]
    eventually(lambda: len(log) == 66)
    for name in names:
        assert [what for who, what in log if who == name] == ["join", *range(20), "leave"]


def visit(net: Party, backend: Backend) -> object:
    """Come, send twenty events that all arrive, and go; the client's address."""
    client = net.client(backend.server, deliveries=ORDERED)
    (name,) = backend.server.connections
    arrived: list[bool] = []
    for number in range(20):
        client.dispatch_event("N", number, ack_callback=partial(arrived.append, True))
    eventually(lambda: len(arrived) == 20)
    client.disconnect()
    eventually(lambda: not backend.server.connections)
    return name


@pytest.mark.crosses_threads
def test_what_waits_for_the_game_loop_waits_over_a_shutdown_too(net: Party) -> None:
    """Nothing of what was acknowledged is lost when the loop stops before it came to it."""
    seen: list[int] = []
    backend = backend_of(net, event_handlers={"N": lambda number: seen.append(number)})
    backend.run_in_thread(interval=0.2)
    client = net.client(backend.server, deliveries=ORDERED)
    for number in range(50):
        client.dispatch_event("N", number)
    port = backend.server.port
    assert port is not None
    backend.shutdown()
    backend.run_in_thread(port=port)
    eventually(lambda: len(seen) == 50)
    assert seen == list(range(50))


@pytest.mark.crosses_threads
def test_shutdown_while_it_starts_ends_it(net: Party, no_leaks: None) -> None:
    backend = backend_of(net)
    for _ in range(5):
        run = run_natively(backend.run, "localhost", 0)
        while not run.is_done:
            backend.shutdown()
        run.wait()


@pytest.mark.crosses_threads
def test_many_restarts_leave_nothing_behind(net: Party, no_leaks: None) -> None:
    backend = backend_of(net)
    for _ in range(5):
        thread = backend.run_in_thread()
        with pytest.raises(AlreadyRunningError, match="backend"):
            backend.run("localhost", 0)
        backend.shutdown()
        assert backend.server.port is None
        assert backend.game_state_store.get_game_state().is_paused()
        thread.join()


@pytest.mark.crosses_threads
def test_time_goes_on_where_it_stopped(net: Party) -> None:
    backend = backend_of(net)
    backend.run_in_thread(interval=0.005)
    eventually(lambda: backend.game_state_store.get_game_state().n >= 3)
    backend.shutdown()
    n = backend.game_state_store.get_game_state().n
    backend.run_in_thread(interval=0.005)
    eventually(lambda: backend.game_state_store.get_game_state().n > n)


@pytest.mark.parametrize("interval", [0, -1, float("inf"), float("nan")])
def test_an_interval_that_cannot_be_is_refused_at_the_call(net: Party, interval: float) -> None:
    backend = backend_of(net)
    with pytest.raises(ArgumentError, match="interval"):
        backend.run_in_thread(interval=interval)
    with pytest.raises(ArgumentError, match="interval"):
        backend.run("localhost", 0, interval)


def test_what_cannot_be_called_is_refused_at_the_call() -> None:
    with pytest.raises(ArgumentTypeError, match="callable"):
        Backend(GameState(), 5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="callable"):
        Backend(GameState(), lambda game_state, dt: {}, {"N": 5})  # type: ignore[dict-item]
    with pytest.raises(ArgumentTypeError, match="callable"):
        Backend(GameState(), lambda game_state, dt: {}, on_join=5)  # type: ignore[arg-type]


@pytest.mark.crosses_threads
def test_a_blocking_call_in_a_handler_of_the_server_does_not_stop_the_game(net: Party) -> None:
    backend = backend_of(net)
    backend.server.register_event_handler("SLEEP", lambda: gevent.sleep(0.2))
    backend.run_in_thread(interval=0.005)
    client = net.client(backend.server)
    before = backend.game_state_store.get_game_state().n
    client.call("SLEEP")
    assert backend.game_state_store.get_game_state().n > before + 5


@pytest.mark.crosses_threads
@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_server_and_game_loop(run_script: RunScript, signal_name: str) -> None:
    result = run_script(
        f"""
        import os, signal, threading, time
        from pygase_gevent import *
        backend = Backend(GameState(n=0), lambda game_state, dt: {{"n": game_state.n + 1}})
        def interrupt():
            while backend.game_state_store.get_game_state().n < 5:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.{signal_name})
        threading.Thread(target=interrupt, daemon=True).start()
        backend.run("localhost", 0, 0.01)
        print(backend.game_state_store.get_game_state().is_paused(), backend.server.port)
        """
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "True None\n", "")


@pytest.mark.crosses_threads
def test_a_step_longer_than_the_interval_does_not_starve_the_network() -> None:
    """Each call takes several turns of the hub; with one turn per step it would take as many steps."""

    def slow_step(game_state: GameState, dt: float) -> dict[str, object]:
        until = time.monotonic() + 0.03
        while time.monotonic() < until:
            pass
        return {"steps": game_state.steps + 1}

    backend = Backend(GameState(steps=0), slow_step)
    backend.server.register_event_handler("ECHO", lambda value: value)
    backend.run_in_thread()
    client = Client()
    try:
        client.connect_in_thread(backend.server.port)
        client.wait_connected(20)
        before = backend.game_state_store.get_game_state().steps
        for number in range(10):
            assert client.call("ECHO", number, timeout=20) == number
        assert backend.game_state_store.get_game_state().steps - before < 60
    finally:
        client.disconnect()
        backend.shutdown()


def test_a_callback_that_waits_comes_before_the_event_that_was_the_answer() -> None:
    """Acknowledgement and answer are in one packet, which has a short way to the game loop."""
    with VirtualNetwork(seed=1) as network:
        log: list[tuple[str, int]] = []
        backend = Backend(
            GameState(step=0),
            lambda game_state, dt: {"step": game_state.step + 1},
            {"ANSWER": lambda number: log.append(("answer", number))},
            deliveries={"ASK": Delivery.RELIABLE},
        )
        backend.run_in_thread()
        line = network.link(backend.server.port, up=LinkOptions(delay_s=0.02), down=LinkOptions(delay_s=0.02))
        client = Client()
        client.register_event_handler("ASK", partial(client.dispatch_event, "ANSWER"))
        client.connect_in_thread(line.port)
        client.wait_connected()

        def heard(number: int, connection: object) -> None:
            gevent.sleep(0.05)
            log.append(("heard", number))

        for number in range(40):
            backend.server.dispatch_event("ASK", number, ack_callback=partial(heard, number))
            gevent.sleep(0.2)
        client.disconnect()
        backend.shutdown()
    assert log == [(what, number) for number in range(40) for what in ("heard", "answer")]
