"""Serve clients: sessions, events each way, and the state they all see.

`GameStateStore`, `GameStateMachine` and `Server` are what a `Backend` puts together.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pygase_gevent.arguments import (
    OPEN_MODE_KEY,
    EventEncoder,
    check_config,
    check_hostname,
    check_key,
    check_port,
    check_timeout,
)
from pygase_gevent.clients import Client, Clients, check_client_address
from pygase_gevent.config import Config
from pygase_gevent.connection import ServerConnection, ServerStats
from pygase_gevent.errors import ArgumentError, ArgumentTypeError, NotRunningError
from pygase_gevent.event import Delivery, Event, UniversalEventHandler
from pygase_gevent.exchange import EventWire
from pygase_gevent.gamestate import GameStateStore
from pygase_gevent.hub.environment import current_environment
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.protocol.address import Address, check_address
from pygase_gevent.protocol.identity import protocol_id_of
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.protocol.server_core import ServerCore
from pygase_gevent.protocol.stateencoder import StateEncoder
from pygase_gevent.running import RunGuard
from pygase_gevent.server_loop import ServerHooks, ServerLoop, address_to_bind, warn_of_open_mode

logger = logging.getLogger(__name__)

_DEFAULT_CONFIG = Config()
_MAX_REASON_BYTES = 200
"""What fits into a close frame."""


class Server:
    """Listens to clients and orchestrates the flow of events and state updates.

    It holds no game logic and no state.

    Args:
        game_state_store: where the state comes from.
        game: names the application: a `str`, or netcode's 64-bit protocol id as an `int`. Clients of
            another game get no answer.
        key: 32 bytes shared with the clients or with whoever issues their connect tokens; `None` is
            open mode, for development and local networks.
        public_addresses: `(host, port)` under which clients know this server; where given, connect
            tokens must name one of them.
        deliveries: how each type of event travels that this side dispatches.
        config: limits and rates.

    Attributes:
        game_state_store: as given.
        hooks: who is told about the run and about sessions; `Backend` uses them.

    Raises:
        LocalError: an argument that cannot work; the message says which.

    Example:
        server = Server(GameStateStore())
        server.register_event_handler("CHAT", lambda text: server.dispatch_event("CHAT", text))
        server.run(port=8080)
    """

    def __init__(
        self,
        game_state_store: GameStateStore,
        *,
        game: str | int = "",
        key: bytes | None = None,
        public_addresses: Sequence[Address] = (),
        deliveries: Mapping[str, Delivery] | None = None,
        config: Config = _DEFAULT_CONFIG,
    ) -> None:
        if not isinstance(game_state_store, GameStateStore):
            raise ArgumentTypeError(
                f"game_state_store must be a GameStateStore, not {type(game_state_store).__name__}"
            )
        self.game_state_store = game_state_store
        self.hooks = ServerHooks()
        self._config = check_config(config)
        self._protocol_id = protocol_id_of(game)
        self._key = check_key(key)
        self._public_addresses = tuple(check_address(address) for address in public_addresses)
        self._encoder = EventEncoder(deliveries, config)
        self._handlers = UniversalEventHandler()
        self._clients = Clients(config, self._handlers)
        self._guard = RunGuard("server", "runs", config.exit_timeout_s, self._forget_keys)
        self._core: ServerCore | None = None
        self._state_encoder: StateEncoder | None = None
        self._loop: ServerLoop | None = None
        self._address: Address | None = None
        self._blocked: Counter[str] = Counter()

    # --- what is there --------------------------------------------------------------------------

    @property
    def connections(self) -> dict[Address, ServerConnection]:
        """Sessions by client address, dropped ones too.

        The dict is replaced on change, never mutated: iterate it at will.
        """
        return self._clients.connections

    @property
    def host_client(self) -> Address | None:
        """The client that may shut the server down: the first to connect, or whom you assign."""
        return self._clients.host

    @host_client.setter
    def host_client(self, client_address: Address | None) -> None:
        self._clients.host = None if client_address is None else check_client_address(client_address)

    @property
    def hostname(self) -> str | None:
        """What the server is bound to, `'localhost'` for loopback; `None` while it does not run."""
        if self._address is None:
            return None
        return "localhost" if self._address[0] in ("127.0.0.1", "::1") else self._address[0]

    @property
    def port(self) -> int | None:
        """The port it is bound to; `None` while it does not run."""
        return None if self._address is None else self._address[1]

    @property
    def config(self) -> Config:
        """Limits and rates, as given."""
        return self._config

    @property
    def max_clients(self) -> int:
        """Seats, dropped sessions included; who comes when all are taken is told that the server is full."""
        return self._config.max_clients

    @property
    def stats(self) -> ServerStats:
        """Counters since the server was made."""
        core = self._core
        if core is None:
            return ServerStats(joined=0, dropped=0, resumed=0, left=0, blocked=Counter(), drops=Counter())
        return ServerStats(
            joined=core.stats.joined,
            dropped=core.stats.dropped,
            resumed=core.stats.resumed,
            left=core.stats.left,
            blocked=Counter(self._blocked),
            drops=Counter(core.netcode_drops) + Counter(core.stats.drops),
        )

    # --- life -----------------------------------------------------------------------------------

    def run(self, port: int = 0, hostname: str = "localhost", event_wire: EventWire | None = None) -> None:
        """Serve until `shutdown`, from any thread; blocks the calling greenlet.

        Ctrl-C and SIGTERM on the main thread end it like `shutdown`: it tells the clients, and
        returns. Sessions are remembered: run it again and their clients resume them.

        Args:
            port: UDP port; 0 takes a free one.
            hostname: name or IP address to listen on; `'0.0.0.0'` or `'::'` for all interfaces.
            event_wire: received events are repeated to its `_push_event`; a `GameStateMachine`.

        Raises:
            AlreadyRunningError: it runs already.
            OSError: the address is taken, or not one of this machine.
            LocalError: an argument that cannot work.
        """
        self._check_run(port, hostname, event_wire)
        self._guard.claim()
        self._run(port, hostname, event_wire, None)

    def run_in_thread(
        self,
        port: int = 0,
        hostname: str = "localhost",
        event_wire: EventWire | None = None,
        daemon: bool = True,
    ) -> threading.Thread:
        """Serve in a native thread with a hub of its own; returns when the socket is bound.

        Args:
            port, hostname, event_wire: see `run`.
            daemon: whether the interpreter's exit ends the server (the clients are told).

        Returns:
            The thread; its `join` waits for the end of the server.

        Raises:
            As `run`.
        """
        self._check_run(port, hostname, event_wire)
        self._guard.claim()
        return self._guard.start_in_thread(
            lambda ready: self._run(port, hostname, event_wire, ready),
            name="pygase-server",
            daemon=bool(daemon),
            config=self._config,
        )

    def shutdown(self) -> None:
        """Stop serving: clients are told at once, and try to resume for the resume window.

        Idempotent. Blocks until it is done, except in the hub that runs the server (a handler, say),
        where it only sets it going.
        """
        self._guard.stop()

    def request_shutdown(self) -> None:
        """Set the shutdown going, without waiting for it in any thread."""
        self._guard.request_stop()

    # --- events ---------------------------------------------------------------------------------

    def dispatch_event(
        self,
        event_type: str,
        *args: Any,
        target_client: str | Address | list[Address] = "all",
        retries: int = 0,
        ack_callback: Callable[[ServerConnection], object] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send an event to one client, to several, or to all.

        Args:
            event_type: names the event and links it to a handler.
            *args, **kwargs: arguments of the handler: plain data.
            target_client: a client address, a list of them, or `'all'`.
            retries: how often it is resent when it times out; a handler runs at most once for it.
            ack_callback: called with the `ServerConnection` after that client received it.

        Raises:
            UnknownClientError: no such client.
            QueueFullError: no room for one of them, so nothing was queued for any (an unreliable event
                leaves those out instead, and counts it). A client that has no room for a reliable event for
                `Config.slow_client_s` is kicked, so that it cannot hold up the others for ever.
            SerializationError, MessageTooLargeError: the arguments cannot travel.
            ArgumentTypeError, ArgumentError: another argument cannot work.
        """
        self._guard.check_process()
        message = self._encoder.encode(event_type, args, kwargs, retries, ack_callback)
        self._clients.dispatch(target_client, message)

    def call(
        self, client_address: Address, event_type: str, *args: Any, timeout: float | None = 5.0, **kwargs: Any
    ) -> Any:
        """Run a client's handler and return its value.

        Args:
            client_address: whom to call.
            event_type: which handler.
            *args, **kwargs: its arguments: plain data.
            timeout: seconds; `None` waits as long as the session lives.

        Raises:
            RemoteError: the handler raised, or there is none.
            CallTimeoutError: no answer in time.
            ConnectionClosedError: the client left meanwhile.
            UnknownClientError: no such client.
            NotRunningError: the server does not run.
            SerializationError, MessageTooLargeError, QueueFullError: it could not be sent.
        """
        client = self._running_client(client_address, "call a client")
        event = Event(event_type, *args, **kwargs)
        return client.exchange.call(event, check_timeout(timeout), current_environment().now())

    def register_event_handler(self, event_type: str, function: Callable[..., Any]) -> None:
        """Let `function` handle events, and calls, of a type.

        Args:
            event_type: which.
            function: called with the event's arguments, and `client_address` if it takes that.

        Raises:
            ArgumentTypeError: not callable.
        """
        self._handlers.register_event_handler(event_type, function)

    def kick(self, client_address: Address, reason: str = "") -> None:
        """End a client's session for good; the client is told why.

        Args:
            client_address: whom.
            reason: a sentence for the player, at most 200 bytes.

        Raises:
            UnknownClientError: no such client.
            NotRunningError: the server does not run.
            ArgumentTypeError, ArgumentError: `reason` cannot travel.
        """
        if not isinstance(reason, str):
            raise ArgumentTypeError(f"reason must be a str, not {type(reason).__name__}")
        size = len(reason.encode("utf-8", "surrogatepass"))
        if size > _MAX_REASON_BYTES:
            raise ArgumentError(f"reason takes {size} bytes, more than the {_MAX_REASON_BYTES} that travel")
        client = self._running_client(client_address, "kick a client")
        loop = self._loop
        if loop is not None:
            loop.bridge.run_soon(loop.kick, client, DisconnectReason.KICKED, reason)

    # --- inside ---------------------------------------------------------------------------------

    def _check_run(self, port: object, hostname: object, event_wire: object) -> None:
        check_port(port)
        check_hostname(hostname)
        if event_wire is not None and not callable(getattr(event_wire, "_push_event", None)):
            raise ArgumentTypeError(
                "event_wire must have a method _push_event(event), as a GameStateMachine has; "
                f"{type(event_wire).__name__} has none"
            )

    def _run(
        self, port: int, hostname: str, event_wire: EventWire | None, ready: Outcome[None] | None
    ) -> None:
        """The claimed run, in the thread that serves."""
        with self._guard.running():
            environment = current_environment()
            bind = address_to_bind(environment.resolve(hostname, port), hostname)
            core, state_encoder = self._core, self._state_encoder
            if core is None or state_encoder is None:
                core = self._core = ServerCore(
                    config=self._config,
                    protocol_id=self._protocol_id,
                    private_key=self._key,
                    public_addresses=self._public_addresses,
                    entropy=environment.entropy,
                    now=environment.now(),
                )
                state_encoder = self._state_encoder = StateEncoder(
                    self.game_state_store, config=self._config, server_clock_us=core.server_time_us
                )
            loop = ServerLoop(
                environment,
                self._config,
                core=core,
                clients=self._clients,
                hooks=self.hooks,
                store=self.game_state_store,
                encoder=state_encoder,
                event_wire=event_wire,
            )
            loop.watchdog.blocked = self._blocked
            try:
                self._address = loop.start(bind)
            except BaseException:
                loop.close()
                raise
            self._loop = loop
            try:
                with self._guard.stoppable(loop.request_stop, loop.say_goodbye):
                    logger.info("serving on %s port %s", *self._address)
                    if self._key == OPEN_MODE_KEY:
                        warn_of_open_mode(self._address)
                    if self.hooks.on_start is not None:
                        self.hooks.on_start(environment)
                    if ready is not None:
                        ready.set_result(None)
                    loop.stop_requested.wait()
            finally:
                self._loop = None
                loop.finish()
                logger.info("stopped serving on %s port %s", *self._address)
                self._address = None

    def _forget_keys(self) -> None:
        """In the child of a fork: sockets and sessions are the parent's."""
        core = self._core
        self._key = b""
        self._core = self._state_encoder = self._loop = self._address = None
        self._clients = Clients(self._config, self._handlers)
        if core is not None:
            core.forget_keys()

    def _running_client(self, client_address: object, purpose: str) -> Client:
        self._guard.check_process()
        client = self._clients.find(client_address)
        if self._loop is None:
            raise NotRunningError(f"the server must run to {purpose}")
        return client
