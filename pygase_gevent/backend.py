"""A whole backend in one object: state, game loop and server.

Also the home of `Server`, `GameStateStore` and `GameStateMachine` in PyGaSe 0.3.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from pygase_gevent.arguments import check_interval
from pygase_gevent.config import Config
from pygase_gevent.event import Handler
from pygase_gevent.gamestate import GameState, GameStateStore
from pygase_gevent.hub.environment import Environment
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.protocol.address import Address
from pygase_gevent.running import RunGuard
from pygase_gevent.server import Server
from pygase_gevent.server_loop import ServerHooks
from pygase_gevent.statemachine import GameStateMachine

__all__ = ["Backend", "GameStateMachine", "GameStateStore", "Server"]

_DEFAULT_CONFIG = Config()

Hook = Callable[..., "dict[str, Any] | None"]


class Backend:
    """State, game loop and server, put together; loop and server run in one hub.

    Args:
        initial_game_state: the state before the game begins.
        time_step_function: `function(game_state, dt)`, returning a dict of changes; see
            `GameStateMachine.time_step`.
        event_handlers: functions by event type; see `GameStateMachine.register_event_handler`.
        on_join: called when a client connected.
        on_drop: called when a client's connection was lost; it may come back.
        on_reconnect: called when it came back.
        on_leave: called when a client left for good.
        state_schema: what precision numbers of the state need; see `GameStateStore` and `schema`.
        config: limits and rates, also of store and game loop.
        **server_keywords: the server's: `game`, `key`, `public_addresses`, `deliveries`.

    The four hooks run inside the game loop like event handlers: they are given `client_address`,
    `game_state` and `dt`, as far as they take them, and return a dict of changes or `None`.

    Attributes:
        game_state_store (GameStateStore): the state.
        game_state_machine (GameStateMachine): the game loop.
        server (Server): the connections.

    Raises:
        LocalError: an argument that cannot work; the message says which.

    Example:
        def set_speed(speed, game_state):
            return {"speed": speed}

        Backend(
            GameState(position=0.0, speed=1.0),
            lambda game_state, dt: {"position": game_state.position + game_state.speed * dt},
            event_handlers={"SET_SPEED": set_speed},
        ).run("localhost", 8080)
    """

    def __init__(
        self,
        initial_game_state: GameState,
        time_step_function: Callable[[GameState, float], dict[str, Any]],
        event_handlers: Mapping[str, Callable[..., Any]] | None = None,
        *,
        on_join: Hook | None = None,
        on_drop: Hook | None = None,
        on_reconnect: Hook | None = None,
        on_leave: Hook | None = None,
        state_schema: dict[str, Any] | None = None,
        config: Config = _DEFAULT_CONFIG,
        **server_keywords: Any,
    ) -> None:
        self.game_state_store = GameStateStore(initial_game_state, state_schema=state_schema, config=config)
        self.game_state_machine = GameStateMachine(self.game_state_store, config=config)
        # A function that is not callable is found out here, not in the first step.
        self.game_state_machine.time_step = Handler(time_step_function).function  # type: ignore[method-assign]
        for event_type, function in (event_handlers or {}).items():
            self.game_state_machine.register_event_handler(event_type, function)
        self.server = Server(self.game_state_store, config=config, **server_keywords)
        self._guard = RunGuard("backend", "runs", config.exit_timeout_s)
        self.server.hooks = ServerHooks(
            on_join=self._in_game_loop(on_join),
            on_drop=self._in_game_loop(on_drop),
            on_reconnect=self._in_game_loop(on_reconnect),
            on_leave=self._in_game_loop(on_leave),
        )

    def run(self, hostname: str, port: int, interval: float = 0.02) -> None:
        """Run game loop and server until `shutdown`, Ctrl-C or SIGTERM.

        Args:
            hostname: name or IP address to listen on.
            port: UDP port; 0 takes a free one.
            interval: seconds between time steps.

        Raises:
            AlreadyRunningError: the server runs already.
            OSError: the address is taken, or not one of this machine.
            LocalError: an argument that cannot work.
        """
        check_interval(interval)
        self._guard.claim(self.server.request_shutdown)
        self._run(hostname, port, interval, None)

    def run_in_thread(
        self, hostname: str = "localhost", port: int = 0, interval: float = 0.02, daemon: bool = True
    ) -> threading.Thread:
        """The same in a native thread with a hub of its own; returns when the socket is bound.

        Args:
            hostname, port, interval: see `run`.
            daemon: whether the interpreter's exit ends the backend.

        Returns:
            The thread; its `join` waits for the end of the backend.

        Raises:
            As `run`.
        """
        check_interval(interval)
        self._guard.claim(self.server.request_shutdown)
        return self._guard.start_in_thread(
            lambda ready: self._run(hostname, port, interval, ready),
            name="pygase-backend",
            daemon=bool(daemon),
            config=self.server.config,
        )

    def shutdown(self) -> None:
        """Stop server and game loop; run again, they go on where they stopped. As `Server.shutdown`."""
        self._guard.stop()

    def _run(self, hostname: str, port: int, interval: float, ready: Outcome[None] | None) -> None:
        game_loop: Any = None

        def start_game_loop(environment: Environment) -> None:
            nonlocal game_loop
            game_loop = environment.spawn(self.game_state_machine.run_game_loop, interval)
            if self._guard.is_stop_requested:
                self.server.request_shutdown()
            if ready is not None:
                ready.set_result(None)

        with self._guard.running():
            self.server.hooks.on_start = start_game_loop
            try:
                self.server.run(port, hostname, self.game_state_machine)
            finally:
                if game_loop is not None:
                    self.game_state_machine.stop()
                    game_loop.kill()

    def _in_game_loop(self, hook: Hook | None) -> Callable[[Address], object] | None:
        if hook is None:
            return None
        handler = Handler(hook)

        def repeat(client_address: Address) -> bool:
            return self.game_state_machine._push_call(handler, client_address=client_address)

        return repeat
