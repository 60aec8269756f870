"""What a netcode server keeps of a connected client, and the events that tell of its life."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pygase_gevent.config import Config
from pygase_gevent.protocol.address import OpaqueAddress
from pygase_gevent.protocol.netcode.half_open import HalfOpen
from pygase_gevent.protocol.netcode.sealing import ReplayWindow
from pygase_gevent.protocol.netcode.token import PrivateToken


class PeerDisconnectReason(Enum):
    """Why a client is no longer connected."""

    TIMED_OUT = "timed out"
    GOODBYE = "goodbye"
    """The client said so."""
    LOCAL = "local"
    """`NetcodeServer.disconnect` was called."""


class NetcodePeer:
    """A connected client, in its slot.

    Attributes:
        address: where it is.
        client_id: from its token.
        client_index: its slot, the lowest that was free.
        is_connected: False once it has left its slot.
        is_confirmed: whether it is known that the client knows that it is connected.
        last_receive_time: of a payload or keep-alive packet.
        last_send_time: of any packet.
        next_sequence: of the next packet to it.
        timeout_s: silence after which it is disconnected; infinite where the token says never.
        keepalive_interval_s: silence towards a confirmed client after which a keep-alive is sent. May
            be set; a floor above that has its own keep-alives sets it to infinity.
        session: free for the floor above.
    """

    __slots__ = (
        "_allowance_end",
        "_bytes_left",
        "_max_bytes_per_s",
        "_max_packets_per_s",
        "_packets_left",
        "address",
        "client_id",
        "client_index",
        "is_confirmed",
        "is_connected",
        "keepalive_interval_s",
        "last_receive_time",
        "last_send_time",
        "next_sequence",
        "receive_cipher",
        "replay",
        "send_cipher",
        "session",
        "timeout_s",
    )

    def __init__(
        self,
        *,
        address: OpaqueAddress,
        client_id: int,
        client_index: int,
        handshake: HalfOpen,
        config: Config,
        now: float,
    ) -> None:
        self.address = address
        self.client_id = client_id
        self.client_index = client_index
        self.receive_cipher = handshake.receive_cipher
        self.send_cipher = handshake.send_cipher
        self.replay = ReplayWindow(config.replay_window)
        self.is_connected = True
        self.is_confirmed = False
        self.last_receive_time = now
        self.last_send_time = now
        self.next_sequence = 0
        timeout = handshake.token.timeout_seconds
        self.timeout_s = float(timeout) if timeout > 0 else float("inf")
        self.keepalive_interval_s = 1 / config.netcode_keepalive_hz
        self.session: object = None
        self._max_packets_per_s = config.max_packets_per_s
        self._max_bytes_per_s = config.max_bytes_per_s
        self._allowance_end = now
        self._packets_left = 0.0
        self._bytes_left = 0.0

    def __repr__(self) -> str:
        return f"<NetcodePeer {self.client_index} at {self.address}>"

    def is_within_limits(self, size_bytes: int, now: float) -> bool:
        """Counts a payload against the client's packets and bytes per second."""
        if now >= self._allowance_end:
            self._allowance_end = now + 1.0
            self._packets_left = self._max_packets_per_s
            self._bytes_left = self._max_bytes_per_s
        self._packets_left -= 1
        self._bytes_left -= size_bytes
        return self._packets_left >= 0 and self._bytes_left >= 0


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """A client took its slot.

    Attributes:
        token: all that its token said; the peer itself does not keep it.
    """

    peer: NetcodePeer
    token: PrivateToken


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """A client left its slot."""

    peer: NetcodePeer
    reason: PeerDisconnectReason


PeerEvent = PeerConnected | PeerDisconnected
