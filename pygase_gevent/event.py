"""Events, how they travel, and who handles them."""

from __future__ import annotations

import enum
import inspect
import logging
from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import Any, Final

from mypy_extensions import mypyc_attr

from pygase_gevent.codec import decode_event, encode_event
from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError, SerializationError
from pygase_gevent.shortforms import first_text

logger = logging.getLogger(__name__)

_DEFAULT_CONFIG: Final = Config()

_LIBRARY_NAMES: Final = ("client_address", "game_state", "dt")
"""Keyword arguments that only the library gives to a handler; from the wire they are dropped."""
_ADDRESS_ONLY: Final = ("client_address",)


class Delivery(enum.Enum):
    """How a type of event travels. The sender decides; the receiver needs no setting."""

    UNRELIABLE = "unreliable"
    """At most once, in any order; sent once, and again as often as `retries` says."""
    SEQUENCED = "sequenced"
    """As unreliable, but one that is older than what has arrived of its type is dropped."""
    RELIABLE = "reliable"
    """Exactly once while the session lives, in any order."""
    RELIABLE_ORDERED = "reliable_ordered"
    """Exactly once while the session lives, in order; each event type is a stream of its own."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Event:
    """Something that happened, with data for the handler on the other side.

    Args:
        event_type: names the event and links it to a handler.
        *args: positional arguments of the handler.
        **kwargs: keyword arguments of the handler.

    Attributes:
        type (str): the event type.
        handler_args (list): the positional arguments.
        handler_kwargs (dict): the keyword arguments.
        size_bytes (int): how long it was on the wire; 0 for one that was not there.

    Raises:
        ArgumentTypeError: `event_type` is not a `str`.
    """

    __slots__ = ("handler_args", "handler_kwargs", "size_bytes", "type")

    def __init__(self, event_type: str, *args: Any, **kwargs: Any) -> None:
        self.type = _check_event_type(event_type)
        self.handler_args: list[Any] = list(args)
        self.handler_kwargs: dict[str, Any] = kwargs
        self.size_bytes = 0

    def to_bytes(self, config: Config | None = None) -> bytes:
        """Encode the event.

        Raises:
            SerializationError: an argument cannot travel; the message names the place in it. Or the type
                is longer than `Config.max_event_type_bytes`.
        """
        config = config or _DEFAULT_CONFIG
        encoded = encode_event(self.type, self.handler_args, self.handler_kwargs, config=config)
        if len(self.type) > config.max_event_type_bytes // 4:  # a character has up to four bytes
            size_bytes = len(self.type.encode())
            if size_bytes > config.max_event_type_bytes:
                raise SerializationError(
                    f"event_type: {size_bytes} bytes, more than the {config.max_event_type_bytes} of "
                    "Config.max_event_type_bytes"
                )
        return encoded

    @staticmethod
    def peek_type(data: bytes, config: Config | None = None) -> str:
        """Read the type of an encoded event without decoding its arguments.

        Raises:
            DecodeError: the bytes do not begin as an event.
        """
        return first_text(data, 3, (config or _DEFAULT_CONFIG).max_event_type_bytes)

    @classmethod
    def from_bytes(cls, data: bytes, config: Config | None = None, event_type: str = "") -> Event:
        """Decode an event; `event_type` is what `peek_type` gave, if it was asked before.

        Raises:
            DecodeError: the bytes are not an event.
        """
        config = config or _DEFAULT_CONFIG
        event_type = event_type or first_text(data, 3, config.max_event_type_bytes)
        event = Event(event_type) if cls is Event else cls(event_type)  # compiled, only the former is direct
        event.handler_args, event.handler_kwargs = decode_event(data, config=config)
        event.size_bytes = len(data)
        return event

    def copy(self) -> Event:
        """Return an equal event that shares no list and no dict with this one."""
        copied = Event(self.type)
        copied.handler_args = _copy_containers(self.handler_args)
        copied.handler_kwargs = _copy_containers(self.handler_kwargs)
        copied.size_bytes = self.size_bytes
        return copied

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return (self.type, self.handler_args, self.handler_kwargs) == (
            other.type,
            other.handler_args,
            other.handler_kwargs,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        arguments = [repr(self.type), *map(repr, self.handler_args)]
        arguments += [f"{name}={value!r}" for name, value in self.handler_kwargs.items()]
        return f"Event({', '.join(arguments)})"


class Handler:
    """A function of the user's, with what its signature says about the library's arguments.

    Args:
        function: called with an event's arguments, and those of the library's that it takes.
        label: names it in the log.

    Attributes:
        takes_game_state: whether it takes an argument of that name.

    Raises:
        ArgumentTypeError: not callable, or a coroutine function, which nobody would await.
    """

    __slots__ = (
        "_places",
        "_takes_any",
        "_takes_client_address",
        "_takes_dt",
        "_takes_names",
        "function",
        "label",
        "takes_game_state",
    )

    def __init__(self, function: Callable[..., Any], label: str = "") -> None:
        if not callable(function):
            raise ArgumentTypeError(f"{type(function).__name__!r} object is not callable")
        if inspect.iscoroutinefunction(function):
            raise ArgumentTypeError(
                f"{function!r} is a coroutine function; handlers are plain functions, which may block"
            )
        self.function = function
        self.label = label
        parameters = _parameters_of(function)
        self._takes_any, self._takes_names = takes_any, names = _keywords_taken(parameters)
        self._takes_client_address = takes_any or "client_address" in names
        self._takes_dt = takes_any or "dt" in names
        self.takes_game_state = takes_any or "game_state" in names
        self._places = _places_of_library(function, parameters)

    def __call__(self, args: list[Any], kwargs: dict[str, Any], library_kwargs: dict[str, Any]) -> Any:
        """Call the function. Each of `library_kwargs` is passed only if the function takes it.

        `client_address`, `game_state` and `dt` are the library's: in `kwargs` they come from the wire, and
        are dropped.
        """
        given = _without_library_names(kwargs)
        for name, value in library_kwargs.items():
            if self._takes_any or name in self._takes_names:
                given[name] = value
        return self.function(*args, **given)

    def call_in_loop(
        self, args: list[Any], kwargs: dict[str, Any], client_address: object, game_state: object, dt: float
    ) -> Any:
        """The same with all of the library's arguments, as the game loop has them: once for each event."""
        places = self._places
        if places is not None and not kwargs and len(args) == places[0]:
            return _call_in_places(self.function, args, places[1], client_address, game_state, dt)
        given = _without_library_names(kwargs)
        if self._takes_client_address:
            given["client_address"] = client_address
        if self.takes_game_state:
            given["game_state"] = game_state
        if self._takes_dt:
            given["dt"] = dt
        return self.function(*args, **given)


class UniversalEventHandler:
    """Handlers by event type. Registering and handling may happen in different threads."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}  # each access is a single one, so any thread may come

    def register_event_handler(self, event_type: str, function: Callable[..., Any]) -> None:
        """Let `function` handle events of `event_type`; it takes the place of an earlier one.

        Raises:
            ArgumentTypeError: `event_type` is no `str`, or `function` is not callable or a
                coroutine function.
        """
        handler = Handler(function, f"handler of event {event_type!r}")
        self._handlers[_check_event_type(event_type)] = handler
        logger.debug("registered a handler for events of type %s", event_type)

    def has_event_type(self, event_type: str) -> bool:
        """Whether a handler is registered for `event_type`."""
        return event_type in self._handlers

    def find(self, event_type: str) -> Handler | None:
        """The handler of `event_type`, if one is registered."""
        return self._handlers.get(event_type)

    def handle(self, event: Event, **library_kwargs: Any) -> Any:
        """Call the handler of the event's type and return what it returns.

        Args:
            event: the event, perhaps from the wire.
            **library_kwargs: `client_address`, `game_state`, `dt`: given to a handler that takes them.

        Raises:
            ArgumentError: no handler is registered for the event's type.
            Exception: whatever the handler raised.
        """
        handler = self._handlers.get(event.type)
        if handler is None:
            raise ArgumentError(f"no handler is registered for events of type {event.type!r}")
        return handler(event.handler_args, event.handler_kwargs, library_kwargs)


def _call_in_places(
    function: Callable[..., Any],
    args: list[Any],
    library_names: tuple[str, ...],
    client_address: object,
    game_state: object,
    dt: float,
) -> Any:
    """Call a function whose last arguments are the library's."""
    count = len(args)
    if library_names == _ADDRESS_ONLY and 0 < count < 4:  # as most are; compiled, there is no tuple then
        if count == 1:
            return function(args[0], client_address)
        if count == 2:
            return function(args[0], args[1], client_address)
        return function(args[0], args[1], args[2], client_address)
    ordered = args.copy()
    for name in library_names:
        if name == "client_address":
            ordered.append(client_address)
        else:
            ordered.append(game_state if name == "game_state" else dt)
    return function(*ordered)


def _without_library_names(kwargs: dict[str, Any]) -> dict[str, Any]:
    """A copy of keyword arguments from the wire without those that only the library gives."""
    if not kwargs:  # as nearly always
        return {}
    return {name: value for name, value in kwargs.items() if name not in _LIBRARY_NAMES}


def _check_event_type(event_type: str) -> str:
    if not isinstance(event_type, str):
        raise ArgumentTypeError(f"an event type is a str, not {type(event_type).__name__}")
    return event_type


def _copy_containers(value: Any) -> Any:
    if type(value) is list:
        return [_copy_containers(item) for item in value]
    if type(value) is dict:
        return {key: _copy_containers(item) for key, item in value.items()}
    return value


def _places_of_library(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter]
) -> tuple[int, tuple[str, ...]] | None:
    """Where the arguments that only the library gives stand, if they are a function's last ones.

    Given in their places they need no dict, which costs as much as the rest of a call.

    Returns:
        How many others stand before them, and their names in order; `None` where they have to be given
        by name: where some are keyword-only or not last, and where the signature may be another
        function's, as it is for a decorator's wrapper.
    """
    # By their very types: a proxy may call itself what it stands for.
    plain = function.__func__ if type(function) is MethodType else function
    if type(plain) is not FunctionType or hasattr(plain, "__wrapped__") or hasattr(plain, "__signature__"):
        return None
    names = []
    for parameter in parameters:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            return None
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name in _LIBRARY_NAMES:
            return None
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            by_name = parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
            names.append(parameter.name if by_name else "")
    others = len(names)
    while others and names[others - 1] in _LIBRARY_NAMES:
        others -= 1
    if any(name in _LIBRARY_NAMES for name in names[:others]):
        return None
    return others, tuple(names[others:])


def _parameters_of(function: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):  # some builtins tell no signature, and a method without a self has none
        return []
    except SystemError:  # CPython 3.11 parses those of builtins, and mistakes the depth where two threads do
        return []  # none takes an argument of the library's


def _keywords_taken(parameters: Sequence[inspect.Parameter]) -> tuple[bool, frozenset[str]]:
    """Whether any keyword is taken, and the names that are."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return (
        any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters),
        frozenset(parameter.name for parameter in parameters if parameter.kind in by_name),
    )
