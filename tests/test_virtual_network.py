"""Servers and clients, as they are, in a virtual world."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import gevent
import pytest

from pygase_gevent import (
    Backend,
    Client,
    ConnectionStatus,
    Delivery,
    GameState,
    GameStateMachine,
    GameStateStore,
    NoAnswerError,
    RemoteError,
    Server,
)
from pygase_gevent.errors import ArgumentError
from pygase_gevent.testing import LinkOptions, VirtualNetwork
from pygase_gevent.testing.plugin import LossyLink

BAD_LINE = LinkOptions(loss=0.2, delay_s=0.05, jitter_s=0.02, duplicate=0.02, corrupt=0.02)


def count(game_state: GameState, dt: float) -> dict[str, float]:
    return {"seconds": game_state.seconds + dt}


def play_for_ten_seconds(network: VirtualNetwork) -> tuple[float, list[int], str]:
    """A backend, two clients on bad lines, events each way; what came of it, and a fingerprint."""
    backend = Backend(GameState(seconds=0.0), count, {})
    backend.server.register_event_handler(
        "PING", lambda number: backend.server.dispatch_event("PONG", number)
    )
    backend.run_in_thread()
    clients = [Client(deliveries={"PING": Delivery.RELIABLE}) for _ in range(2)]
    pongs: list[int] = []
    for client in clients:
        client.register_event_handler("PONG", pongs.append)
        client.connect_in_thread(network.link(backend.server.port or 0, up=BAD_LINE).port)
        client.wait_connected()
    for number in range(100):
        clients[number % 2].dispatch_event("PING", number)
        time.sleep(0.1)
    with clients[0].access_game_state() as game_state:
        seconds = game_state.seconds
    for client in clients:
        client.disconnect()
    backend.shutdown()
    return seconds, pongs, network.fingerprint


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    runs = [(net := VirtualNetwork(seed=seed)).run(play_for_ten_seconds, net) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0][2] != runs[2][2]
    for seconds, pongs, _ in runs:
        assert 9 < seconds < 12
        assert len(pongs) > 100  # each for two; unreliable ones at 20 % loss


def test_the_run_is_the_same_in_another_process_with_another_hash_seed() -> None:
    script = (
        "from test_virtual_network import *; net = VirtualNetwork(seed=1); "
        "print(net.run(play_for_ten_seconds, net)[2])"
    )

    def fingerprint(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        folder = Path(__file__).parent
        environment["PYTHONPATH"] = os.pathsep.join((str(folder), str(folder.parent)))
        return subprocess.check_output([sys.executable, "-c", script], text=True, env=environment).strip()

    net = VirtualNetwork(seed=1)
    assert fingerprint("1") == fingerprint("2") == net.run(play_for_ten_seconds, net)[2]


@pytest.mark.crosses_threads
def test_blocking_calls_block_and_end_as_in_real_threads(virtual_network: VirtualNetwork) -> None:
    server = Server(GameStateStore())
    thread = server.run_in_thread(daemon=False)
    port = server.port
    assert port is not None and thread.is_alive() and isinstance(thread, threading.Thread)
    client = Client()
    player = threading.Thread(target=client.connect, args=(port,))
    player.start()
    client.wait_connected()
    assert client.connection.status.name == "CONNECTED"
    client.disconnect()  # returns when it is done
    assert client.connection.status.name == "DISCONNECTED"
    player.join(1)
    assert not player.is_alive()
    client.connect_in_thread(port)
    client.wait_connected()
    server.shutdown()
    assert server.port is None and not thread.is_alive()
    thread = server.run_in_thread(port)  # remembers the session
    virtual_before = virtual_network.now
    client.wait_until(lambda game_state: client.connection.status == ConnectionStatus.CONNECTED, timeout=30)
    assert virtual_network.now - virtual_before < 10
    assert len(server.connections) == 1


def test_nobody_there_is_found_out_in_virtual_time(virtual_network: VirtualNetwork) -> None:
    client = Client()
    client.connect_in_thread(9)
    with pytest.raises(NoAnswerError):
        client.wait_connected(5)
    assert virtual_network.now == pytest.approx(5, abs=0.01)


@pytest.mark.crosses_threads
def test_handlers_may_wait_call_and_shut_down(virtual_network: VirtualNetwork, lossy_link: LossyLink) -> None:
    server, client = Server(GameStateStore()), Client()

    def slow(seconds: float) -> str:
        try:
            with gevent.Timeout(2):
                gevent.sleep(seconds)
        except gevent.Timeout:
            return "too late"
        return "in time"

    server.register_event_handler("SLOW", slow)
    server.register_event_handler(
        "END", server.shutdown
    )  # inside the thread it ends: must not wait for itself
    thread = server.run_in_thread()
    client.connect_in_thread(lossy_link(server.port or 0, loss=0.1).port)
    client.wait_connected()
    assert client.call("SLOW", 1) == "in time"
    assert client.call("SLOW", 1000) == "too late"
    with pytest.raises(RemoteError, match="no handler"):
        client.call("NOTHING")
    client.dispatch_event("END", retries=10)
    thread.join(5)
    assert not thread.is_alive()


def test_a_game_loop_in_a_thread_keeps_its_interval_exactly(virtual_network: VirtualNetwork) -> None:
    machine = GameStateMachine(GameStateStore(GameState(steps=0)))
    machine.time_step = lambda game_state, dt: {"steps": game_state.steps + 1}  # type: ignore[method-assign]
    thread = machine.run_game_loop_in_thread(interval=1 / 50)
    time.sleep(600.01)
    assert machine.stop()
    thread.join()
    with_status = machine._store.get_game_state()
    assert with_status.steps == 30_000


def test_a_line_can_be_cut_healed_changed_and_moved(virtual_network: VirtualNetwork) -> None:
    server = Server(GameStateStore())
    server.run_in_thread()
    line = virtual_network.link(server.port or 0, up=LinkOptions(delay_s=0.1))
    events: list[str] = []
    client = Client()
    client.on_drop = lambda: events.append("drop")
    client.on_resume = lambda: events.append("resume")
    client.connect_in_thread(line.port)
    client.wait_connected()
    time.sleep(5)
    assert client.connection.latency == pytest.approx(0.2, abs=0.05)
    line.partition()
    time.sleep(8)
    line.heal()
    time.sleep(5)
    assert events == ["drop", "resume"]
    assert line.up_counts["cut"] > 0 < line.down_counts["cut"]
    (own_address,) = list(line.clients)[-1:]
    (connection,) = server.connections.values()
    before = connection.remote_address
    line.rebind(own_address)
    time.sleep(10)
    assert connection.status == client.connection.status == ConnectionStatus.CONNECTED
    assert connection.remote_address != before
    with pytest.raises(ArgumentError):
        line.rebind(("127.0.0.1", 1))
    line.set_link(up=LinkOptions(loss=1.0), down=LinkOptions(loss=1.0))
    time.sleep(60)
    assert (client.connection.status, len(server.connections)) == (ConnectionStatus.DISCONNECTED, 0)


def test_ports_are_taken_and_freed_as_on_a_real_host(virtual_network: VirtualNetwork) -> None:
    first, second = Server(GameStateStore()), Server(GameStateStore())
    first.run_in_thread(8080, "0.0.0.0")
    with pytest.raises(OSError, match="8080"):
        second.run_in_thread(8080)
    first.shutdown()
    second.run_in_thread(8080, "::1")
    client = Client()
    client.connect_in_thread(8080, "::1")
    client.wait_connected()
    (address,) = second.connections
    assert address[0] == "::1"
    with pytest.raises(OSError, match="no names"):
        first.run_in_thread(0, "example.com")
