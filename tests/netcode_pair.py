"""A netcode server and its clients, with datagrams carried by hand and time as a variable."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from pygase_gevent.config import Config
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.netcode import (
    ClientState,
    ConnectToken,
    NetcodeClient,
    NetcodePeer,
    NetcodeServer,
    PeerEvent,
    generate_connect_token,
)
from pygase_gevent.protocol.netcode.crypto import packet_associated_data
from pygase_gevent.protocol.netcode.packet import write_request
from pygase_gevent.protocol.netcode.sealing import PacketCipher

PROTOCOL_ID = 0x1122334455667788
PRIVATE_KEY = bytes(range(32))
SERVER = ("192.0.2.1", 4000)
UNIX_TIME = 1_700_000_000

Datagram = tuple[bytes, Address]


def client_address(number: int) -> Address:
    return (f"198.51.{number // 250}.{number % 250 + 1}", 50_000 + number)


class Wire:
    """One server and any number of clients.

    Attributes:
        now: the time, which only the test moves.
        lost: asked for each datagram whether it is lost: `lost(data, sender, receiver)`.
        sent: all datagrams so far, lost or not: data, sender, receiver.
        received: payloads that the server accepted: peer, sequence, payload.
    """

    def __init__(self, config: Config | None = None, *, seed: int = 1, **server_options: Any) -> None:
        self.config = config or Config()
        self.now = 1000.0
        self.unix_time = UNIX_TIME
        self.entropy = random.Random(seed).randbytes
        self.lost: Callable[[bytes, Address, Address], bool] = lambda data, sender, receiver: False
        self.clients: dict[Address, NetcodeClient] = {}
        self.sent: list[tuple[bytes, Address, Address]] = []
        self.received: list[tuple[NetcodePeer, int, bytes]] = []
        self.client_received: list[tuple[Address, int, bytes]] = []
        self.events: list[PeerEvent] = []
        self.server = NetcodeServer(
            **{
                "protocol_id": PROTOCOL_ID,
                "private_key": PRIVATE_KEY,
                "config": self.config,
                "entropy": self.entropy,
                **server_options,
            }
        )
        self.server.start(self.now)

    def token(self, client_id: int = 1, **options: Any) -> ConnectToken:
        return generate_connect_token(
            **{
                "private_key": PRIVATE_KEY,
                "protocol_id": PROTOCOL_ID,
                "client_id": client_id,
                "server_addresses": [SERVER],
                "user_data": b"user %d" % client_id,
                "unix_time": self.unix_time,
                "expire_seconds": 30,
                "timeout_seconds": 5,
                "entropy": self.entropy,
                **options,
            }
        )

    def client(self, token: ConnectToken | None = None, number: int = 1, **options: Any) -> NetcodeClient:
        """A new client at `client_address(number)`, in place of any that was there."""
        token = token if token is not None else self.token(client_id=number)
        client = NetcodeClient(token, config=self.config, now=self.now, **options)
        self.clients[client_address(number)] = client
        return client

    def connected(self, number: int = 1, **token_options: Any) -> tuple[NetcodeClient, NetcodePeer]:
        client = self.client(self.token(client_id=number, **token_options), number)
        self.carry()
        assert client.state is ClientState.CONNECTED
        return client, self.server.peers[client_address(number)]

    def carry(self) -> None:
        """Carries datagrams to and fro until nobody has any more to send."""
        while self._carry_once():
            pass
        while (event := self.server.next_event()) is not None:
            self.events.append(event)

    def run(self, seconds: float, step: float = 0.05) -> None:
        """Lets time pass, with timers served and datagrams carried."""
        for _ in range(round(seconds / step)):
            self.now += step
            self.server.handle_timer(self.now)
            for client in self.clients.values():
                client.handle_timer(self.now)
            self.carry()

    def to_server(self, data: bytes, sender: Address) -> tuple[NetcodePeer, int, bytes] | None:
        peer = self.server.receive_datagram(data, sender, self.now, self.unix_time)
        return None if peer is None else (peer, self.server.sequence, self.server.payload)

    def _carry_once(self) -> bool:
        carried = False
        for address, client in list(self.clients.items()):
            for data, receiver in client.datagrams_to_send():
                carried = True
                if self._is_carried(data, address, receiver) and receiver == SERVER:
                    received = self.to_server(data, address)
                    if received is not None:
                        self.received.append(received)
        for data, receiver in self.server.datagrams_to_send():
            carried = True
            if self._is_carried(data, SERVER, receiver) and receiver in self.clients:
                accepted = self.clients[receiver].receive_datagram(data, SERVER, self.now)
                if accepted is not None:
                    self.client_received.append((receiver, *accepted))
        return carried

    def _is_carried(self, data: bytes, sender: Address, receiver: Address) -> bool:
        self.sent.append((data, sender, receiver))
        return not self.lost(data, sender, receiver)


def request_of(token: ConnectToken) -> bytes:
    return write_request(
        protocol_id=token.protocol_id,
        expire_timestamp=token.expire_timestamp,
        nonce=token.nonce,
        private_data=token.private_data,
    )


def ask(wire: Wire, token: ConnectToken, address: Address | None = None) -> list[int]:
    """Sends a request; gives the types of the packets that answer."""
    address = address or client_address(1)
    assert wire.to_server(request_of(token), address) is None
    answers = wire.server.datagrams_to_send()
    assert all(receiver == address for _, receiver in answers)
    return [packet_type(data) for data, _ in answers]


def dropped(wire: Wire) -> dict[str, int]:
    drops = dict(wire.server.drops)
    wire.server.drops.clear()
    return drops


def cipher_of(token: ConnectToken) -> PacketCipher:
    """The cipher of the client that has the token."""
    return PacketCipher(token.client_to_server_key, packet_associated_data(PROTOCOL_ID))


def packet_type(data: bytes) -> int:
    return data[0] & 15


def sequence_of(data: bytes) -> int:
    return int.from_bytes(data[1 : 1 + (data[0] >> 4)], "little")
