"""API.md: what is importable, the fixed signatures, and *Rules for every call*."""

from __future__ import annotations

import builtins
import gc
import importlib
import inspect
import logging
import re
import socket
import subprocess
import sys
import threading
from typing import Any

import gevent
import gevent.event
import pytest

import pygase_gevent
from pygase_gevent import (
    Backend,
    Client,
    Delivery,
    GameState,
    GameStateMachine,
    GameStateStore,
    GameStateUpdate,
    Server,
    errors,
)

from .conftest import Net
from .helpers import FAST, NativeThread, Recorder, eventually, in_native_thread, is_up, only_address, shows

ERRORS = [value for value in vars(errors).values() if inspect.isclass(value)]


# --- what is importable, and the signatures ---------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Server",
            "Client",
            "Backend",
            "GameState",
            "GameStateUpdate",
            "GameStateStore",
            "GameStateMachine",
        ),
        *("GameStatus", "Event", "Delivery", "ConnectionStatus", "TO_DELETE", "get_available_ip_addresses"),
        *(error.__name__ for error in ERRORS),
    ],
)
def test_everything_a_user_needs_is_importable_from_the_package(name: str) -> None:
    assert hasattr(pygase_gevent, name)
    assert name in pygase_gevent.__all__


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("server", ["Server"]),
        ("client", ["Client"]),
        ("backend", ["Backend", "Server", "GameStateStore", "GameStateMachine"]),
        ("gamestate", ["GameState", "GameStateUpdate", "GameStatus", "TO_DELETE"]),
        ("event", ["Event", "UniversalEventHandler"]),
        ("connection", ["ClientConnection", "ServerConnection", "ConnectionStatus"]),
        ("utils", ["get_available_ip_addresses"]),
    ],
)
def test_modules_keep_the_names_of_pygase(module: str, names: list[str]) -> None:
    imported = importlib.import_module(f"pygase_gevent.{module}")
    for name in names:
        assert hasattr(imported, name)
        if hasattr(pygase_gevent, name):
            assert getattr(imported, name) is getattr(pygase_gevent, name)


def signature_of(function: Any) -> str:
    """A signature without annotations, and with any default of `config` shown as `Config()`."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()
    ]
    text = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    text = re.sub(r"<GameStatus\.(\w+): \d>", r"GameStatus.\1", text)
    return re.sub(r"config=(Config\([^)]*\)|None|<[^>]*>)", "config=Config()", text)


SERVER_RUN = "(self, port=0, hostname='localhost', event_wire=None)"
SERVER_RUN_IN_THREAD = "(self, port=0, hostname='localhost', event_wire=None, daemon=True)"
SERVER_DISPATCH = "(self, event_type, *args, target_client='all', retries=0, ack_callback=None, **kwargs)"


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (
            Server,
            "(game_state_store, *, game='', key=None, public_addresses=(), deliveries=None, config=Config())",
        ),
        (Server.run, SERVER_RUN),
        (Server.run_in_thread, SERVER_RUN_IN_THREAD),
        (Server.shutdown, "(self)"),
        (Server.dispatch_event, SERVER_DISPATCH),
        (Server.register_event_handler, "(self, event_type, function)"),
        (GameState, "(time_order=0, game_status=GameStatus.PAUSED, **attributes)"),
        (GameState.is_paused, "(self)"),
        (GameStateUpdate, "(time_order, **changes)"),
        (GameStateStore.get_game_state, "(self)"),
        (GameStateStore.push_update, "(self, update)"),
        (GameStateStore.get_update_cache, "(self)"),
        (GameStateMachine.register_event_handler, "(self, event_type, function)"),
        (GameStateMachine.time_step, "(self, game_state, dt)"),
        (GameStateMachine.run_game_loop, "(self, interval=0.02)"),
        (GameStateMachine.run_game_loop_in_thread, "(self, interval=0.02)"),
        (GameStateMachine.stop, "(self, timeout=1.0)"),
        (Backend.shutdown, "(self)"),
        (Client, "(*, game='', key=None, deliveries=None, pump_events=False, config=Config())"),
        (Client.connect, "(self, port, hostname='localhost', *, token=None)"),
        (Client.connect_in_thread, "(self, port, hostname='localhost', *, token=None)"),
        (Client.disconnect, "(self, shutdown_server=False)"),
        (Client.access_game_state, "(self)"),
        (Client.wait_until, "(self, condition, timeout=1.0)"),
        (Client.try_to, "(self, function, timeout=1.0)"),
        (Client.dispatch_event, "(self, event_type, *args, retries=0, ack_callback=None, **kwargs)"),
        (Client.register_event_handler, "(self, event_type, function)"),
        (Client.pump, "(self)"),
    ],
)
def test_signatures_are_fixed(function: Any, signature: str) -> None:
    assert signature_of(function) == signature


def parameter_names(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_store_takes_an_initial_game_state() -> None:
    assert parameter_names(GameStateStore)[0] == "initial_game_state"
    assert GameStateStore(initial_game_state=GameState(a=1)).get_game_state().a == 1


def test_the_machine_takes_a_game_state_store() -> None:
    assert parameter_names(GameStateMachine)[0] == "game_state_store"


def test_the_backend_takes_state_time_step_handlers_and_by_keyword_the_servers_and_the_hooks() -> None:
    parameters = inspect.signature(Backend).parameters
    assert list(parameters)[:3] == ["initial_game_state", "time_step_function", "event_handlers"]
    for name in ("on_join", "on_drop", "on_reconnect", "on_leave"):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default is None
    servers: dict[str, Any] = {
        "game": "tag",
        "key": bytes(32),
        "public_addresses": [("127.0.0.1", 4000)],
        "deliveries": {"CHAT": Delivery.RELIABLE},
        "config": FAST,
    }
    Backend(GameState(), lambda game_state, dt: {}, **servers)
    with pytest.raises(TypeError, match="no_such_keyword"):
        Backend(GameState(), lambda game_state, dt: {}, no_such_keyword=1)


def test_the_backend_runs_with_hostname_port_and_interval() -> None:
    parameters = inspect.signature(Backend.run).parameters
    assert list(parameters)[1:4] == ["hostname", "port", "interval"]
    assert parameters["interval"].default == 0.02


@pytest.mark.parametrize("owner", [Server, Client, Backend, GameState, GameStateStore, GameStateMachine])
def test_nothing_is_async(owner: type) -> None:
    for name, member in inspect.getmembers(owner, callable):
        assert not inspect.iscoroutinefunction(member), name
        assert not inspect.isasyncgenfunction(member), name


@pytest.mark.crosses_threads
def test_a_program_written_for_pygase_runs_after_changing_only_its_import(net: Net) -> None:
    import pygase_gevent as pygase

    def set_bar(new_bar: float, game_state: GameState, dt: float, **kwargs: Any) -> dict[str, Any]:
        return {"bar": new_bar}

    backend = pygase.Backend(
        initial_game_state=pygase.GameState(foo=0.0, bar=0.5),
        time_step_function=lambda game_state, dt: {"foo": game_state.foo + game_state.bar * dt},
        event_handlers={
            "RESET_FOO": lambda game_state, dt, **kwargs: {"foo": 0.0},
            "SET_BAR": set_bar,
        },
    )
    net.at_end(backend.shutdown)
    thread = threading.Thread(target=backend.run, args=("localhost", 0))
    thread.start()
    eventually(lambda: backend.server.port, sleep=gevent.sleep)
    client = pygase.Client()
    net.connect(client, backend.server.port, wait=False)
    client.dispatch_event("SET_BAR", new_bar=3, retries=1)
    client.wait_until(lambda state: shows(state, bar=3), timeout=5.0)
    assert client.try_to(lambda game_state: game_state.foo, timeout=5.0) >= 0.0
    client.disconnect(shutdown_server=True)
    thread.join(5.0)
    assert not thread.is_alive()
    assert backend.game_state_store.get_game_state().is_paused()


# --- any thread, any greenlet -----------------------------------------------------------------------


def test_importing_the_library_patches_nothing() -> None:
    script = (
        "import pygase_gevent, pygase_gevent.backend\n"
        "from gevent import monkey\n"
        "names = 'socket threading _thread time select ssl os signal queue subprocess'.split()\n"
        "assert not any(map(monkey.is_module_patched, names)), monkey.saved\n"
        "print('untouched')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "untouched\n", done.stderr


@pytest.mark.crosses_threads
def test_methods_may_be_called_from_the_hub_that_runs_the_server(net: Net) -> None:
    server = net.server()

    def answer(number: int, client_address: Any) -> None:
        server.register_event_handler("LATER", lambda: None)
        server.dispatch_event("ANSWER", number, target_client=client_address)

    server.register_event_handler("ASK", answer)
    client = net.client(server)
    answers = Recorder()
    client.register_event_handler("ANSWER", answers)
    client.dispatch_event("ASK", 7)
    answers.wait()
    assert answers.args == [(7,)]


@pytest.mark.crosses_threads
def test_methods_may_be_called_from_the_hub_that_runs_the_client(net: Net) -> None:
    server = net.server()
    got = Recorder()
    server.register_event_handler("ANSWER", got)
    client = net.client(server)
    client.register_event_handler("ASK", lambda number: client.dispatch_event("ANSWER", number))
    server.dispatch_event("ASK", 8)
    got.wait()
    assert got.args == [(8,)]


@pytest.mark.crosses_threads
def test_methods_may_be_called_from_a_thread_without_a_hub(net: Net) -> None:
    server = net.server(GameState(a=1))
    got = Recorder()
    server.register_event_handler("PING", got)
    server.register_event_handler("ADD", lambda a, b: a + b)

    def whole_life() -> int:
        client = Client(config=FAST)
        client.connect_in_thread(server.port)
        client.wait_connected(5.0)
        client.wait_until(lambda state: shows(state, a=1), timeout=5.0)
        client.dispatch_event("PING")
        result: int = client.call("ADD", 2, 3, timeout=5.0)
        client.disconnect()
        return result

    assert in_native_thread(whole_life) == 5
    got.wait()


@pytest.mark.crosses_threads
def test_methods_may_be_called_from_many_greenlets_of_one_thread(net: Net) -> None:
    server = net.server()
    got = Recorder()
    server.register_event_handler("PING", got)
    server.register_event_handler("DOUBLE", lambda number: 2 * number)
    client = net.client(server, deliveries={"PING": Delivery.RELIABLE})

    def talk(number: int) -> int:
        client.dispatch_event("PING", number)
        result: int = client.call("DOUBLE", number, timeout=5.0)
        return result

    greenlets = [gevent.spawn(talk, number) for number in range(8)]
    gevent.joinall(greenlets, timeout=10.0)
    assert [greenlet.value for greenlet in greenlets] == [2 * number for number in range(8)]
    eventually(lambda: sorted(got.args) == [(number,) for number in range(8)])


@pytest.mark.crosses_threads
def test_many_native_threads_dispatch_at_once_and_everything_arrives_once(net: Net) -> None:
    server = net.server()
    got = Recorder()
    server.register_event_handler("PING", got)
    client = net.client(server, deliveries={"PING": Delivery.RELIABLE})

    def talk(thread: int) -> None:
        for number in range(50):
            client.dispatch_event("PING", thread, number)

    threads = [NativeThread(talk, thread) for thread in range(4)]
    for thread in threads:
        thread.wait()
    got.wait(200)
    assert sorted(got.args) == [(thread, number) for thread in range(4) for number in range(50)]


# --- fail at the call, never from the wire ----------------------------------------------------------


@pytest.mark.crosses_threads
def test_a_call_that_fails_has_queued_nothing(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    got = Recorder()
    client.register_event_handler("HALF", got)
    client.register_event_handler("END", end := Recorder())
    with pytest.raises(errors.UnknownClientError):
        server.dispatch_event("HALF", target_client=[only_address(server), ("127.0.0.1", 1)])
    with pytest.raises(errors.SerializationError):
        server.dispatch_event("HALF", {1, 2})
    server.dispatch_event("END")
    end.wait()
    assert got.calls == []


@pytest.mark.crosses_threads
def test_no_datagram_raises_out_of_the_library_or_disturbs_a_connection(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.server()
    client = net.client(server)
    server.register_event_handler("PING", got := Recorder())
    client_address = only_address(server)
    garbage = [
        b"",
        b"\0",
        b"shut_me_down",
        bytes(1078),
        b"\xff" * 1500,
        *(bytes([n]) * 40 for n in range(32)),
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for datagram in garbage:
            stranger.sendto(datagram, ("127.0.0.1", server.port))
            stranger.sendto(datagram, client_address)
    # Each is counted by its reason, on both sides.
    eventually(lambda: sum(server.stats.drops.values()) >= len(garbage))
    eventually(lambda: sum(client.connection.stats.drops.values()) >= len(garbage))
    assert all(isinstance(reason, str) and reason for reason in server.stats.drops)
    client.dispatch_event("PING", retries=10)
    got.wait()
    assert is_up(client)
    assert only_address(server) == client_address
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# --- a handler's exception is the handler's ---------------------------------------------------------


def fail(*args: Any, **kwargs: Any) -> None:
    raise ZeroDivisionError("the handler's own")


@pytest.mark.crosses_threads
def test_a_handlers_exception_is_logged_with_event_type_and_client_counted_and_everything_goes_on(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.server()
    server.register_event_handler("BROKEN", fail)
    server.register_event_handler("PING", got := Recorder())
    client = net.client(server)
    name = only_address(server)
    client.dispatch_event("BROKEN", retries=3)
    eventually(lambda: server.connections[name].stats.handler_errors == 1)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name.startswith("pygase_gevent")
    assert "BROKEN" in record.getMessage()
    assert str(name[1]) in record.getMessage()
    assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError
    other = net.client(server)
    client.dispatch_event("PING", 1, retries=3)
    other.dispatch_event("PING", 2, retries=3)
    got.wait(2)
    assert sorted(got.args) == [(1,), (2,)]


@pytest.mark.crosses_threads
def test_an_exception_of_a_clients_handler_is_logged_counted_and_the_connection_goes_on(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("BROKEN", fail)
    client.register_event_handler("PING", got := Recorder())
    server.dispatch_event("BROKEN", retries=3)
    server.dispatch_event("PING", retries=3)
    got.wait()
    eventually(lambda: client.connection.stats.handler_errors == 1)
    assert any("BROKEN" in record.getMessage() for record in caplog.records)
    assert is_up(client)


@pytest.mark.crosses_threads
def test_an_exception_of_a_handler_in_the_game_loop_is_logged_and_the_loop_goes_on(
    net: Net, caplog: pytest.LogCaptureFixture
) -> None:
    backend = net.backend(GameState(n=0), event_handlers={"BROKEN": fail, "SET": lambda n: {"n": n}})
    client = net.client(backend.server)
    name = only_address(backend.server)
    client.dispatch_event("BROKEN", retries=3)
    eventually(lambda: any(record.levelno >= logging.ERROR for record in caplog.records))
    message = next(record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR)
    assert "BROKEN" in message
    assert str(name[1]) in message
    client.dispatch_event("SET", 5, retries=3)
    client.wait_until(lambda state: shows(state, n=5), timeout=5.0)


# --- waiting ----------------------------------------------------------------------------------------


@pytest.mark.crosses_threads
def test_shutdown_blocks_until_it_is_done(net: Net) -> None:
    server = net.idle_server()
    thread = server.run_in_thread()
    server.shutdown()
    assert server.port is None
    thread.join(5.0)
    assert not thread.is_alive()


@pytest.mark.crosses_threads
def test_disconnect_blocks_until_it_is_done(net: Net) -> None:
    client = net.client(net.server())
    client.disconnect()
    assert client.connection.status == pygase_gevent.ConnectionStatus.DISCONNECTED


@pytest.mark.crosses_threads
def test_stop_blocks_until_it_is_done() -> None:
    store = GameStateStore()
    machine = GameStateMachine(store)
    steps = Recorder(result={})
    machine.time_step = steps  # type: ignore[method-assign]
    thread = machine.run_game_loop_in_thread(0.005)
    steps.wait(2)
    assert machine.stop(5.0) is True
    done = len(steps.calls)
    thread.join(5.0)
    assert not thread.is_alive()
    assert len(steps.calls) == done


@pytest.mark.crosses_threads
def test_a_handler_may_shut_its_own_server_down(net: Net) -> None:
    server = net.idle_server()
    thread = server.run_in_thread()
    server.register_event_handler("END", server.shutdown)
    client = net.client(server)
    client.dispatch_event("END", retries=3)
    thread.join(5.0)
    assert not thread.is_alive()
    assert server.port is None


@pytest.mark.crosses_threads
def test_a_handler_may_disconnect_its_own_client(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    client.register_event_handler("END", client.disconnect)
    server.dispatch_event("END", retries=3)
    eventually(lambda: not server.connections)
    eventually(lambda: not is_up(client))


@pytest.mark.crosses_threads
def test_a_time_step_may_stop_its_own_machine() -> None:
    machine = GameStateMachine(store := GameStateStore())

    def step(game_state: GameState, dt: float) -> dict[str, Any]:
        machine.stop()
        return {}

    machine.time_step = step  # type: ignore[method-assign]
    thread = machine.run_game_loop_in_thread(0.005)
    thread.join(5.0)
    assert not thread.is_alive()
    assert store.get_game_state().is_paused()


@pytest.mark.crosses_threads
def test_an_event_handler_in_the_loop_may_shut_the_backend_down(net: Net) -> None:
    backend = net.backend()
    backend.game_state_machine.register_event_handler("END", lambda: backend.shutdown())
    client = net.client(backend.server)
    client.dispatch_event("END", retries=3)
    eventually(lambda: backend.server.port is None)
    eventually(lambda: backend.game_state_store.get_game_state().is_paused())


# --- the errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS)
def test_one_error_root_and_two_branches(error: type) -> None:
    assert issubclass(error, errors.PygaseError)
    if error is not errors.PygaseError:
        assert issubclass(error, errors.LocalError) != issubclass(error, errors.PeerError)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.CallTimeoutError, TimeoutError),
        (errors.WaitTimeoutError, TimeoutError),
        (errors.NoAnswerError, TimeoutError),
        (errors.UnknownClientError, KeyError),
        (errors.ArgumentTypeError, TypeError),
        (errors.SerializationError, TypeError),
        (errors.ArgumentError, ValueError),
        (errors.ConnectError, OSError),
    ],
)
def test_an_error_inherits_from_the_fitting_builtin(error: type, builtin: type) -> None:
    assert issubclass(error, builtin)


def test_no_builtin_is_shadowed() -> None:
    for module in (pygase_gevent, errors):
        public = {name for name in vars(module) if not name.startswith("_")} - {"annotations"}
        assert public & set(dir(builtins)) == set()


def test_available_ip_addresses_are_local_ipv4_addresses() -> None:
    addresses = pygase_gevent.get_available_ip_addresses()
    assert "127.0.0.1" in addresses
    for address in addresses:
        socket.inet_aton(address)


@pytest.mark.crosses_threads
def test_nothing_of_a_server_and_its_client_is_left_running(net: Net) -> None:
    before = set(threading.enumerate())
    server = net.idle_server()
    threads = [server.run_in_thread()]
    client = Client(config=FAST)
    threads.append(client.connect_in_thread(server.port))
    client.wait_connected(5.0)
    client.disconnect()
    server.shutdown()
    for thread in threads:
        thread.join(5.0)
    gc.collect()
    assert {thread for thread in threading.enumerate() if thread.is_alive()} <= before
