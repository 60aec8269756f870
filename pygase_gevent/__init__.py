"""Multiplayer networking for games in plain, synchronous Python, on gevent.

Everything a program needs can be imported from here; README.md shows a server and a client.
"""

from pygase_gevent.backend import Backend
from pygase_gevent.client import Client
from pygase_gevent.config import Config
from pygase_gevent.connection import ClientConnection, ConnectionStatus, Disconnect, ServerConnection
from pygase_gevent.errors import (
    AlreadyRunningError,
    ArgumentError,
    ArgumentTypeError,
    CallTimeoutError,
    ConnectError,
    ConnectionClosedError,
    ConnectionLostError,
    DecodeError,
    LocalError,
    MessageTooLargeError,
    NoAnswerError,
    NotRunningError,
    PeerError,
    PygaseError,
    QueueFullError,
    RemoteError,
    SerializationError,
    ServerFullError,
    UnknownClientError,
    WaitTimeoutError,
)
from pygase_gevent.event import Delivery, Event
from pygase_gevent.gamestate import TO_DELETE, GameState, GameStateStore, GameStateUpdate, GameStatus
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.schema import ANY, Fixed, Float32, Int8, Int16, Int32, UInt8, UInt16, UInt32
from pygase_gevent.server import Server
from pygase_gevent.statemachine import GameStateMachine
from pygase_gevent.utils import get_available_ip_addresses

__version__ = "0.1.0"

__all__ = [
    "ANY",
    "TO_DELETE",
    "AlreadyRunningError",
    "ArgumentError",
    "ArgumentTypeError",
    "Backend",
    "CallTimeoutError",
    "Client",
    "ClientConnection",
    "Config",
    "ConnectError",
    "ConnectionClosedError",
    "ConnectionLostError",
    "ConnectionStatus",
    "DecodeError",
    "Delivery",
    "Disconnect",
    "DisconnectReason",
    "Event",
    "Fixed",
    "Float32",
    "GameState",
    "GameStateMachine",
    "GameStateStore",
    "GameStateUpdate",
    "GameStatus",
    "Int8",
    "Int16",
    "Int32",
    "LocalError",
    "MessageTooLargeError",
    "NoAnswerError",
    "NotRunningError",
    "PeerError",
    "PygaseError",
    "QueueFullError",
    "RemoteError",
    "SerializationError",
    "Server",
    "ServerConnection",
    "ServerFullError",
    "UInt8",
    "UInt16",
    "UInt32",
    "UnknownClientError",
    "WaitTimeoutError",
    "get_available_ip_addresses",
]
