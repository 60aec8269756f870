"""What the tests of the contract share: waiting on conditions, recording handlers, native threads."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from gevent import monkey

from pygase_gevent import Client, ConnectionStatus, GameState, Server
from pygase_gevent.config import Config

T = TypeVar("T")

FAST = Config(close_linger_s=0.03)
"""The defaults, but for a goodbye that is short on a line without loss."""

SHORT = Config(
    timeout_s=0.6,
    resume_after_s=0.3,
    resume_window_s=0.6,
    connect_window_s=0.6,
    handshake_attempt_s=0.3,
    close_linger_s=0.03,
)
"""For what takes seconds otherwise: giving up, being dropped, leaving."""

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


def eventually(
    predicate: Callable[[], T], timeout: float = 5.0, sleep: Callable[[float], object] = time.sleep
) -> T:
    """Waits until the predicate is true and returns its value; fails after a generous limit."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        assert time.monotonic() < deadline, "the condition did not come true"
        sleep(0.004)
    return value


class Call(NamedTuple):
    """How a handler was called, and in which thread of the operating system."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    thread: int


class Recorder:
    """A handler that takes everything and keeps it."""

    def __init__(self, result: Any = None) -> None:
        self.calls: list[Call] = []
        self.result = result

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(Call(args, kwargs, threading.get_native_id()))
        return self.result

    @property
    def args(self) -> list[tuple[Any, ...]]:
        """The positional arguments of each call."""
        return [call.args for call in self.calls]

    def wait(self, count: int = 1) -> list[Call]:
        """Waits for that many calls."""
        eventually(lambda: len(self.calls) >= count)
        return self.calls


class NativeThread:
    """A function in a thread of the operating system, also when `threading` is patched."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.native_id = 0
        self._function = function
        self._args = args
        monkey.get_original("_thread", "start_new_thread")(self._run, ())

    def _run(self) -> None:
        self.native_id = threading.get_native_id()
        try:
            self.result = self._function(*self._args)
        except BaseException as error:
            self.error = error
        self.is_done = True

    def wait(self) -> Any:
        """The function's result, or its exception raised here."""
        eventually(lambda: self.is_done, timeout=10.0)
        if self.error is not None:
            raise self.error
        return self.result


def in_native_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Runs a function in another native thread, one without a hub, and returns what it returned."""
    return NativeThread(function, *args).wait()


def is_up(client: Client) -> bool:
    """Whether the client's connection stands."""
    return client.connection.status == ConnectionStatus.CONNECTED


def only_address(server: Server) -> tuple[str, int]:
    """The address of the one client of a server."""
    eventually(lambda: len(server.connections) == 1)
    (address,) = server.connections
    return address


def content(client: Client) -> dict[str, Any]:
    """The attributes of the client's state, without the library's own two."""
    with client.access_game_state() as state:
        return attributes(state)


def attributes(state: GameState) -> dict[str, Any]:
    """The attributes of a state, without the library's own two."""
    return {key: value for key, value in state.to_dict().items() if key not in ("game_status", "time_order")}


def free_port() -> int:
    """A UDP port that was free just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
