"""netcode 1.02 (STANDARD.md of mas-bandwidth/netcode), client and server, without I/O."""

from pygase_gevent.protocol.netcode.client import ClientState, NetcodeClient
from pygase_gevent.protocol.netcode.packet import MAX_PAYLOAD_BYTES, DropReason
from pygase_gevent.protocol.netcode.peer import (
    NetcodePeer,
    PeerConnected,
    PeerDisconnected,
    PeerDisconnectReason,
    PeerEvent,
)
from pygase_gevent.protocol.netcode.server import NetcodeServer
from pygase_gevent.protocol.netcode.token import (
    MAX_SERVER_ADDRESSES,
    NEVER_EXPIRES,
    ConnectToken,
    PrivateToken,
    generate_connect_token,
)

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "MAX_SERVER_ADDRESSES",
    "NEVER_EXPIRES",
    "ClientState",
    "ConnectToken",
    "DropReason",
    "NetcodeClient",
    "NetcodePeer",
    "NetcodeServer",
    "PeerConnected",
    "PeerDisconnectReason",
    "PeerDisconnected",
    "PeerEvent",
    "PrivateToken",
    "generate_connect_token",
]
