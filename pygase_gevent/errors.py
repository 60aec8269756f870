"""The error tree: one root, and two branches that say whose fault it is.

* `LocalError`: the caller on this side did something that cannot work. Raised at the call,
  before anything was queued.
* `PeerError`: the other side, or the network between, is why it did not work.

Where Python has a fitting builtin the error inherits from it too, so that `except TimeoutError`
and `except KeyError` do what they say. Nothing that arrives on the wire raises any of these out of
the library by itself: wire input is checked, counted and dropped.
"""

from __future__ import annotations


class PygaseError(Exception):
    """Root of every error that this library raises by itself."""

    def __str__(self) -> str:
        # KeyError would show the repr of its argument; a message is a sentence here.
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()


class LocalError(PygaseError):
    """The caller on this side asked for something that cannot work."""


class PeerError(PygaseError):
    """The other side, or the network between, is the reason."""


class ArgumentError(LocalError, ValueError):
    """An argument has a value that cannot work."""


class ArgumentTypeError(LocalError, TypeError):
    """An argument has a type that cannot work."""


class SerializationError(LocalError, TypeError):
    """Data that cannot travel: the message names the place inside it, and the type found there."""


class MessageTooLargeError(LocalError, ValueError):
    """An event or a state is over its size limit."""


class UnknownClientError(LocalError, KeyError):
    """No session of that client address."""


class QueueFullError(LocalError, BufferError):
    """A bounded queue has no room: the peer does not keep up, or is away. Nothing was queued."""


class NotRunningError(LocalError, RuntimeError):
    """The server or client must be running, or connected once, for this."""


class AlreadyRunningError(LocalError, RuntimeError):
    """It runs already; one object serves one run at a time."""


class WaitTimeoutError(LocalError, TimeoutError):
    """What `wait_until` or `try_to` waited for did not happen in time."""


class DecodeError(PeerError, ValueError):
    """Bytes that are not what they should be. Stays inside the library for wire input."""


class ConnectError(PeerError, ConnectionError):
    """The connection did not come to stand, or ended other than by a goodbye.

    Attributes:
        reason: the `DisconnectReason`, where one is known.
    """

    def __init__(self, message: str, reason: object = None) -> None:
        super().__init__(message)
        self.reason = reason


class ServerFullError(ConnectError):
    """The server has no room."""


class NoAnswerError(ConnectError, TimeoutError):
    """Nothing came back: wrong key, wrong game, no server, or a firewall."""


class ConnectionClosedError(ConnectError):
    """The server closed the connection, and said why."""


class ConnectionLostError(ConnectError):
    """A connection that stood was lost and did not come back in time."""


class CallTimeoutError(PeerError, TimeoutError):
    """A `call` had no answer at its deadline."""


class RemoteError(PeerError):
    """The peer's handler raised. The message is its type and text, without a traceback."""
