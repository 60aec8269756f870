"""What the tests of the contract share: waiting on conditions, recording handlers, native threads."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
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
ROOT = Path(__file__).parent.parent.parent
"""Where a process of its own finds the package."""

PATCH_IF_THIS_IS_PATCHED = (
    "from gevent import monkey; monkey.patch_all()\n" if monkey.is_module_patched("socket") else ""
)
"""The first line of a program for a process of its own."""

OTHER_KEY = bytes(range(1, 33))


def eventually(
    predicate: Callable[[], T], timeout: float = 10.0, sleep: Callable[[float], object] = time.sleep
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
        eventually(lambda: self.is_done, timeout=15.0)
        if self.error is not None:
            raise self.error
        return self.result


class Router:
    """Several clients behind one router, which may give any of them another of its outer sockets.

    Args:
        port: of the server.
        clients: how many; each dials a port of `ports`. All leave through the first outer socket.

    Attributes:
        ports: what to dial instead of the server's port.
        outer_addresses: what the server may see.
        datagrams: everything that came, either way.
        is_mute: assign `True`, and nothing more passes from the server to the clients.
    """

    def __init__(self, port: int, clients: int = 1) -> None:
        self.datagrams: list[bytes] = []
        self._server = ("127.0.0.1", port)
        self._inner = [self._open() for _ in range(clients)]
        self._outer = [self._open() for _ in range(2)]
        self.ports = [sock.getsockname()[1] for sock in self._inner]
        self.outer_addresses = [sock.getsockname() for sock in self._outer]
        self._routes: dict[int, int | None] = dict.fromkeys(range(clients), 0)
        self._clients: dict[int, tuple[str, int]] = {}
        self.is_mute = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._forward)
        self._thread.start()

    def route(self, client: int, outer: int | None) -> None:
        """Sends a client through another outer socket, or nowhere."""
        self._routes[client] = outer

    def send_as_client(self, datagram: bytes) -> None:
        """Sends a datagram to the server from the first outer socket."""
        self._outer[0].sendto(datagram, self._server)

    def close(self) -> None:
        """Ends it."""
        self._is_closed = True
        self._thread.join()
        for sock in self._inner + self._outer:
            sock.close()

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind(("127.0.0.1", 0))
        return opened

    def _forward(self) -> None:
        while not self._is_closed:
            readable, _, _ = select.select(self._inner + self._outer, [], [], 0.05)
            for sock in readable:
                try:
                    datagram, source = sock.recvfrom(65536)
                except OSError:  # the ICMP answer to a datagram before
                    continue
                self.datagrams.append(datagram)
                self._pass_on(sock, datagram, source)

    def _pass_on(self, sock: socket.socket, datagram: bytes, source: tuple[str, int]) -> None:
        if sock in self._inner:
            client = self._inner.index(sock)
            self._clients[client] = source
            outer = self._routes[client]
            if outer is not None:
                self._outer[outer].sendto(datagram, self._server)
            return
        if self.is_mute:
            return
        for client, outer in self._routes.items():
            if outer == self._outer.index(sock) and client in self._clients:
                self._inner[client].sendto(datagram, self._clients[client])


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


def shows(source: Client | GameState, **expected: Any) -> bool:
    """Whether a state, or the state of a client, has these attributes with these values."""
    if isinstance(source, Client):
        with source.access_game_state() as state:
            return shows(state, **expected)
    return all(getattr(source, name, None) == value for name, value in expected.items())


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
