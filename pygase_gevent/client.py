"""Connect to a server: events each way, and its state."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from pygase_gevent.arguments import (
    EventEncoder,
    check_config,
    check_function,
    check_hostname,
    check_key,
    check_port,
    check_timeout,
    check_token,
)
from pygase_gevent.client_loop import ClientLoop, error_of, error_of_waiting, in_order_to_dial
from pygase_gevent.config import Config
from pygase_gevent.connection import ClientConnection, ConnectionStatus, Disconnect, HandlerCounters
from pygase_gevent.errors import (
    ArgumentError,
    NotRunningError,
)
from pygase_gevent.event import Delivery, Event, UniversalEventHandler
from pygase_gevent.exchange import Exchange
from pygase_gevent.gamestate import GameState
from pygase_gevent.handling import HandlerLog
from pygase_gevent.hub.environment import current_environment
from pygase_gevent.mirror import StateMirror, TimedState
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.client_core import ClientCore
from pygase_gevent.protocol.identity import protocol_id_of
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.protocol.token_source import TokenSource
from pygase_gevent.running import RunGuard

logger = logging.getLogger(__name__)

T = TypeVar("T")

_DEFAULT_CONFIG = Config()


class Client:
    """Exchanges events with a server and has its state at hand.

    Args:
        game: the server's `game`.
        key: the 32 bytes that the server has; `None` is open mode, or where tokens are given.
        deliveries: how each type of event travels that this side dispatches.
        pump_events: handlers, hooks and ack callbacks run in `pump`, on the caller's thread; without,
            on the network thread.
        config: limits and rates.

    Attributes:
        on_connect, on_drop, on_resume: called without arguments when a session begins, loses its
            connection, goes on. Assign a function, or define a method in a subclass.
        on_close: called as `on_close(reason)` at the end of the connection, with a `Disconnect`.

    Raises:
        LocalError: an argument that cannot work; the message says which.

    Example:
        client = Client()
        client.connect_in_thread(port=8080)
        client.wait_connected()
        client.dispatch_event("MOVE", 1, 2)
        with client.access_game_state() as game_state:
            print(game_state.players)
        client.disconnect()
    """

    on_connect: Callable[[], object] | None = None
    on_drop: Callable[[], object] | None = None
    on_resume: Callable[[], object] | None = None
    on_close: Callable[[Disconnect], object] | None = None

    def __init__(
        self,
        *,
        game: str | int = "",
        key: bytes | None = None,
        deliveries: Mapping[str, Delivery] | None = None,
        pump_events: bool = False,
        config: Config = _DEFAULT_CONFIG,
    ) -> None:
        self._config = check_config(config)
        self._protocol_id = protocol_id_of(game)
        self._key = check_key(key)
        self._encoder = EventEncoder(deliveries, config)
        self._handlers = UniversalEventHandler()
        self._pumps = bool(pump_events)
        self._mirror = StateMirror(config)
        self._guard = RunGuard(
            "client", "is connected, or connecting,", config.exit_timeout_s, self._forget_keys
        )
        self._loop: ClientLoop | None = None
        self._is_end_told = False
        self._core: ClientCore | None = None
        self._exchange = Exchange(
            config=config,
            handlers=self._handlers,
            wake=self._wake,
            look_again=self._wake,
            log=HandlerLog(config),
            label="server",
            pump=self._pumps,
        )
        self._connection = ClientConnection(None, config, HandlerCounters())

    # --- what is there --------------------------------------------------------------------------

    @property
    def connection(self) -> ClientConnection:
        """The connection that `connect` began last."""
        return self._connection

    @contextmanager
    def access_game_state(self) -> Iterator[GameState]:
        """The synchronized state, the same for the whole block; the network never waits for it."""
        yield self._mirror.game_state

    @property
    def server_time(self) -> float | None:
        """The server's game clock now, as estimated here, in seconds; `None` until it is known."""
        core = self._core
        return None if core is None else core.session.server_time(current_environment().now())

    def recent_states(self) -> list[TimedState]:
        """The last states received, oldest first, each `(server_time, game_state)`: enough to interpolate."""
        return list(self._mirror.recent)

    # --- connecting -----------------------------------------------------------------------------

    def connect(self, port: int, hostname: str = "localhost", *, token: bytes | None = None) -> None:
        """Connect, and block while connected; lost connections are resumed meanwhile.

        Returns after a goodbye by either side. Ctrl-C and SIGTERM on the main thread say goodbye.

        Args:
            port: the server's; 0 dials the addresses that `token` names, in turn.
            hostname: the server's name or IP address; `'localhost'` means 127.0.0.1.
            token: a connect token.

        Raises:
            ConnectError: it ended in any other way; its subclasses and `reason` say which.
            AlreadyRunningError: it is connected, or tries to be.
            LocalError: an argument that cannot work.
        """
        self._begin(port, hostname, token)
        self._run(port, hostname, token)
        disconnect = self._connection.disconnect_reason
        if disconnect is not None and disconnect.reason is not DisconnectReason.GOODBYE:
            raise error_of(disconnect)

    def connect_in_thread(
        self, port: int, hostname: str = "localhost", *, token: bytes | None = None
    ) -> threading.Thread:
        """The same in a native daemon thread with a hub of its own; returns at once.

        `wait_connected` says whether it worked. The interpreter's exit says goodbye.

        Raises:
            AlreadyRunningError: it is connected, or tries to be.
            LocalError: an argument that cannot work.
        """
        self._begin(port, hostname, token)
        try:
            return current_environment().start_thread(
                lambda: self._run(port, hostname, token),
                name="pygase-client",
                daemon=True,
                stop=self._guard.request_stop,
                config=self._config,
            )
        except BaseException:
            self._guard.release()
            raise

    def wait_connected(self, timeout: float | None = 5.0) -> None:
        """Block until the connection stands.

        Args:
            timeout: seconds. The client goes on trying after it, until `disconnect`.

        Raises:
            NoAnswerError: nothing came back.
            ServerFullError: the server has no room.
            ConnectionClosedError: the server closed the connection, and said why.
            ConnectError: it ended in another way.
            NotRunningError: neither `connect` nor `connect_in_thread` was called.
        """
        self._guard.check_process()
        seconds = check_timeout(timeout)
        # Another thread may be about to call `connect`.
        self._mirror.wait_for(self._is_decided, seconds)
        connection = self._connection
        if connection.status is ConnectionStatus.CONNECTED:
            return
        if self._core is None:
            raise NotRunningError("not connected: call connect or connect_in_thread first")
        raise error_of_waiting(connection, timeout)

    def disconnect(self, shutdown_server: bool = False) -> None:
        """Say goodbye; the server learns of it at once.

        Idempotent. Blocks until it is done, except in the hub that runs the client (a handler, say),
        where it only sets it going.

        Args:
            shutdown_server: shut the server down as well; works for its host only.
        """
        loop = self._loop
        if loop is not None and shutdown_server:
            loop.shutdown_server = True
        self._guard.stop()

    # --- the state ------------------------------------------------------------------------------

    def wait_until(self, condition: Callable[[GameState], object], timeout: float | None = 1.0) -> None:
        """Block until a condition on the state holds; it is looked at with each state that arrives.

        Args:
            condition: called with the `GameState`.
            timeout: seconds.

        Raises:
            WaitTimeoutError: a `TimeoutError`: it did not hold in time.
        """
        check_function(condition, "condition")
        self._mirror.wait_until(condition, check_timeout(timeout))

    def try_to(self, function: Callable[[GameState], T | None], timeout: float | None = 1.0) -> T:
        """Call a function with the state until it works; again with each state that arrives.

        Args:
            function: called with the `GameState`. `KeyError`, `AttributeError` and a result of `None`
                mean that what it looks for is not there yet.
            timeout: seconds.

        Returns:
            What the function returned.

        Raises:
            WaitTimeoutError: a `TimeoutError`: it did not work in time; the last error is its cause.
        """
        check_function(function, "function")
        return self._mirror.try_to(function, check_timeout(timeout))

    # --- events ---------------------------------------------------------------------------------

    def dispatch_event(
        self,
        event_type: str,
        *args: Any,
        retries: int = 0,
        ack_callback: Callable[[], object] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send an event to the server. Before the first connection it is kept, and sent when that stands.

        Args:
            event_type: names the event and links it to a handler.
            *args, **kwargs: arguments of the handler: plain data.
            retries: how often it is resent when it times out; a handler runs at most once for it.
            ack_callback: called without arguments after the server received it.

        Raises:
            QueueFullError: no room; nothing was queued.
            NotRunningError: the connection is over.
            SerializationError, MessageTooLargeError: the arguments cannot travel.
            ArgumentTypeError, ArgumentError: another argument cannot work.
        """
        self._guard.check_process()
        message = self._encoder.encode(event_type, args, kwargs, retries, ack_callback)
        self._check_not_over()
        self._exchange.outbox.put(message)

    def call(self, event_type: str, *args: Any, timeout: float | None = 5.0, **kwargs: Any) -> Any:
        """Run the server's handler and return its value.

        Args:
            event_type: which handler.
            *args, **kwargs: its arguments: plain data.
            timeout: seconds; `None` waits as long as the connection lives.

        Raises:
            RemoteError: the handler raised, or there is none.
            CallTimeoutError: no answer in time.
            ConnectError: the connection ended meanwhile.
            NotRunningError: not connected, and not about to be.
            SerializationError, MessageTooLargeError, QueueFullError: it could not be sent.
        """
        self._guard.check_process()
        event = Event(event_type, *args, **kwargs)
        self._check_not_over()
        if self._core is None:
            raise NotRunningError("not connected: call connect or connect_in_thread first")
        return self._exchange.call(event, check_timeout(timeout), current_environment().now())

    def register_event_handler(self, event_type: str, function: Callable[..., Any]) -> None:
        """Let `function` handle events, and calls, of a type.

        Raises:
            ArgumentTypeError: not callable.
        """
        self._handlers.register_event_handler(event_type, function)

    def pump(self) -> int:
        """Run the handlers of everything that has arrived, on this thread; how many there were.

        Once a frame is what a game loop wants. What a handler raises is logged, not raised here.

        Raises:
            ArgumentError: the client was made without `pump_events=True`.
        """
        if not self._pumps:
            raise ArgumentError(
                "handlers run on the network thread; make the client with pump_events=True to pump them"
            )
        return self._exchange.pump()

    # --- inside ---------------------------------------------------------------------------------

    def _is_decided(self) -> bool:
        """Whether the connection stands, or never will."""
        status = self._connection.status
        return status is ConnectionStatus.CONNECTED or (
            status is ConnectionStatus.DISCONNECTED and self._core is not None
        )

    def _begin(self, port: int, hostname: str, token: bytes | None) -> None:
        """Check the arguments and claim the run."""
        check_port(port)
        check_hostname(hostname)
        environment = current_environment()
        if token is not None:
            check_token(
                token,
                TokenSource(
                    config=self._config,
                    protocol_id=self._protocol_id,
                    private_key=self._key,
                    entropy=environment.entropy,
                ),
                environment.unix_time(),
            )
        elif port == 0:
            raise ArgumentError(
                "port 0 dials the addresses that a connect token names; give a token, or a port"
            )
        self._guard.claim()
        core = ClientCore(
            config=self._config,
            protocol_id=self._protocol_id,
            private_key=self._key,
            entropy=environment.entropy,
            now=environment.now(),
        )
        self._mirror.clear()
        self._exchange.counters.reset()
        self._exchange.reopen()
        self._is_end_told = False
        self._connection = ClientConnection(core, self._config, self._exchange.counters)
        self._core = core

    def _run(self, port: int, hostname: str, token: bytes | None) -> None:
        """The claimed run, in the thread that serves."""
        core = self._core
        assert core is not None
        with self._guard.running():
            environment = current_environment()
            addresses: list[Address] = []
            if port != 0:
                try:
                    addresses = in_order_to_dial(environment.resolve(hostname, port))
                except OSError as error:
                    self._failed(f"cannot find the server {hostname!r}: {error}")
                    return
            loop = ClientLoop(
                environment,
                self._config,
                core=core,
                exchange=self._exchange,
                mirror=self._mirror,
                tell=self._tell,
            )
            self._loop = loop
            try:
                with self._guard.stoppable(loop.request_stop, loop.say_goodbye):
                    loop.start(addresses, None if token is None else bytes(token))
                    loop.serve()
            except OSError as error:
                self._failed(f"no UDP socket for a connection: {error}")
            except BaseException as error:
                self._failed(f"the client was interrupted: {error!r}")
                raise
            finally:
                self._loop = None
                loop.close()

    def _forget_keys(self) -> None:
        """In the child of a fork: the socket and the session are the parent's."""
        self._key = b""
        self._loop = None
        if self._core is not None:
            self._core.forget_keys()

    def _failed(self, text: str) -> None:
        logger.warning("%s", text)
        disconnect = Disconnect(DisconnectReason.NO_ANSWER, text)
        self._connection.fail(disconnect)
        self._tell("on_close", disconnect)
        self._exchange.end(error_of(disconnect))
        self._mirror.changed.notify()
        self._exchange.finish(current_environment(), self._config.handler_grace_s)

    def _check_not_over(self) -> None:
        connection = self._connection
        if self._core is not None and connection.status is ConnectionStatus.DISCONNECTED:
            raise NotRunningError(
                f"the connection is over ({connection.disconnect_reason}); connect again before dispatching"
            )

    def _tell(self, name: str, *arguments: object) -> None:
        if name == "on_close":
            if self._is_end_told:
                return
            self._is_end_told = True
        hook = getattr(self, name)
        if hook is not None:
            self._exchange.push_hook(f"{name} hook", hook, *arguments)

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            loop.wake()
