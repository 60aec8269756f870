"""Callers that are interrupted while they wait leave nothing behind: no waiter, no open call, no watcher."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from conftest import RunScript, eventually
from shell_pair import Party, address_of, party

from pygase_gevent import ConnectionStatus, GameState, GameStateMachine, GameStateStore, Server
from pygase_gevent.hub import process
from pygase_gevent.hub.thread import HubThread

pytestmark = pytest.mark.crosses_threads

ERRORS = [KeyboardInterrupt, SystemExit, gevent.GreenletExit]


@pytest.fixture
def net() -> Iterator[Party]:
    with party() as made:
        yield made


def what_is_there() -> tuple[int, Counter[str]]:
    """Active watchers of this hub, and the library's objects by their kind."""
    gevent.sleep(0.01)
    gc.collect()
    kinds = Counter(
        type(thing).__qualname__
        for thing in gc.get_objects()
        if str(type(thing).__module__).startswith("pygase_gevent.")
    )
    # What comes and goes with the traffic itself.
    waiting = ("_HubWaiter", "_NativeWaiter", "Outcome", "Signal", "OutgoingMessage", "HubThread", "_Run")
    return gevent.get_hub().loop.activecnt, Counter({kind: kinds[kind] for kind in waiting})


def interrupt(waiting: Callable[[], object], error: type[BaseException]) -> list[str]:
    """Calls a function in a greenlet of this hub, raises the error in it, and says how it ended."""
    ended: list[str] = []

    def wait() -> None:
        try:
            waiting()
        except BaseException as raised:
            ended.append(type(raised).__name__)
        else:
            ended.append("returned")

    greenlet = gevent.spawn(wait)
    gevent.sleep(0.05)
    assert not ended, "it did not wait"
    greenlet.kill(error, timeout=10)
    assert greenlet.ready()
    return ended


@pytest.mark.parametrize("error", ERRORS)
def test_waiting_for_a_client(net: Party, error: type[BaseException]) -> None:
    server = net.server()
    hold: list[Any] = []
    server.register_event_handler("HOLD", lambda: hold.append(1) or gevent.sleep(0.6))
    client = net.client(server)
    client.register_event_handler("HOLD", lambda: hold.append(1) or gevent.sleep(0.6))
    name = address_of(server)
    waits: dict[str, Callable[[], object]] = {
        "call of the client": lambda: client.call("HOLD", timeout=None),
        "call of the server": lambda: server.call(name, "HOLD", timeout=None),
        "wait_until": lambda: client.wait_until(lambda state: False, timeout=None),
        "try_to": lambda: client.try_to(lambda state: None, timeout=None),
    }
    before = what_is_there()  # once: while a handler still answers an earlier call there is more
    for what, wait in waits.items():
        assert interrupt(wait, error) == [error.__name__], what
        eventually(lambda: what_is_there() == before)
    # The answer that nobody waits for is counted, and the next call has its own.
    server.register_event_handler("ADD", lambda a, b: a + b)
    assert client.call("ADD", 1, 2) == 3
    eventually(lambda: client.connection.stats.drops["unexpected_result"] == 1)
    eventually(lambda: server.connections[name].stats.drops["unexpected_result"] == 1)
    assert len(hold) == 2


@pytest.mark.parametrize("error", ERRORS)
def test_waiting_for_a_connection(net: Party, error: type[BaseException]) -> None:
    silent = net.server(key=bytes(range(32)))
    client = net.client(silent, wait=False)
    before = what_is_there()
    assert interrupt(lambda: client.wait_connected(None), error) == [error.__name__]
    eventually(lambda: what_is_there() == before)


@pytest.mark.parametrize("error", ERRORS)
def test_waiting_for_an_end(net: Party, error: type[BaseException]) -> None:
    """`join`, `shutdown`, `disconnect` and `stop`: what they set going comes to its end all the same."""
    server = net.server()
    client = net.client(server)
    go_on: list[bool] = []

    def hold() -> None:
        while not go_on:
            gevent.sleep(0.01)

    server.register_event_handler("HOLD", hold)
    client.register_event_handler("HOLD", hold)
    client.dispatch_event("HOLD", retries=5)
    server.dispatch_event("HOLD", retries=5)
    thread = HubThread(hold, name="held", daemon=True)
    thread.start()
    machine = GameStateMachine(GameStateStore(GameState()))
    machine.time_step = lambda state, dt: hold() or {}
    loop = machine.run_game_loop_in_thread()
    before = what_is_there()
    for wait in (thread.join, loop.join, lambda: machine.stop(60)):
        assert interrupt(wait, error) == [error.__name__]
        assert what_is_there() == before
    go_on.append(True)
    thread.join(10)
    loop.join(10)
    assert not thread.is_alive() and not loop.is_alive()
    for hold_at in (server, client):
        hold_at.register_event_handler("HOLD", lambda: gevent.sleep(10))  # outlasts the handlers' grace
    client.dispatch_event("HOLD", retries=5)
    server.dispatch_event("HOLD", retries=5)
    eventually(lambda: client.connection.stats.events_handled == 2)
    eventually(lambda: server.connections[address_of(server)].stats.events_handled == 2)
    for wait in (client.disconnect, server.shutdown):
        assert interrupt(wait, error) == [error.__name__]
    eventually(lambda: not {"pygase-server", "pygase-client"} & set(process.running_threads()))
    assert server.port is None
    assert client.connection.status is ConnectionStatus.DISCONNECTED


@pytest.mark.parametrize("error", ERRORS)
def test_waiting_for_a_start(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gives up on `run_in_thread` has no server running behind his back."""
    server = Server(GameStateStore())
    began: list[bool] = []

    def slow(hostname: str, port: int) -> list[tuple[str, int]]:
        began.append(True)
        gevent.sleep(0.2)
        return [("127.0.0.1", port)]

    monkeypatch.setattr("pygase_gevent.hub.environment.resolve", slow)
    assert interrupt(server.run_in_thread, error) == [error.__name__]
    assert began
    eventually(lambda: "pygase-server" not in process.running_threads())
    server.run_in_thread()  # what was claimed is free again
    server.shutdown()


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit"])
def test_a_signal_interrupts_a_main_thread_without_a_hub(run_script: RunScript, error: str) -> None:
    result = run_script(
        f"""
        import gc, signal
        from pygase_gevent import *
        from pygase_gevent.hub.signal import hub_of_this_thread
        def ring(*_):
            raise {error}
        signal.signal(signal.SIGALRM, ring)
        server = Server(GameStateStore())
        thread = server.run_in_thread()
        client = Client()
        client.connect_in_thread(server.port)
        client.wait_connected()
        (name,) = server.connections
        import gevent  # which makes no hub
        for side in (server, client):
            side.register_event_handler("HOLD", lambda: gevent.sleep(60))
        def count():
            gc.collect()
            kinds = [type(thing).__qualname__ for thing in gc.get_objects()]
            return kinds.count("_NativeWaiter"), kinds.count("Outcome"), kinds.count("_HubWaiter")
        before = count()
        interrupted = 0
        for wait in (
            lambda: client.call("HOLD", timeout=None), lambda: server.call(name, "HOLD", timeout=None),
            lambda: client.wait_until(lambda state: False, timeout=None), thread.join,
        ):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                wait()
            except {error}:
                interrupted += 1
            assert count() == before, (count(), before)
        print(interrupted, hub_of_this_thread())
        client.disconnect()
        server.shutdown()
        """,
        patched=False,
    )
    assert (result.stderr, result.stdout, result.returncode) == ("", "4 None\n", 0)
