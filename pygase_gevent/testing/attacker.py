"""Somebody on the network who sends what nobody should take."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable

from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.identity import Identity, encode_user_data
from pygase_gevent.protocol.netcode import generate_connect_token
from pygase_gevent.protocol.netcode.packet import PacketType, write_request
from pygase_gevent.testing.witness import Witness
from pygase_gevent.testing.world import SERVER_ADDRESS, World

MAX_RECORDED = 400
MIN_AGE_S = 1.0
"""He is not faster than the one whom he records: what he replays has arrived a while ago."""
VICTIM: Address = ("203.0.113.7", 7777)
"""Where nobody is, and nobody should be flooded."""


class Attacker(Witness):
    """Records what arrives, and replays, corrupts, truncates and forges it, from true and false addresses.

    Args:
        world: where he lives.
        rng: his choices.
        hz: datagrams a second.
        counts: what he did, by kind.
    """

    def __init__(self, world: World, rng: random.Random, hz: float, counts: Counter[str]) -> None:
        self._world = world
        self._rng = rng
        self._hz = hz
        self._counts = counts
        self._recorded: deque[tuple[float, bytes, Address, Address]] = deque(maxlen=MAX_RECORDED)
        self._is_active = True
        self._tricks: tuple[Callable[[bytes, Address, Address], None], ...] = (
            self._replay,
            self._replay_from_elsewhere,
            self._corrupt,
            self._truncate,
            self._forge,
            self._forge_with_high_sequence,
            self._junk,
            self._request_for_another,
        )

    def start(self) -> None:
        """Begins."""
        if self._hz:
            self._world.timeline.after(self._rng.expovariate(self._hz), self._act)

    def stop(self) -> None:
        """Goes home."""
        self._is_active = False

    def datagram_arrived(
        self, data: bytes, source: Address, target: Address, sent_at: float, is_genuine: bool
    ) -> None:
        if self._hz and is_genuine:
            self._recorded.append((self._world.now, data, source, target))

    def _act(self) -> None:
        if not self._is_active:
            return
        self._world.timeline.after(self._rng.expovariate(self._hz), self._act)
        if not self._recorded:
            return
        at, data, source, target = self._rng.choice(self._recorded)
        if at + MIN_AGE_S <= self._world.now:
            trick = self._rng.choice(self._tricks)
            self._counts[f"attack_{trick.__name__.strip('_')}"] += 1
            trick(data, source, target)

    def _replay(self, data: bytes, source: Address, target: Address) -> None:
        self._world.network.inject(data, source, target)

    def _replay_from_elsewhere(self, data: bytes, source: Address, target: Address) -> None:
        clients = self._world.clients
        other = self._rng.choice(clients).address if clients and self._rng.random() < 0.5 else VICTIM
        self._world.network.inject(data, other, target)

    def _corrupt(self, data: bytes, source: Address, target: Address) -> None:
        changed = bytearray(data)
        for _ in range(self._rng.randint(1, 3)):
            changed[self._rng.randrange(len(changed))] ^= 1 << self._rng.randrange(8)
        self._world.network.inject(bytes(changed), source, target)

    def _truncate(self, data: bytes, source: Address, target: Address) -> None:
        self._world.network.inject(data[: self._rng.randrange(len(data))], source, target)

    def _forge(self, data: bytes, source: Address, target: Address) -> None:
        size = len(data) - 9
        forged = data[:9] + self._rng.randbytes(size) if size > 0 else data[:1]
        self._world.network.inject(forged, source, target)

    def _forge_with_high_sequence(self, data: bytes, source: Address, target: Address) -> None:
        kind = self._rng.choice((PacketType.PAYLOAD, PacketType.KEEP_ALIVE, PacketType.DISCONNECT))
        sequence = self._rng.choice((2**20, 2**40, 2**63, 2**64 - 1)).to_bytes(8, "little")
        forged = bytes([8 << 4 | kind]) + sequence + self._rng.randbytes(self._rng.choice((16, 24, 100)))
        live = [client.address for client in self._world.clients if not client.is_over]
        if not live:
            return
        if self._rng.random() < 0.5:
            self._world.network.inject(forged, self._rng.choice(live), SERVER_ADDRESS)
        else:
            self._world.network.inject(forged, SERVER_ADDRESS, self._rng.choice(live))

    def _junk(self, data: bytes, source: Address, target: Address) -> None:
        self._world.network.inject(self._rng.randbytes(self._rng.randrange(1400)), source, target)

    def _request_for_another(self, data: bytes, source: Address, target: Address) -> None:
        """With a token of his own he asks for connections in the name of addresses that are not his."""
        world = self._world
        token = generate_connect_token(
            private_key=world.key,
            protocol_id=world.protocol_id,
            client_id=self._rng.getrandbits(64),
            server_addresses=[SERVER_ADDRESS],
            user_data=encode_user_data(Identity()),
            unix_time=world.unix_time,
            expire_seconds=30,
            timeout_seconds=5,
            entropy=self._rng.randbytes,
        )
        request = write_request(
            protocol_id=token.protocol_id,
            expire_timestamp=token.expire_timestamp,
            nonce=token.nonce,
            private_data=token.private_data,
        )
        world.network.inject(request, (VICTIM[0], self._rng.randrange(1, 65_536)), SERVER_ADDRESS)
