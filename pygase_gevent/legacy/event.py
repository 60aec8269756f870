"""`pygase.event`: events, and handlers by their type."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from pygase_gevent.legacy.utils import Sendable, logger

__all__ = ["Event", "UniversalEventHandler"]


class Event(Sendable):
    """Something that happened, with arguments for the handler on the other side.

    Args:
        event_type: links it to a handler.
        *args, **kwargs: arguments of the handler.

    Attributes:
        type, handler_args, handler_kwargs: as given.
    """

    def __init__(self, event_type: str, *args: Any, **kwargs: Any) -> None:
        self.type = event_type
        self.handler_args: list[Any] = list(args)
        self.handler_kwargs: dict[str, Any] = kwargs


class HandlerListener(Protocol):
    """Who wants to know which handlers are registered."""

    def handle_events_of(self, event_type: str, function: Callable[..., Any]) -> None:
        """Events of this type are `function`'s from now on."""


class UniversalEventHandler:
    """Handlers by event type; plain functions or coroutine functions."""

    def __init__(self) -> None:
        self._event_handlers: dict[str, Callable[..., Any]] = {}
        self._listeners: weakref.WeakSet[Any] = weakref.WeakSet()

    def register_event_handler(self, event_type: str, event_handler_function: Callable[..., Any]) -> None:
        """Let a function handle events of a type; it takes the place of an earlier one.

        Raises:
            TypeError: not callable.
        """
        logger.info("Registering event handler for events of type %s.", event_type)
        if not callable(event_handler_function):
            raise TypeError(f"'{event_handler_function.__class__.__name__}' object is not callable.")
        for listener in list(self._listeners):
            listener.handle_events_of(event_type, event_handler_function)
        self._event_handlers[event_type] = event_handler_function

    async def handle(self, event: Event, **kwargs: Any) -> Any:
        """Call the handler of an event's type, with `kwargs` besides the event's arguments."""
        function = self._event_handlers[event.type]
        result = function(*event.handler_args, **{**event.handler_kwargs, **kwargs})
        return await result if inspect.isawaitable(result) else result

    def has_event_type(self, event_type: str) -> bool:
        """Whether a handler is registered for a type."""
        return event_type in self._event_handlers

    def tell(self, listener: HandlerListener) -> None:
        """Tell `listener` of all handlers, now and later, as long as it lives."""
        self._listeners.add(listener)
        for event_type, function in list(self._event_handlers.items()):
            listener.handle_events_of(event_type, function)
