"""Calls that return: the caller's table of open calls, and the two messages on the wire.

A call is a reliable message: its number (u32, little-endian), then the event as bytes. Its result
is one too: the number, one byte (0: the handler returned, 1: it raised), then the encoded value, or
the encoded text of the error. Numbers are the caller's, one after the other; they go on over sessions.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

from pygase_gevent import codec
from pygase_gevent.config import Config
from pygase_gevent.errors import CallTimeoutError, DecodeError, PygaseError, RemoteError, WaitTimeoutError
from pygase_gevent.event import Event
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.locks import allocate_lock

_CALL_HEAD = struct.Struct("<I")
_RESULT_HEAD = struct.Struct("<IB")
_RETURNED = 0
_RAISED = 1


class OpenCalls:
    """Calls of this side that have no answer yet. Any thread may open one and wait for it."""

    __slots__ = ("_calls", "_config", "_ended", "_last_number", "_lock")

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = allocate_lock()
        self._calls: dict[int, Outcome[Any]] | None = None
        self._last_number = 0
        self._ended: PygaseError | None = None

    def open(self) -> int:
        """The number of a new call.

        Raises:
            PygaseError: the connection is over; why.
        """
        with self._lock:
            if self._ended is None:
                self._last_number = (self._last_number + 1) & 0xFFFFFFFF
                number = self._last_number
                if self._calls is None:
                    self._calls = {}
                self._calls[number] = Outcome()
                return number
        raise self._ended

    def wait(self, number: int, timeout: float | None, *, what: str) -> Any:
        """Wait for the answer of a call.

        Args:
            number: what `open` gave.
            timeout: seconds; `None` waits as long as the connection lives.
            what: names the call in errors.

        Raises:
            RemoteError: the peer's handler raised, or there is none.
            CallTimeoutError: no answer in time.
            PeerError: the connection ended meanwhile.
        """
        assert self._calls is not None
        try:
            return self._calls[number].wait(timeout)
        except WaitTimeoutError:
            raise CallTimeoutError(f"{what}: no answer within {timeout} s") from None

    def forget(self, number: int) -> None:
        """An answer to this call is not awaited (any more)."""
        with self._lock:
            if self._calls is not None:
                self._calls.pop(number, None)

    def take_result(self, body: bytes) -> bool:
        """An answer arrived; whether it was awaited and could be read."""
        try:
            number, returned, value = decode_result(body, config=self._config)
        except DecodeError:
            return False
        with self._lock:
            call = None if self._calls is None else self._calls.get(number)
        if call is None:
            return False
        if returned:
            call.set_result(value)
        else:
            call.set_error(RemoteError(value))
        return True

    def reopen(self) -> None:
        """There may be calls again."""
        self._ended = None

    def end(self, error: PygaseError) -> None:
        """The connection is over: every open call raises `error`, and so does every new one."""
        with self._lock:
            self._ended = error
        self.interrupt(error)

    def interrupt(self, error: PygaseError) -> None:
        """The session was replaced by a new one: every open call raises `error`."""
        with self._lock:
            calls = [] if self._calls is None else list(self._calls.values())
        for call in calls:
            call.set_error(error)


class WaitingCalls:
    """Calls of the peer that wait to be handled. Any thread.

    Args:
        config: `max_received_events` and `max_received_bytes` bound them.
    """

    __slots__ = ("_bodies", "_config", "_lock", "_size_bytes")

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = allocate_lock()
        self._bodies: deque[bytes] | None = None
        self._size_bytes = 0

    def put(self, body: bytes) -> bool:
        """Keep a call; whether there was room."""
        config = self._config
        with self._lock:
            if self._bodies is None:
                self._bodies = deque()
            has_room = (
                len(self._bodies) < config.max_received_events
                and self._size_bytes + len(body) <= config.max_received_bytes
            )
            if has_room:
                self._bodies.append(body)
                self._size_bytes += len(body)
        return has_room

    def take(self) -> bytes | None:
        """The next call, oldest first."""
        if not self._bodies:
            return None
        with self._lock:
            if not self._bodies:
                return None
            body = self._bodies.popleft()
            self._size_bytes -= len(body)
        return body

    def clear(self) -> None:
        """Nobody waits for their results any more."""
        with self._lock:
            self._bodies = None
            self._size_bytes = 0


def encode_call(number: int, event_bytes: bytes) -> bytes:
    """The body of a call."""
    return _CALL_HEAD.pack(number) + event_bytes


def decode_call(body: bytes, *, config: Config) -> tuple[int, Event]:
    """Number and event of a call. Raises `DecodeError`."""
    return call_number(body), Event.from_bytes(body[_CALL_HEAD.size :], config)


def call_number(body: bytes) -> int:
    """The number of a call, readable even where the rest is not. Raises `DecodeError`."""
    if len(body) < _CALL_HEAD.size:
        raise DecodeError("call too short")
    (number,) = _CALL_HEAD.unpack_from(body)
    return int(number)


def encode_returned(number: int, value: Any, *, config: Config) -> bytes:
    """The body of a result. Raises `SerializationError` where the value cannot travel."""
    encoded = codec.encode(value, config=config, max_items=config.max_event_items)
    return _RESULT_HEAD.pack(number, _RETURNED) + encoded


def missing_handler(event_type: str, event_wire: object) -> LookupError:
    """The error of a call that no handler is registered for; a game loop may have one, and says so."""
    text = f"no handler is registered for {event_type!r}"
    handles = getattr(event_wire, "_handles", None)
    if handles is not None and handles(event_type):
        text += (
            " at the server. The game loop has one, but those are for events: register what is called "
            "with Server.register_event_handler"
        )
    return LookupError(text)


def encode_raised(number: int, error: BaseException, *, config: Config) -> bytes:
    """The body of an error: its type's name and its text, never its traceback."""
    text = f"{type(error).__name__}: {error}"[: config.max_error_text]
    # A lone surrogate cannot travel as UTF-8.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return _RESULT_HEAD.pack(number, _RAISED) + codec.encode(text, config=config)


def decode_result(body: bytes, *, config: Config) -> tuple[int, bool, Any]:
    """Number, whether the handler returned, and the value or the error's text. Raises `DecodeError`."""
    if len(body) < _RESULT_HEAD.size:
        raise DecodeError("result too short")
    number, status = _RESULT_HEAD.unpack_from(body)
    value = codec.decode(body[_RESULT_HEAD.size :], config=config, max_items=config.max_event_items)
    if status == _RETURNED:
        return number, True, value
    if status != _RAISED or not isinstance(value, str):
        raise DecodeError("result with an unknown status")
    return number, False, value
