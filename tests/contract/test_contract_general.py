"""The public contract: what is importable, the fixed signatures, the errors."""

from __future__ import annotations

import builtins
import importlib
import inspect
import re
import socket
import threading
from typing import Any

import gevent
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
from .helpers import FAST, eventually, shows

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
