"""The client's side of netcode 1.02, without I/O (STANDARD.md, Client State Machine).

::

    SENDING_CONNECTION_REQUEST --challenge--> SENDING_CONNECTION_RESPONSE --keep-alive--> CONNECTED
          |  denied, or silence                   |  denied, or silence                      |
          +---------------------------------------+-> the next address: a request again      |
          |  no address left                                                                 |
          v                                                                                  v
    CONNECTION_DENIED, CONNECTION_REQUEST_TIMED_OUT,                  DISCONNECTED, CONNECTION_TIMED_OUT
    CONNECTION_RESPONSE_TIMED_OUT

`CONNECT_TOKEN_EXPIRED` ends a handshake whose token ran out under way, over all addresses;
`INVALID_CONNECT_TOKEN` is where a client with an unusable token starts and stays.

Beyond the standard: a response that stays without an answer is accompanied by the request, and a later
challenge takes the place of the first. A server that knows nothing of the first one answers the request,
any other server answers the response.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from math import inf
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, DecodeError, NotRunningError
from pygase_gevent.protocol.address import Address, OpaqueAddress, check_address
from pygase_gevent.protocol.netcode.crypto import packet_associated_data
from pygase_gevent.protocol.netcode.packet import (
    MAX_PAYLOAD_BYTES,
    DropReason,
    PacketType,
    accepted_types,
    read_keep_alive,
    write_keep_alive,
    write_request,
)
from pygase_gevent.protocol.netcode.sealing import PacketCipher, ReplayWindow, read_packet, write_packet
from pygase_gevent.protocol.netcode.token import MAX_SERVER_ADDRESSES, NEVER_EXPIRES, ConnectToken


class ClientState(IntEnum):
    """The standard's states and numbers: errors are negative, the goal is `CONNECTED`."""

    CONNECT_TOKEN_EXPIRED = -6
    INVALID_CONNECT_TOKEN = -5
    CONNECTION_TIMED_OUT = -4
    CONNECTION_RESPONSE_TIMED_OUT = -3
    CONNECTION_REQUEST_TIMED_OUT = -2
    CONNECTION_DENIED = -1
    DISCONNECTED = 0
    SENDING_CONNECTION_REQUEST = 1
    SENDING_CONNECTION_RESPONSE = 2
    CONNECTED = 3


_ACCEPTED: Final = accepted_types(
    PacketType.DENIED,
    PacketType.CHALLENGE,
    PacketType.KEEP_ALIVE,
    PacketType.PAYLOAD,
    PacketType.DISCONNECT,
)
_PAYLOAD: Final = int(PacketType.PAYLOAD)
_read_packet: Final = read_packet  # compiled, a module's name is looked up each time, unless it is final
_write_packet: Final = write_packet
_KEEP_ALIVE_BODY: Final = write_keep_alive(0, 0)
"""The server reads nothing from a client's keep-alive."""


class NetcodeClient:
    """Connects to the servers of a connect token in turn, and exchanges encrypted payloads.

    A token serves one client object, and an address (of a socket) one token at a time. The first
    request is ready to be sent when the object is made.

    Args:
        token: a token, or the bytes of one: if they are none, the state says so.
        config: the limits.
        now: monotonic seconds.
        addresses: dialed instead of the token's.
        first_sequence: where to count from. A second attempt with the same token must go on at the
            `next_sequence` of the first, since no key may see a sequence twice.

    Attributes:
        state: the `ClientState`.
        client_index: this client's slot on the server, once connected.
        max_clients: the server's slots, once connected.
        last_receive_time: of a packet that moved the handshake on, then of a payload or keep-alive.
        keepalive_interval_s: silence after which a keep-alive is sent while connected. May be set; a
            floor above that has its own keep-alives sets it to infinity.
        drops: how many datagrams were dropped, by `DropReason`.
    """

    def __init__(
        self,
        token: ConnectToken | bytes,
        *,
        config: Config,
        now: float,
        addresses: Sequence[Address] | None = None,
        first_sequence: int = 0,
    ) -> None:
        self.state = ClientState.DISCONNECTED
        self.client_index: int | None = None
        self.max_clients: int | None = None
        self.keepalive_interval_s = 1 / config.netcode_keepalive_hz
        self.drops: Counter[str] = Counter()
        self._config = config
        self._sequence = first_sequence
        self._replay = ReplayWindow(config.replay_window)
        self._response_body = b""
        self.last_receive_time = self._last_send_time = now
        self._addresses: tuple[OpaqueAddress, ...] = ()
        self._address_index = 0
        self._outgoing: list[tuple[bytes, OpaqueAddress]] = []
        valid_token = _valid_token(token)
        if valid_token is None:
            self.state = ClientState.INVALID_CONNECT_TOKEN
            return
        dialed = valid_token.server_addresses if addresses is None else addresses
        if not dialed:
            raise ArgumentError("there must be at least one server address to dial")
        self._addresses = tuple(check_address(address) for address in dialed)
        self._token = valid_token
        associated_data = packet_associated_data(valid_token.protocol_id)
        self._send_cipher = PacketCipher(valid_token.client_to_server_key, associated_data)
        self._receive_cipher = PacketCipher(valid_token.server_to_client_key, associated_data)
        self._timeout_s = float(valid_token.timeout_seconds) if valid_token.timeout_seconds > 0 else inf
        self._expire_time = inf
        if valid_token.expire_timestamp != NEVER_EXPIRES:
            # The token's own span, so that this machine's calendar need not be right.
            self._expire_time = now + valid_token.expire_timestamp - valid_token.create_timestamp
        self._request(now)

    @property
    def server_address(self) -> Address | None:
        """The server that is dialed or connected to; None where the token was invalid."""
        return self._addresses[self._address_index] if self._addresses else None

    @property
    def next_sequence(self) -> int:
        """The sequence of the next packet to the server."""
        return self._sequence

    def receive_datagram(self, data: bytes, address: OpaqueAddress, now: float) -> tuple[int, bytes] | None:
        """Takes a datagram, whatever it holds.

        Returns:
            Sequence and payload of an accepted payload packet; None for anything else.
        """
        state = self.state
        if state <= ClientState.DISCONNECTED:
            self.drops[DropReason.NOT_RUNNING] += 1
            return None
        if address != self._addresses[self._address_index]:
            self.drops[DropReason.UNKNOWN_ADDRESS] += 1
            return None
        packet = _read_packet(data, self._receive_cipher, _ACCEPTED, self._replay)
        if isinstance(packet, str):
            self.drops[packet] += 1
            return None
        packet_type, sequence, body = packet
        if state == ClientState.CONNECTED:
            if packet_type == _PAYLOAD:
                self.last_receive_time = now
                return sequence, body
            if packet_type == PacketType.KEEP_ALIVE:
                self.last_receive_time = now
                return None
            if packet_type == PacketType.DISCONNECT:
                self.state = ClientState.DISCONNECTED
                return None
        elif self._receive_handshake(state, packet_type, body, now):
            return None
        self.drops[DropReason.UNEXPECTED_TYPE] += 1
        return None

    def send_payload(self, payload: bytes, now: float) -> int:
        """Sends 1 to 1200 bytes to the server.

        Returns:
            The sequence of the packet.

        Raises:
            ArgumentError: the payload is empty or too large.
            NotRunningError: not connected.
        """
        if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
            raise ArgumentError(f"a payload has 1 to {MAX_PAYLOAD_BYTES} bytes, not {len(payload)}")
        if self.state != ClientState.CONNECTED:
            raise NotRunningError("the netcode client is not connected")
        return self._send(_PAYLOAD, payload, now)

    def disconnect(self, now: float) -> None:
        """Ends the connection, or the attempt, and lets the server know."""
        if self.state <= ClientState.DISCONNECTED:
            return
        for _ in range(self._config.disconnect_packets):
            self._send(PacketType.DISCONNECT, b"", now)
        self.state = ClientState.DISCONNECTED

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """What is to be sent, and where to; the caller takes it over."""
        outgoing = self._outgoing
        if outgoing:
            self._outgoing = []
        return outgoing

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called, if at all."""
        if self.state <= ClientState.DISCONNECTED:
            return None
        deadline = min(self._next_send_time(), self._timeout_time())
        if self.state != ClientState.CONNECTED:
            deadline = min(deadline, self._expire_time)
        return deadline if deadline != inf else None

    def handle_timer(self, now: float) -> None:
        """Sends what is due again, and ends what had no answer."""
        state = self.state
        if state <= ClientState.DISCONNECTED:
            return
        if state == ClientState.CONNECTED:
            if now >= self._timeout_time():
                self.state = ClientState.CONNECTION_TIMED_OUT
            elif now >= self._next_send_time():
                self._send(PacketType.KEEP_ALIVE, _KEEP_ALIVE_BODY, now)
        elif now >= self._expire_time:
            self.state = ClientState.CONNECT_TOKEN_EXPIRED
        elif now >= self._timeout_time():
            if state == ClientState.SENDING_CONNECTION_REQUEST:
                self._fail_address(ClientState.CONNECTION_REQUEST_TIMED_OUT, now)
            else:
                self._fail_address(ClientState.CONNECTION_RESPONSE_TIMED_OUT, now)
        elif now >= self._next_send_time():
            if state == ClientState.SENDING_CONNECTION_REQUEST:
                self._send_request(now)
            else:
                self._send(PacketType.RESPONSE, self._response_body, now)
                if now >= self.last_receive_time + self._config.challenge_renewal_s:
                    self._send_request(now)

    def _receive_handshake(self, state: ClientState, packet_type: int, body: bytes, now: float) -> bool:
        """Takes a packet while not connected yet; False where it means nothing in this state."""
        if packet_type == PacketType.DENIED:
            self._fail_address(ClientState.CONNECTION_DENIED, now)
            return True
        if packet_type == PacketType.CHALLENGE:
            if state == ClientState.SENDING_CONNECTION_REQUEST:
                self.state = ClientState.SENDING_CONNECTION_RESPONSE
                self.last_receive_time = now
            elif body == self._response_body:
                return True
            self._response_body = body
            self._send(PacketType.RESPONSE, body, now)
            return True
        if state == ClientState.SENDING_CONNECTION_RESPONSE and packet_type == PacketType.KEEP_ALIVE:
            self.state = ClientState.CONNECTED
            self.last_receive_time = now
            self.client_index, self.max_clients = read_keep_alive(body)
            # At once, since until it comes the server puts a keep-alive before every payload.
            self._send(PacketType.KEEP_ALIVE, _KEEP_ALIVE_BODY, now)
            return True
        return False

    def _fail_address(self, error: ClientState, now: float) -> None:
        """Goes on to the next address, or where there is none left to the error."""
        if self._address_index + 1 < len(self._addresses):
            self._address_index += 1
            self._request(now)
        else:
            self.state = error

    def _request(self, now: float) -> None:
        """Starts over with an address. Sequences go on: the key is the same for all addresses."""
        self.state = ClientState.SENDING_CONNECTION_REQUEST
        self.last_receive_time = now
        self._replay = ReplayWindow(self._config.replay_window)
        self._response_body = b""
        self._send_request(now)

    def _timeout_time(self) -> float:
        return self.last_receive_time + self._timeout_s

    def _next_send_time(self) -> float:
        if self.state == ClientState.CONNECTED:
            return self._last_send_time + self.keepalive_interval_s
        return self._last_send_time + 1 / self._config.handshake_rate_hz

    def _send_request(self, now: float) -> None:
        token = self._token
        request = write_request(
            protocol_id=token.protocol_id,
            expire_timestamp=token.expire_timestamp,
            nonce=token.nonce,
            private_data=token.private_data,
        )
        self._last_send_time = now
        self._outgoing.append((request, self._addresses[self._address_index]))

    def _send(self, packet_type: int, body: bytes, now: float) -> int:
        sequence = self._sequence
        self._sequence = sequence + 1
        self._last_send_time = now
        packet = _write_packet(packet_type, sequence, body, self._send_cipher)
        self._outgoing.append((packet, self._addresses[self._address_index]))
        return sequence


def _valid_token(token: ConnectToken | bytes) -> ConnectToken | None:
    if isinstance(token, bytes):
        try:
            return ConnectToken.from_bytes(token)
        except DecodeError:
            return None
    is_valid = (
        1 <= len(token.server_addresses) <= MAX_SERVER_ADDRESSES
        and token.create_timestamp <= token.expire_timestamp
    )
    return token if is_valid else None
