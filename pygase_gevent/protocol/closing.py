"""Sessions on their way out: the reason is repeated for a moment, then the connection is let go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.protocol.netcode import NetcodePeer
from pygase_gevent.protocol.server_peer import ServerPeer

SENDS: Final = 3
"""Times that the reason is said; a burst of losses is shorter than the linger time."""


class ClosingPeers:
    """Peers whose session is over and whose client still has to hear why.

    Args:
        config: `close_linger_s`.
        send: sends what the peer's session has to say.
        disconnect: ends the netcode connection.
    """

    def __init__(
        self,
        config: Config,
        send: Callable[[ServerPeer, float], None],
        disconnect: Callable[[NetcodePeer, float], None],
    ) -> None:
        self._linger_s = config.close_linger_s
        self._send = send
        self._disconnect = disconnect
        self._peers: list[ServerPeer] = []

    def add(self, peer: ServerPeer, now: float) -> None:
        """Say the reason now and a few times more."""
        self._send(peer, now)
        peer.close_at = now + self._linger_s
        peer.next_close_at = now + self._linger_s / SENDS
        self._peers.append(peer)

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        if not self._peers:  # as nearly always
            return None
        return min(min(peer.next_close_at, peer.close_at) for peer in self._peers)

    def handle_timer(self, now: float) -> None:
        """Repeat what is due, let go what is done."""
        if not self._peers:
            return
        still: list[ServerPeer] = []
        for peer in self._peers:
            if peer.attachment is None:
                continue
            if now >= peer.close_at:
                self._disconnect(peer.attachment, now)
                peer.attachment = None
                continue
            if now >= peer.next_close_at:
                peer.next_close_at = now + self._linger_s / SENDS
                self._send(peer, now)
            still.append(peer)
        self._peers = still

    def repeat(self, now: float) -> None:
        """Say everything once more."""
        for peer in self._peers:
            self._send(peer, now)

    def clear(self) -> None:
        """Forget them: the server stops."""
        self._peers.clear()
