"""Handshakes under way: addresses that were sent a challenge and have not answered it yet."""

from __future__ import annotations

from collections import deque

from pygase_gevent.config import Config
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.netcode.sealing import PacketCipher
from pygase_gevent.protocol.netcode.token import PrivateToken


class HalfOpen:
    """One handshake: the standard's encryption mapping, and the challenges sent under it.

    Attributes:
        token: what the client brought.
        receive_cipher: opens what comes from the address.
        send_cipher: seals what goes to it.
        expire_time: when it is forgotten, unless another request comes.
    """

    __slots__ = ("_challenges", "expire_time", "receive_cipher", "send_cipher", "token")

    def __init__(self, token: PrivateToken, associated_data: tuple[bytes, ...], challenge_limit: int) -> None:
        self.token = token
        self.receive_cipher = PacketCipher(token.client_to_server_key, associated_data)
        self.send_cipher = PacketCipher(token.server_to_client_key, associated_data)
        self.expire_time = 0.0
        self._challenges: deque[tuple[int, float]] = deque(maxlen=challenge_limit)

    def add_challenge(self, sequence: int, now: float) -> None:
        self._challenges.append((sequence, now))

    def is_challenge_fresh(self, sequence: int, sent_after: float) -> bool:
        """Whether a challenge was sent in this very handshake, and lately.

        Its sequence tells. A challenge says nothing about the address that it was sent to, so one
        that came out of another handshake would prove nothing about this address.
        """
        return any(known == sequence and time >= sent_after for known, time in self._challenges)


class HalfOpenTable:
    """The handshakes under way, by address: a bounded number, and when full the oldest goes."""

    __slots__ = ("_associated_data", "_config", "_handshakes")

    def __init__(self, config: Config, associated_data: tuple[bytes, ...]) -> None:
        self._config = config
        self._associated_data = associated_data
        self._handshakes: dict[Address, HalfOpen] = {}
        """In the order of the last request."""

    def __len__(self) -> int:
        return len(self._handshakes)

    def get(self, address: Address, now: float) -> HalfOpen | None:
        handshake = self._handshakes.get(address)
        return handshake if handshake is not None and now < handshake.expire_time else None

    def add(self, address: Address, token: PrivateToken, now: float) -> HalfOpen:
        """The handshake of a request: the one that the address has with this token, or a new one."""
        handshake = self._handshakes.pop(address, None)
        if handshake is None or handshake.token.mac != token.mac:
            if len(self._handshakes) >= self._config.max_half_open:
                del self._handshakes[next(iter(self._handshakes))]
            handshake = HalfOpen(token, self._associated_data, self._config.challenges_per_handshake)
        lifetime_s = self._config.half_open_timeout_s
        if token.timeout_seconds > 0:
            lifetime_s = min(lifetime_s, token.timeout_seconds)
        handshake.expire_time = now + lifetime_s
        self._handshakes[address] = handshake
        return handshake

    def remove(self, address: Address) -> None:
        del self._handshakes[address]

    def remove_expired(self, now: float) -> None:
        expired = [address for address, handshake in self._handshakes.items() if handshake.expire_time <= now]
        for address in expired:
            del self._handshakes[address]

    def clear(self) -> None:
        self._handshakes.clear()
