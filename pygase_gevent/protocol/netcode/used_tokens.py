"""Which connect tokens were used, so that each serves one address, and connects once.

A token's packet keys are good for one connection: a second one would count its sequences from zero
again, under the same keys.
"""

from __future__ import annotations

from pygase_gevent.config import Config
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.netcode.packet import DropReason


class UsedTokens:
    """A bounded memory of used tokens, by their MAC.

    A token is *pending* while a handshake goes on, and only good for the address that used it
    first, unless it may move. It is *spent* for good once it connected. Forgotten are the ones used
    longest ago, pending before spent, but none before twice the life of a challenge has passed: until
    then, somebody who recorded the handshake would hold a challenge that is still good. When nothing may
    be forgotten, newcomers have to wait.
    """

    __slots__ = ("_capacity", "_pending", "_retention_s", "_spent")

    def __init__(self, config: Config) -> None:
        self._capacity = max(config.min_used_tokens, config.used_tokens_per_client * config.max_clients)
        self._retention_s = max(2 * config.challenge_lifetime_s, config.half_open_timeout_s)
        # Both in the order of their last use.
        self._pending: dict[bytes, tuple[Address, float]] = {}
        self._spent: dict[bytes, float] = {}

    def refusal(self, mac: bytes, address: Address, now: float, *, may_move: bool) -> str | None:
        """Records a use of a token: None if it may be used, else the `DropReason`."""
        if mac in self._spent:
            return DropReason.TOKEN_USED
        known = self._pending.get(mac)
        if known is None:
            if not self._make_room(now):
                return DropReason.TOKEN_MEMORY_FULL
        elif known[0] != address and not may_move:
            return DropReason.TOKEN_USED
        else:
            del self._pending[mac]
        self._pending[mac] = (address, now)
        return None

    def is_spent(self, mac: bytes) -> bool:
        """Whether a token has connected."""
        return mac in self._spent

    def spend(self, mac: bytes, now: float) -> None:
        """A token has connected."""
        self._pending.pop(mac, None)
        self._spent[mac] = now

    def _make_room(self, now: float) -> bool:
        if len(self._pending) + len(self._spent) < self._capacity:
            return True
        forgettable = now - self._retention_s
        mac, (_, last_use) = next(iter(self._pending.items()), (b"", (None, now)))
        if last_use <= forgettable:
            del self._pending[mac]
            return True
        mac, last_use = next(iter(self._spent.items()), (b"", now))
        if last_use <= forgettable:
            del self._spent[mac]
            return True
        return False
