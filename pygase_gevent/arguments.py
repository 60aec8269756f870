"""What server and client check in the same way before anything happens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError
from pygase_gevent.event import Delivery, Event
from pygase_gevent.exchange import encode_event
from pygase_gevent.hub.environment import current_environment
from pygase_gevent.outbox import OutgoingMessage
from pygase_gevent.protocol.session import MessageKind
from pygase_gevent.protocol.token_source import TokenSource

OPEN_MODE_KEY = bytes(32)
"""The private key of a server that was given none."""


def check_config(config: object) -> Config:
    """Raises `ArgumentTypeError`."""
    if not isinstance(config, Config):
        raise ArgumentTypeError(f"config must be a Config, not {type(config).__name__}")
    return config


def check_key(key: object) -> bytes:
    """The 32 bytes of a private key; zeros for `None`. Raises `ArgumentTypeError`, `ArgumentError`."""
    if key is None:
        return OPEN_MODE_KEY
    if not isinstance(key, (bytes, bytearray)):
        raise ArgumentTypeError(f"key must be 32 bytes, or None for open mode, not {type(key).__name__}")
    if len(key) != 32:
        is_hex = len(key) == 64
        advice = "bytes.fromhex makes them of 64 hex digits" if is_hex else "os.urandom(32) makes one"
        raise ArgumentError(f"key must be 32 bytes, not {len(key)}; {advice}")
    return bytes(key)


def check_port(port: object) -> int:
    """Raises `ArgumentTypeError`, `ArgumentError`."""
    if isinstance(port, bool) or not isinstance(port, int):
        raise ArgumentTypeError(f"port must be an int, not {type(port).__name__}")
    if not 0 <= port <= 65535:
        raise ArgumentError(f"port must be between 0 and 65535, not {port}")
    return port


def check_hostname(hostname: object) -> str:
    """Raises `ArgumentTypeError`."""
    if not isinstance(hostname, str):
        raise ArgumentTypeError(f"hostname must be a str, not {type(hostname).__name__}")
    return hostname


def check_timeout(timeout: object) -> float | None:
    """Seconds, or `None` for no limit. Raises `ArgumentTypeError`, `ArgumentError`."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise ArgumentTypeError(f"timeout must be seconds or None, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ArgumentError(f"timeout must not be negative: {timeout}")
    return _to_float(timeout, "timeout")


def check_token(token: object, source: TokenSource, unix_time: int) -> None:
    """Raises `ArgumentTypeError`, and `ArgumentError` where `source` could not use the connect token."""
    if not isinstance(token, (bytes, bytearray)):
        raise ArgumentTypeError(f"token must be bytes, not {type(token).__name__}")
    source.take(bytes(token), unix_time)


def check_interval(interval: object) -> float:
    """Seconds between time steps. Raises `ArgumentTypeError`, `ArgumentError`."""
    if isinstance(interval, bool) or not isinstance(interval, (int, float)):
        raise ArgumentTypeError(f"interval must be seconds, not {type(interval).__name__}")
    if not 0 < interval < math.inf:
        raise ArgumentError(f"interval must be a positive number of seconds, not {interval}")
    return _to_float(interval, "interval")


def check_function(function: object, name: str) -> None:
    """Raises `ArgumentTypeError` unless it can be called."""
    if not callable(function):
        raise ArgumentTypeError(f"{name} must be callable, not {type(function).__name__}")


def _to_float(seconds: float, name: str) -> float:
    try:
        return float(seconds)
    except OverflowError:
        raise ArgumentError(f"{name} is too large to be a number of seconds") from None


class EventEncoder:
    """Checks and encodes what an application dispatches, in its own thread, before anything is queued.

    Args:
        deliveries: how each type of event travels.
        config: limits.

    Raises:
        ArgumentTypeError: not a mapping of event types to `Delivery`.
        ArgumentError: more ordered, or sequenced, event types than `Config.max_streams`.
    """

    def __init__(self, deliveries: Mapping[str, Delivery] | None, config: Config) -> None:
        if deliveries is not None and not isinstance(deliveries, Mapping):
            raise ArgumentTypeError(
                f"deliveries must be a dict of event types to Delivery, not {type(deliveries).__name__}"
            )
        self._deliveries = dict(deliveries or {})
        self._config = config
        for event_type, delivery in self._deliveries.items():
            if not isinstance(event_type, str) or not isinstance(delivery, Delivery):
                raise ArgumentTypeError(
                    f"deliveries must map event types (str) to Delivery, not {event_type!r} to {delivery!r}"
                )
        counts = Counter(self._deliveries.values())
        for delivery in (Delivery.RELIABLE_ORDERED, Delivery.SEQUENCED):
            if counts[delivery] > config.max_streams:
                raise ArgumentError(
                    f"deliveries name {counts[delivery]} event types as {delivery.name}, more than the "
                    f"{config.max_streams} of Config.max_streams"
                )

    def encode(
        self,
        event_type: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        retries: int,
        ack_callback: object,
    ) -> OutgoingMessage:
        """An event as a message that is ready to be queued.

        Raises:
            ArgumentTypeError, ArgumentError: of event type, `retries` or `ack_callback`.
            SerializationError: an argument cannot travel.
            MessageTooLargeError: over the size limit.
        """
        if isinstance(retries, bool) or not isinstance(retries, int):
            raise ArgumentTypeError(f"retries must be an int, not {type(retries).__name__}")
        if not 0 <= retries <= self._config.max_retries:
            raise ArgumentError(
                f"retries must be between 0 and {self._config.max_retries}, not {retries}; "
                "for what must arrive there is Delivery.RELIABLE"
            )
        if ack_callback is not None:
            check_function(ack_callback, "ack_callback")
        body = encode_event(Event(event_type, *args, **kwargs), self._config)
        return OutgoingMessage(
            body,
            MessageKind.EVENT,
            delivery=self._deliveries.get(event_type, Delivery.UNRELIABLE),
            stream=event_type,
            dispatched_at=current_environment().now(),
            retries=retries,
            token=ack_callback,
        )
