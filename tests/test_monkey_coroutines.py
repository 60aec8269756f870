"""Coroutines in PyGaSe programs: handlers that are some, and methods that are awaited."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pygase_gevent.legacy import Backend, Client, GameState, GameStateMachine, GameStateStore, Server
from pygase_gevent.legacy.connection import ConnectionStatus
from pygase_gevent.legacy.coroutines import complete
from pygase_gevent.legacy.event import Event, UniversalEventHandler
from tests.conftest import eventually

LIMIT_S = 30.0


@contextmanager
def game(
    server: Server, *, clients: int = 1, machine: GameStateMachine | None = None
) -> Iterator[list[Client]]:
    """A server that runs, and clients that are connected to it."""
    thread = server.run_in_thread(event_wire=machine)
    loop = None if machine is None else machine.run_game_loop_in_thread(interval=0.01)
    made = [Client() for _ in range(clients)]
    threads = [client.connect_in_thread(server.port) for client in made]
    try:
        for client in made:
            eventually(lambda c=client: c.connection.status == ConnectionStatus.get("Connected"), LIMIT_S)
        yield made
    finally:
        for client in made:
            client.disconnect()
        if machine is not None:
            machine.stop()
        server.shutdown()
        for each in [thread, loop, *threads]:
            if each is not None:
                each.join(LIMIT_S)
                assert not each.is_alive()


@pytest.mark.crosses_threads
def test_handlers_of_server_and_client_are_run_to_their_end() -> None:
    server = Server(GameStateStore())
    heard: list[object] = []

    async def on_question(text, client_address):
        await asyncio.sleep(0.01)
        server.dispatch_event("ANSWER", await shout(text), target_client=client_address, retries=10)

    async def shout(text):
        return text.upper()

    async def on_answer(text):
        await asyncio.sleep(0)
        heard.append((text, threading.current_thread().name))

    server.register_event_handler("QUESTION", on_question)
    with game(server) as [client]:
        client.register_event_handler("ANSWER", on_answer)
        client.dispatch_event("QUESTION", "who?", retries=10)
        eventually(lambda: heard, LIMIT_S)
    assert heard[0][0] == "WHO?"


@pytest.mark.crosses_threads
def test_time_step_and_handlers_of_the_machine_are_run_to_their_end() -> None:
    store = GameStateStore(GameState(steps=0, seen=[]))

    class Machine(GameStateMachine):
        async def time_step(self, game_state, dt):
            await asyncio.sleep(0.001)
            return {"steps": game_state.steps + 1}

    machine = Machine(store)

    async def on_add(value, game_state, dt, client_address):
        await asyncio.sleep(0.002)
        assert dt > 0
        return {"seen": [*game_state.seen, value]}

    machine.register_event_handler("ADD", on_add)
    with game(Server(store), machine=machine) as [client]:
        for value in range(20):
            client.dispatch_event("ADD", value, retries=10)
        client.wait_until(lambda game_state: len(game_state.seen) == 20, timeout=LIMIT_S)
        client.wait_until(lambda game_state: game_state.steps > 5, timeout=LIMIT_S)
        with client.access_game_state() as game_state:
            assert game_state.seen == list(range(20))


def test_a_backend_takes_coroutine_functions() -> None:
    async def time_step(game_state, dt):
        return {"steps": game_state.steps + 1}

    async def on_add(value, **kwargs):
        return {"value": value}

    backend = Backend(GameState(steps=0, value=None), time_step, {"ADD": on_add})
    assert backend.game_state_machine.time_step is time_step
    with game(backend.server, machine=backend.game_state_machine) as [client]:
        client.dispatch_event("ADD", (1, 2), retries=10)
        client.wait_until(lambda game_state: game_state.value == [1, 2] and game_state.steps > 1, LIMIT_S)


def test_what_a_coroutine_raises_is_logged_as_its_handlers(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(GameStateStore())
    heard: list[int] = []

    async def on_number(value):
        await asyncio.sleep(0)
        if value == 1:
            raise ValueError("one is not allowed")
        heard.append(value)

    server.register_event_handler("NUMBER", on_number)
    with caplog.at_level(logging.ERROR), game(server) as [client]:
        for value in range(3):
            client.dispatch_event("NUMBER", value, retries=10)
        eventually(lambda: heard == [0, 2], LIMIT_S)
    [record] = [record for record in caplog.records if record.exc_info]
    assert "handler of event 'NUMBER' raised" in record.getMessage()
    assert "one is not allowed" in str(record.exc_info[1])


def test_what_belongs_to_another_framework_is_named() -> None:
    class Trap:
        def __await__(self):
            yield ("a trap of curio's", 1)

    async def handler():
        await Trap()

    with pytest.raises(TypeError, match=r"run on asyncio.*such as curio\.sleep"):
        complete(handler())
    with pytest.raises(RuntimeError, match="its own"):
        complete(raising(RuntimeError("its own")))


async def raising(error: BaseException) -> None:
    raise error


def test_coroutines_that_only_await_coroutines_need_no_framework() -> None:
    async def inner(value):
        return value + 1

    async def outer():
        return [await inner(value) for value in range(3)]

    assert complete(outer()) == [1, 2, 3]
    assert complete("a plain value") == "a plain value"


@pytest.mark.crosses_threads
def test_clients_keep_their_order_and_do_not_wait_for_each_other() -> None:
    server = Server(GameStateStore())
    arrived: dict[object, list[int]] = {}
    at_once: set[object] = set()
    most: list[int] = []

    async def on_number(value, client_address):
        at_once.add(client_address)
        most.append(len(at_once))
        await asyncio.sleep(0.005 if value % 2 else 0.001)
        at_once.discard(client_address)
        arrived.setdefault(client_address, []).append(value)

    server.register_event_handler("NUMBER", on_number)
    with game(server, clients=8) as clients:
        for value in range(30):
            for client in clients:
                client.dispatch_event("NUMBER", value, retries=10)
        eventually(lambda: sum(map(len, arrived.values())) == 8 * 30, LIMIT_S)
    # On loopback nothing is lost, and so nothing overtakes.
    assert [sorted(each) for each in arrived.values()] == [list(range(30))] * 8
    assert sum(each == list(range(30)) for each in arrived.values()) >= 7
    assert max(most) > 1


def test_acknowledgements_may_be_coroutines() -> None:
    server = Server(GameStateStore())
    acknowledged: list[object] = []

    async def on_client_ack():
        await asyncio.sleep(0)
        acknowledged.append("client")

    async def on_server_ack(connection):
        await asyncio.sleep(0)
        acknowledged.append(connection)

    with game(server) as [client]:
        client.dispatch_event("X", retries=3, ack_callback=on_client_ack)
        server.dispatch_event("Y", retries=3, ack_callback=on_server_ack)
        eventually(lambda: len(acknowledged) == 2, LIMIT_S)
        assert "client" in acknowledged
        assert set(server.connections.values()) <= set(acknowledged)


def test_methods_are_awaited_on_asyncio() -> None:
    store = GameStateStore(GameState(steps=0))
    machine, server, client = GameStateMachine(store), Server(store), Client()
    machine.time_step = lambda game_state, dt: {"steps": game_state.steps + 1}

    async def until(condition):
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    async def play(shutdown_server):
        client.connection = None
        serving = asyncio.create_task(server.run(0, event_wire=machine))
        looping = asyncio.create_task(machine.run_game_loop(0.01))
        await until(lambda: server.port is not None)
        connecting = asyncio.create_task(client.connect(server.port, "localhost"))
        await until(lambda: client.connection is not None)
        await until(lambda: store.get_game_state().steps > 2)
        assert await machine.stop() is True
        await looping
        await client.disconnect(shutdown_server=shutdown_server)
        await connecting
        if not shutdown_server:
            await server.shutdown()
        await serving
        assert server.port is None
        return "played"

    assert asyncio.run(play(True)) == "played"
    assert asyncio.run(play(False)) == "played"


def test_who_is_cancelled_stops_what_it_awaited() -> None:
    server = Server(GameStateStore())

    async def serve_a_little():
        task = asyncio.create_task(server.run())
        while server.port is None:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(serve_a_little())
    eventually(lambda: server.port is None, LIMIT_S)


def test_handle_is_a_coroutine_of_no_framework() -> None:
    handlers = UniversalEventHandler()
    handlers.register_event_handler("ADD", lambda one, two, three: (one, two, three))
    coroutine = handlers.handle(Event("ADD", 1, two=2), three=3)
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == (1, 2, 3)


def test_the_helper_thread_ends_with_the_process_in_silence(run_script) -> None:
    for patched in (False, True):
        done = run_script(
            """
            import asyncio
            from pygase_gevent.monkey import patch_pygase
            patch_pygase()
            import pygase

            async def on_ping(client_address):
                server.dispatch_event("PONG", target_client=client_address, retries=9)
                await asyncio.sleep(1000)

            server = pygase.Server(pygase.GameStateStore())
            server.register_event_handler("PING", on_ping)
            server.run_in_thread()
            client = pygase.Client()
            pongs = []

            async def on_pong():
                await asyncio.sleep(0.01)
                pongs.append(1)

            client.register_event_handler("PONG", on_pong)
            client.connect_in_thread(server.port)
            client.dispatch_event("PING", retries=9)
            while not pongs:
                pass
            client.disconnect()
            print("done")
            """,
            patched=patched,
        )
        # Where the machine is busy, the busy-waiting above makes the watchdog speak; that is not the exit.
        said = [line for line in done.stderr.splitlines() if "held the hub" not in line]
        assert (done.returncode, done.stdout, said) == (0, "done\n", []), patched


def test_patched_after_the_import(run_script) -> None:
    done = run_script(
        """
        from pygase_gevent.monkey import patch_pygase
        patch_pygase()
        import pygase
        import gevent.monkey
        gevent.monkey.patch_all()
        import asyncio, time

        async def on_add(value, game_state, **kwargs):
            await asyncio.sleep(0.01)
            return {"values": game_state.values + [value]}

        backend = pygase.Backend(pygase.GameState(values=[]), lambda game_state, dt: {}, {"ADD": on_add})
        machine, server = backend.game_state_machine, backend.server
        loop = machine.run_game_loop_in_thread()
        server.run_in_thread(event_wire=machine)
        client = pygase.Client()
        client.connect_in_thread(server.port)
        while client.connection.status != pygase.connection.ConnectionStatus.get("Connected"):
            time.sleep(0.01)
        for value in range(3):
            client.dispatch_event("ADD", value, retries=9)
        client.wait_until(lambda game_state: sorted(game_state.values) == [0, 1, 2], timeout=20)
        client.disconnect()
        machine.stop(); server.shutdown(); loop.join()
        print("done")
        """,
        patched=False,
    )
    said = [line for line in done.stderr.splitlines() if "held the hub" not in line]
    assert (done.returncode, done.stdout, said) == (0, "done\n", [])
