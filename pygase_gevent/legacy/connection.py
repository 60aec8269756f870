"""`pygase.connection`: the connections that clients and servers have, and PyGaSe's packages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pygase_gevent import client, server
from pygase_gevent.arguments import check_hostname, check_port
from pygase_gevent.config import Config
from pygase_gevent.connection import ConnectionStatus as LibraryStatus
from pygase_gevent.connection import ServerConnection as LibraryServerConnection
from pygase_gevent.errors import (
    ConnectError,
    LocalError,
    NotRunningError,
    QueueFullError,
    UnknownClientError,
    WaitTimeoutError,
)
from pygase_gevent.event import Event as LibraryEvent
from pygase_gevent.gamestate import GameState
from pygase_gevent.hub.environment import Environment
from pygase_gevent.legacy.bare_connection import Connection, ConnectionStatus
from pygase_gevent.legacy.coroutines import awaitable_method, call_later, completed, in_own_thread
from pygase_gevent.legacy.event import Event, UniversalEventHandler
from pygase_gevent.legacy.package import (
    PROTOCOL_ID,
    ClientPackage,
    DuplicateSequenceError,
    Header,
    Package,
    ProtocolIDMismatchError,
    ServerPackage,
)
from pygase_gevent.legacy.state_context import GameStateContext
from pygase_gevent.legacy.utils import LockedRessource, NamedEnum, Sqn, logger, wrapped
from pygase_gevent.legacy.values import from_wire, to_wire

__all__ = [
    "PROTOCOL_ID",
    "ClientConnection",
    "ClientPackage",
    "Connection",
    "ConnectionStatus",
    "DuplicateSequenceError",
    "Header",
    "LockedRessource",
    "NamedEnum",
    "Package",
    "ProtocolIDMismatchError",
    "ServerConnection",
    "ServerPackage",
    "Sqn",
]

_TIMEOUT_S = 1.0
"""When a `timeout_callback` is called: PyGaSe's."""

_SHUTDOWN_PATIENCE_S = 10.0
"""How long `shutdown(shutdown_server=True)` waits for a connection that is about to stand, since only over
one can the server be told. PyGaSe needed none for that."""


HELLO = "\0pygase:hello"
"""The event by which a stand-in's client says what it is to a stand-in's server."""

_STATE = "\0pygase:state"
"""Among the keyword arguments of an event to such a client: the time order of the state that belongs to it.
PyGaSe sent both in one package, and its programs look up in the state what an event names."""

_HELLO_RETRIES = 10

_STATE_PATIENCE_S = 0.5
"""How long an event waits for its state. It left right behind the event."""


class Resend:
    """A timeout callback that this library need not call, because it resends by itself.

    Args:
        retries: how often the event is to be resent.
        again: dispatches it once more, with as many retries as it is given.
    """

    def __init__(self, retries: int, again: Callable[[int], None]) -> None:
        self.retries = retries
        self._again = again

    def __call__(self) -> None:
        """Dispatch once more: for a connection that knows nothing of this library."""
        self._again(self.retries - 1)


class _FromNetwork:
    """An attribute that the library's connection tells; what was assigned, while there is none."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_idle_{name}"

    def __get__(self, connection: Any, owner: type) -> Any:
        window = connection.window
        return getattr(connection, self._name) if window is None else self._read(window)

    def __set__(self, connection: Any, value: Any) -> None:
        setattr(connection, self._name, value)


class _NetworkConnection(Connection):
    """What the connections of both sides have in common.

    Attributes:
        window: this library's connection; `None` while there is none.
    """

    window: Any = None

    _status_below = _FromNetwork(lambda window: ConnectionStatus.get(window.status.name.capitalize()))

    @property
    def status(self) -> Any:
        """A number; `ConnectionStatus.get` names it."""
        return self._status_below

    @status.setter
    def status(self, value: int) -> None:
        self._status_below = value

    latency = _FromNetwork(lambda window: window.latency)
    quality = _FromNetwork(lambda window: window.quality)
    local_sequence = _FromNetwork(lambda window: wrapped(window.stats.packets_sent))
    remote_sequence = _FromNetwork(lambda window: wrapped(window.stats.packets_received))

    def dispatch_event(
        self,
        event: Event,
        ack_callback: Callable[[], Any] | None = None,
        timeout_callback: Callable[[], Any] | None = None,
    ) -> None:
        """Send an event to the partner.

        Args:
            event: what to send.
            ack_callback: called after it was received.
            timeout_callback: called if that is not known after a second.

        Raises:
            TypeError, ValueError: an argument cannot travel.
        """
        retries = timeout_callback.retries if isinstance(timeout_callback, Resend) else 0
        on_ack = None if ack_callback is None else completed(ack_callback)
        if timeout_callback is not None and not isinstance(timeout_callback, Resend):
            on_ack = _with_timeout(on_ack, timeout_callback)
        with _logging_what_is_lost(event.type):
            self._send(
                event.type, to_wire(event.handler_args), to_wire(event.handler_kwargs), retries, on_ack
            )

    def _send(
        self, event_type: str, args: Any, kwargs: Any, retries: int, on_ack: Callable[[], Any] | None
    ) -> None:
        raise NotImplementedError


class ClientConnection(_NetworkConnection):
    """The server, as a client sees it.

    Args:
        remote_address: `(hostname, port)` of the server.
        event_handler: a `UniversalEventHandler`, or `None`.

    Attributes:
        game_state_context: `with` gives the synchronized state.
        underlying: this library's client, which does the work.
    """

    def __init__(self, remote_address: Any, event_handler: UniversalEventHandler | None) -> None:
        super().__init__(remote_address, event_handler)
        self.underlying = client.Client()
        self.game_state_context = GameStateContext(self._newest_state)
        self._is_looping = False
        self._is_shut_down = False  # perhaps before the loop has begun in its thread
        if event_handler is not None:
            event_handler.tell(self)

    @property
    def window(self) -> Any:
        """This library's connection; `None` before `loop`."""
        return self.underlying.connection if self._is_looping else None

    @property
    def status(self) -> Any:
        """`"Connected"` as soon as there is a state, too: with PyGaSe both came in the first package."""
        window = self.window
        if window is not None and window.status is LibraryStatus.CONNECTED:
            return ConnectionStatus.get("Connected" if self.underlying.recent_states() else "Connecting")
        return self._status_below

    @status.setter
    def status(self, value: int) -> None:
        self._status_below = value

    @awaitable_method(coroutine="loop_as_coroutine")
    def loop(self) -> None:
        """Connect, and block while connected. Awaitable."""
        hostname, port = self._begin()
        self._run(hostname, port)

    async def loop_as_coroutine(self) -> None:
        """The same for who awaits it."""
        hostname, port = self._begin()
        await in_own_thread(lambda: self._run(hostname, port), self.request_stop)

    def loop_in_thread(self) -> threading.Thread:
        """The same in a native thread. It is no daemon: as with PyGaSe, it lives until `shutdown`."""
        hostname, port = self._begin()
        return Environment().start_thread(
            lambda: self._run(hostname, port),
            name="pygase-client",
            daemon=False,
            stop=self.request_stop,
            config=Config(),
        )

    @awaitable_method()
    def shutdown(self, shutdown_server: bool = False) -> None:
        """End the connection. Awaitable.

        Args:
            shutdown_server: shut the server down as well; works for its host only.
        """
        if shutdown_server and self._is_looping and self.status != ConnectionStatus.get("Connected"):
            try:
                self.underlying.wait_connected(_SHUTDOWN_PATIENCE_S)
            except (ConnectError, NotRunningError) as error:
                logger.warning("The server cannot be told to shut down: %s", error)
        self._is_shut_down = True
        self.underlying.disconnect(shutdown_server)

    def request_stop(self) -> None:
        """Set the end going, without waiting for it."""
        Environment().start_thread(
            self.underlying.disconnect, name="pygase-disconnect", daemon=True, config=Config()
        )

    def handle_events_of(self, event_type: str, function: Callable[..., Any]) -> None:
        """A handler was registered."""
        handle = completed(function)

        def run(*args: Any, **kwargs: Any) -> Any:
            self._await_state(kwargs.pop(_STATE, None))
            return handle(*from_wire(list(args)), **from_wire(kwargs))

        self.underlying.register_event_handler(event_type, run)

    def _begin(self) -> tuple[str, int]:
        hostname, port = self.remote_address
        check_hostname(hostname)
        check_port(port)
        self._is_looping = True
        self._say_hello()
        self.underlying.on_connect = self._begin_session
        return hostname, port

    def _begin_session(self) -> None:
        if self._is_shut_down:
            self.underlying.disconnect()
        self._say_hello()  # once more: the server may have been started anew

    def _say_hello(self) -> None:
        self._send(HELLO, [], {}, _HELLO_RETRIES, None)

    def _await_state(self, time_order: Any) -> None:
        if isinstance(time_order, int):
            with suppress(WaitTimeoutError):
                self.underlying.wait_until(
                    lambda game_state: game_state.time_order >= time_order, _STATE_PATIENCE_S
                )

    def _run(self, hostname: str, port: int) -> None:
        logger.info("Trying to connect to server at %s.", self.remote_address)
        try:
            if not self._is_shut_down:
                self.underlying.connect(port, hostname)
        except ConnectError as error:
            # PyGaSe went on trying for ever, or stopped without a word.
            logger.warning("Connection to %s ended: %s", self.remote_address, error)

    def _newest_state(self) -> GameState:
        with self.underlying.access_game_state() as game_state:
            return game_state

    def _send(
        self, event_type: str, args: Any, kwargs: Any, retries: int, on_ack: Callable[[], Any] | None
    ) -> None:
        self.underlying.dispatch_event(event_type, *args, retries=retries, ack_callback=on_ack, **kwargs)


class ServerConnection(_NetworkConnection):
    """A client, as the server sees it.

    Args:
        remote_address: the client's.
        event_handler: the server's `UniversalEventHandler`.
        game_state_store: the server's.
        last_client_time_order: PyGaSe's; nothing changes it here.
        event_wire: what events are repeated to.
    """

    def __init__(
        self,
        remote_address: Any,
        event_handler: Any,
        game_state_store: Any,
        last_client_time_order: int,
        event_wire: Any = None,
    ) -> None:
        super().__init__(remote_address, event_handler, event_wire)
        self.game_state_store = game_state_store
        self.last_client_time_order = Sqn(last_client_time_order)
        self._server: server.Server | None = None
        self.is_of_stand_in = False

    def attach(self, below: server.Server, window: LibraryServerConnection) -> None:
        """It stands for this connection of this server's from now on."""
        self._server = below
        if window is not self.window:
            self.window = window
            self.is_of_stand_in = False  # until it says so: another client may have got the address

    def _send(
        self, event_type: str, args: Any, kwargs: Any, retries: int, on_ack: Callable[[], Any] | None
    ) -> None:
        below = self._server
        if below is None:
            raise LocalError("this connection belongs to no server that runs")
        LibraryEvent(event_type, *args, **kwargs).to_bytes()  # raises here, and not when the step is over

        def dispatch() -> None:
            marked = dict(kwargs)
            if self.is_of_stand_in:
                marked[_STATE] = self.game_state_store.underlying.content_time_order
            with _logging_what_is_lost(event_type):
                below.dispatch_event(
                    event_type,
                    *args,
                    target_client=self.remote_address,
                    retries=retries,
                    ack_callback=None if on_ack is None else lambda _: on_ack(),
                    **marked,
                )

        self.game_state_store.after_step(dispatch)


@contextmanager
def _logging_what_is_lost(event_type: str) -> Iterator[None]:
    """PyGaSe took any event at any time; whether it ever left was not said."""
    try:
        yield
    except (NotRunningError, QueueFullError, UnknownClientError) as error:
        logger.warning("An event of type %s is lost: %s", event_type, error)


def _with_timeout(on_ack: Callable[[], Any] | None, on_timeout: Callable[[], Any]) -> Callable[[], Any]:
    """An ack callback that keeps `on_timeout` from being called after a second."""
    is_acknowledged = False

    def acknowledge() -> Any:
        nonlocal is_acknowledged
        is_acknowledged = True
        return None if on_ack is None else on_ack()

    call_later(_TIMEOUT_S, lambda: None if is_acknowledged else on_timeout())
    return acknowledge
