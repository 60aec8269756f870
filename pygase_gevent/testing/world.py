"""A server, its clients and the network between them, in virtual time: the real protocol, without I/O.

    world = World(seed=7, line=LinkOptions(loss=0.1, delay_s=0.05))
    world.server.start()
    client = world.add_client()
    assert world.run(10, until=lambda: client.is_connected)

One seed and the same calls give the same datagrams, byte by byte.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from pygase_gevent.config import Config
from pygase_gevent.gamestate import GameState
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.identity import protocol_id_of
from pygase_gevent.protocol.server_peer import ServerPeer
from pygase_gevent.testing.link import PERFECT_LINE, LinkOptions
from pygase_gevent.testing.network import Line, SimulatedNetwork
from pygase_gevent.testing.timeline import Timeline, Trace
from pygase_gevent.testing.virtual_client import VirtualClient
from pygase_gevent.testing.virtual_server import VirtualServer
from pygase_gevent.testing.witness import Witness, Witnesses

SERVER_ADDRESS: Address = ("10.0.0.1", 8080)
UNIX_EPOCH = 1_700_000_000
KEY = bytes(range(32))


class World:
    """One server, any number of clients, one clock.

    Args:
        seed: of everything random.
        config: limits of all hosts.
        key: the server's private key.
        line: what a client's line is like.
        state: the game's first state.
        witnesses: see what happens.
    """

    def __init__(
        self,
        seed: int | str = 1,
        *,
        config: Config | None = None,
        key: bytes = KEY,
        line: LinkOptions = PERFECT_LINE,
        state: GameState | None = None,
        witnesses: Sequence[Witness] = (),
    ) -> None:
        self.config = config or Config()
        self.key = key
        self.line_options = line
        self.timeline = Timeline()
        self.trace = Trace()
        self.witnesses = Witnesses()
        self.witnesses.add(*witnesses)
        self.protocol_id = protocol_id_of("simulation")
        self.entropy = random.Random(f"{seed} entropy").randbytes
        self.network = SimulatedNetwork(
            self.timeline, self.trace, self.witnesses, random.Random(f"{seed} network")
        )
        self.clients: list[VirtualClient] = []
        self._next_port = 50_000
        self._client_count = 0
        self.server = self._new_server(state)

    @property
    def now(self) -> float:
        """Seconds, monotonic."""
        return self.timeline.now

    @property
    def unix_time(self) -> int:
        """What a right calendar says."""
        return UNIX_EPOCH + int(self.timeline.now)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Lets time pass; true as soon as `until()` holds."""
        return self.timeline.run(seconds, until)

    def replace_server(self, state: GameState | None = None) -> None:
        """The server's process dies without a word; another is there, and not started yet."""
        self.server.die()
        stopped_at = min(self.server.stopped_at, self.now)
        self.server = self._new_server(state)
        self.server.stopped_at = stopped_at  # what it said last may still be under way

    def add_client(
        self,
        *,
        key: bytes | None = None,
        token: bytes | None = None,
        config: Config | None = None,
        port: int = 0,
        host: str | None = None,
        wall_offset_s: float = 0.0,
    ) -> VirtualClient:
        """A client that begins to connect; on a line of its own, unless it shares a known `host`."""
        self._client_count += 1
        client = VirtualClient(
            self,
            self._client_count,
            config=config or self.config,
            key=self.key if key is None else key,
            port=port,
            host=host,
        )
        client.wall_offset_s = wall_offset_s
        if client.host not in self.network.lines:
            self.network.add_line(client.host, self.line_options)
        self.clients.append(client)
        client.connect([SERVER_ADDRESS], token)
        return client

    def line_of(self, client: VirtualClient) -> Line:
        """A client's line."""
        return self.network.lines[client.host]

    def peer_of(self, client: VirtualClient) -> ServerPeer | None:
        """The server's side of a client's session, if it knows it."""
        return self.server.core.sessions.get(client.core.session_id)

    def new_port(self) -> int:
        """A port that nobody had."""
        self._next_port += 1
        return self._next_port

    def _new_server(self, state: GameState | None) -> VirtualServer:
        return VirtualServer(self, config=self.config, key=self.key, address=SERVER_ADDRESS, state=state)
