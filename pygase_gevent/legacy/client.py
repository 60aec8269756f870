"""`pygase.client`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pygase_gevent.errors import NotRunningError
from pygase_gevent.hub.environment import current_environment
from pygase_gevent.legacy.connection import ClientConnection, Resend
from pygase_gevent.legacy.coroutines import awaitable_method
from pygase_gevent.legacy.event import Event, UniversalEventHandler
from pygase_gevent.legacy.gamestate import GameState
from pygase_gevent.legacy.utils import LockedRessource

_LOOKS = 100
"""How often `wait_until` and `try_to` look within their timeout: PyGaSe's."""


class Client:
    """Exchanges events with a server and has its state at hand.

    Handlers and callbacks may be coroutine functions. The methods marked *awaitable* block when plain
    code calls them; a coroutine awaits them.

    Attributes:
        connection: a `ClientConnection`; `None` before the first `connect`.
    """

    def __init__(self) -> None:
        self.connection: Any = None
        self._universal_event_handler = UniversalEventHandler()

    @awaitable_method(coroutine="_connect_as_coroutine")
    def connect(self, port: int, hostname: str = "localhost") -> None:
        """Connect, and block while connected. Awaitable."""
        self.connection = ClientConnection((hostname, port), self._universal_event_handler)
        self.connection.loop()

    async def _connect_as_coroutine(self, port: int, hostname: str = "localhost") -> None:
        self.connection = ClientConnection((hostname, port), self._universal_event_handler)
        await self.connection.loop_as_coroutine()

    def connect_in_thread(self, port: int, hostname: str = "localhost") -> threading.Thread:
        """Connect in a thread, which is no daemon; returns at once."""
        self.connection = ClientConnection((hostname, port), self._universal_event_handler)
        thread: threading.Thread = self.connection.loop_in_thread()
        return thread

    @awaitable_method()
    def disconnect(self, shutdown_server: bool = False) -> None:
        """End the connection; the server learns of it at once. Awaitable.

        Args:
            shutdown_server: shut the server down as well; works for its host only.
        """
        self._connected().shutdown(shutdown_server)

    def access_game_state(self) -> LockedRessource:
        """`with client.access_game_state() as game_state:`, the same for the whole block."""
        context: LockedRessource = self._connected().game_state_context
        return context

    def wait_until(self, game_state_condition: Callable[[GameState], Any], timeout: float = 1.0) -> None:
        """Block until a condition on the state holds.

        Raises:
            TimeoutError: it did not hold in time.
        """
        self._poll(lambda game_state: True if game_state_condition(game_state) else None, timeout)

    def try_to(self, function: Callable[[GameState], Any], timeout: float = 1.0) -> Any:
        """Call a function with the state until it returns something other than `None`.

        `KeyError` and `AttributeError` mean that what it looks for is not there yet.

        Raises:
            TimeoutError: it did not work in time.
        """

        def attempt(game_state: GameState) -> Any:
            try:
                return function(game_state)
            except (KeyError, AttributeError):
                return None

        return self._poll(attempt, timeout)

    def dispatch_event(
        self,
        event_type: str,
        *args: Any,
        retries: int = 0,
        ack_callback: Callable[[], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send an event to the server.

        Args:
            event_type: links it to a handler.
            *args, **kwargs: arguments of the handler.
            retries: how often it is resent when it times out.
            ack_callback: called after the server received it.
        """

        def again(retries: int) -> None:
            self.dispatch_event(event_type, *args, retries=retries, ack_callback=ack_callback, **kwargs)

        self._connected().dispatch_event(
            Event(event_type, *args, **kwargs), ack_callback, Resend(retries, again) if retries > 0 else None
        )

    def register_event_handler(self, event_type: str, event_handler_function: Callable[..., Any]) -> None:
        """Let a function handle events of a type.

        Raises:
            TypeError: not callable.
        """
        self._universal_event_handler.register_event_handler(event_type, event_handler_function)

    def _connected(self) -> Any:
        if self.connection is None:
            raise NotRunningError("not connected: call connect or connect_in_thread first")
        return self.connection

    def _poll(self, function: Callable[[GameState], Any], timeout: float) -> Any:
        """Look often: the program may have changed the state itself, and nobody tells of that."""
        for _ in range(_LOOKS + 1):
            with self.access_game_state() as game_state:
                result = function(game_state)
            if result is not None:
                return result
            current_environment().sleep(timeout / _LOOKS)
        raise TimeoutError(f"Condition not satisfied after timeout of {timeout} seconds.")
