"""The server's side of netcode 1.02, without I/O (STANDARD.md, Server-Side Connection Process)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, DecodeError, NotRunningError
from pygase_gevent.protocol.address import Address, OpaqueAddress, check_address
from pygase_gevent.protocol.netcode.crypto import (
    KEY_BYTES,
    VERSION_INFO,
    ChallengeCipher,
    packet_associated_data,
)
from pygase_gevent.protocol.netcode.half_open import HalfOpen, HalfOpenTable
from pygase_gevent.protocol.netcode.limits import HandshakeLimits
from pygase_gevent.protocol.netcode.packet import (
    MAX_PAYLOAD_BYTES,
    DropReason,
    PacketType,
    accepted_types,
    read_challenge,
    read_request,
    write_challenge,
    write_keep_alive,
)
from pygase_gevent.protocol.netcode.peer import (
    NetcodePeer,
    PeerConnected,
    PeerDisconnected,
    PeerDisconnectReason,
    PeerEvent,
)
from pygase_gevent.protocol.netcode.sealing import PacketCipher, read_packet, write_packet
from pygase_gevent.protocol.netcode.token import PrivateToken, read_challenge_token, write_challenge_token
from pygase_gevent.protocol.netcode.used_tokens import UsedTokens

FIRST_GLOBAL_SEQUENCE: Final = 2**63
"""Packets sent before a client has its slot are sealed with the same key as those after it, which
count from zero. So they count in the upper half of the sequences, from here on, also over restarts."""
GLOBAL_SEQUENCE_RANDOM_BYTES: Final = 7
"""How much of the first one is random: a token may be shown to one process after another, and the second
must not begin where the first did."""

_FROM_PEER: Final = accepted_types(
    PacketType.RESPONSE, PacketType.KEEP_ALIVE, PacketType.PAYLOAD, PacketType.DISCONNECT
)
_FROM_HALF_OPEN: Final = accepted_types(PacketType.RESPONSE)
_RESPONSE: Final = int(PacketType.RESPONSE)
_KEEP_ALIVE: Final = int(PacketType.KEEP_ALIVE)
_PAYLOAD: Final = int(PacketType.PAYLOAD)
_read_packet: Final = read_packet  # compiled, a module's name is looked up each time, unless it is final
_write_packet: Final = write_packet


class NetcodeServer:
    """Lets clients with valid connect tokens in, and exchanges encrypted payloads with them.

    Args:
        protocol_id: 64 bits, the application.
        private_key: 32 bytes, shared with whoever makes the tokens.
        config: the limits.
        entropy: gives that many random bytes.
        public_addresses: where given, a token must name one of them.
        admits: whether a client has room, asked at its request and again at its response; by default
            while fewer than `Config.max_clients` are connected.
        may_move: whether a token whose handshake is not done yet may go on from another address. The
            standard lets none; by default neither does this.

    Attributes:
        peers: the connected clients, by address.
        sequence, payload: of the payload packet that was received last.
        drops: how many datagrams were dropped, by `DropReason`.
    """

    def __init__(
        self,
        *,
        protocol_id: int,
        private_key: bytes,
        config: Config,
        entropy: Callable[[int], bytes],
        public_addresses: Sequence[Address] = (),
        admits: Callable[[PrivateToken], bool] | None = None,
        may_move: Callable[[PrivateToken], bool] | None = None,
    ) -> None:
        if len(private_key) != KEY_BYTES:
            raise ArgumentError(f"the private key must have {KEY_BYTES} bytes, not {len(private_key)}")
        self.peers: dict[Address, NetcodePeer] = {}
        self.drops: Counter[str] = Counter()
        self.sequence = 0
        self.payload = b""
        self._protocol_id = protocol_id
        self._private_key = private_key
        self._config = config
        self._entropy = entropy
        self._public_addresses = frozenset(check_address(address) for address in public_addresses)
        self._admits = admits if admits is not None else self._has_free_slot
        self._may_move = may_move if may_move is not None else _never
        self._associated_data = packet_associated_data(protocol_id)
        self._is_running = False
        self._is_stopping = False
        self._peers_by_client_id: dict[int, NetcodePeer] = {}
        self._half_open = HalfOpenTable(config, self._associated_data)
        self._used_tokens = UsedTokens(config)
        # Never anew: a token of a handshake under way is good over a restart, and no key sees one twice.
        self._global_sequence = FIRST_GLOBAL_SEQUENCE + int.from_bytes(
            entropy(GLOBAL_SEQUENCE_RANDOM_BYTES), "little"
        )
        self._events: deque[PeerEvent] = deque()
        self._outgoing: list[tuple[bytes, OpaqueAddress]] = []

    @property
    def has_events(self) -> bool:
        """Whether `next_event` has something."""
        return bool(self._events)

    def start(self, now: float) -> None:
        """Starts, or starts again: no client is connected, and handshakes under way begin anew."""
        self.stop()
        self._challenge_cipher = ChallengeCipher(self._entropy(KEY_BYTES))
        self._challenge_sequence = 0
        self._limits = HandshakeLimits(self._config, now)
        self._free_indices: list[int] = []
        self._next_sweep = now
        self._is_running = True
        self._is_stopping = False

    def stop_handshakes(self) -> None:
        """Takes no handshakes until the next start: one begun now would spend its token in vain."""
        self._is_stopping = True

    def stop(self) -> None:
        """Forgets all clients and handshakes, without events and without telling them."""
        self._is_running = False
        for peer in self.peers.values():
            peer.is_connected = False
        self.peers.clear()
        self._peers_by_client_id.clear()
        self._half_open.clear()
        self._events.clear()

    def forget_keys(self) -> None:
        """Lets go of every key; it cannot be started again."""
        self.stop()
        self._private_key = b""
        self._challenge_cipher = ChallengeCipher(bytes(KEY_BYTES))

    def receive_datagram(
        self, data: bytes, address: OpaqueAddress, now: float, unix_time: int
    ) -> NetcodePeer | None:
        """Takes a datagram, whatever it holds.

        Returns:
            Who sent it, if it is an accepted payload: `sequence` and `payload` are of it then. None for
            anything else.
        """
        peer = self.peers.get(address)
        if peer is None or not data or data[0] == 0:
            reason = self._receive_handshake(data, address, now, unix_time)
            if reason is not None:
                self.drops[reason] += 1
            return None
        packet = _read_packet(data, peer.receive_cipher, _FROM_PEER, peer.replay)
        if isinstance(packet, str):
            self.drops[packet] += 1
            return None
        packet_type, sequence, body = packet
        if packet_type == _PAYLOAD:
            peer.last_receive_time = now
            peer.is_confirmed = True
            if peer.is_within_limits(len(data), now):
                self.sequence, self.payload = sequence, body
                return peer
            self.drops[DropReason.PEER_LIMIT] += 1
        elif packet_type == _KEEP_ALIVE:
            peer.last_receive_time = now
            peer.is_confirmed = True
        elif packet_type == _RESPONSE:
            self.drops[DropReason.ALREADY_CONNECTED] += 1
        else:
            self._remove(peer, PeerDisconnectReason.GOODBYE)
        return None

    def send_payload(self, peer: NetcodePeer, payload: bytes, now: float) -> int:
        """Sends 1 to 1200 bytes to a connected client.

        Returns:
            The sequence of the packet.

        Raises:
            ArgumentError: the payload is empty or too large.
            NotRunningError: the client is not connected any more.
        """
        if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
            raise ArgumentError(f"a payload has 1 to {MAX_PAYLOAD_BYTES} bytes, not {len(payload)}")
        if not peer.is_connected:
            raise NotRunningError(f"{peer!r} is not connected any more")
        if not peer.is_confirmed:
            self._send_keep_alive(peer, now)
        return self._send(peer, _PAYLOAD, payload, now)

    def disconnect(self, peer: NetcodePeer, now: float, *, notify: bool = True) -> None:
        """Frees a client's slot, and unless told otherwise lets the client know."""
        if not peer.is_connected:
            return
        if notify:
            for _ in range(self._config.disconnect_packets):
                self._send(peer, PacketType.DISCONNECT, b"", now)
        self._remove(peer, PeerDisconnectReason.LOCAL)

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """What is to be sent, and where to; the caller takes it over."""
        outgoing = self._outgoing
        if outgoing:
            self._outgoing = []
        return outgoing

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called, if at all."""
        return self._next_sweep if self.peers or len(self._half_open) else None

    def handle_timer(self, now: float) -> None:
        """Sends keep-alives, and ends silent connections and handshakes."""
        if not self._is_running or now < self._next_sweep:
            return
        self._next_sweep = now + self._config.netcode_timer_step_s
        unconfirmed_interval_s = 1 / self._config.netcode_keepalive_hz
        silent = []
        for peer in self.peers.values():
            if now - peer.last_receive_time >= peer.timeout_s:
                silent.append(peer)
                continue
            interval_s = peer.keepalive_interval_s if peer.is_confirmed else unconfirmed_interval_s
            if now - peer.last_send_time >= interval_s:
                self._send_keep_alive(peer, now)
        for peer in silent:
            self._remove(peer, PeerDisconnectReason.TIMED_OUT)
        self._half_open.remove_expired(now)

    def next_event(self) -> PeerEvent | None:
        """The next client that connected or disconnected, in order."""
        return self._events.popleft() if self._events else None

    def _receive_handshake(self, data: bytes, address: Address, now: float, unix_time: int) -> str | None:
        """Takes a request, or any packet from an address that has no slot; gives the `DropReason`."""
        if not self._is_running:
            return DropReason.NOT_RUNNING
        if self._is_stopping:
            return DropReason.STOPPING
        if not data:
            return DropReason.TOO_SHORT
        if data[0] == 0:
            return self._receive_request(data, address, now, unix_time)
        handshake = self._half_open.get(address, now)
        if handshake is None:
            return DropReason.UNKNOWN_ADDRESS
        packet = _read_packet(data, handshake.receive_cipher, _FROM_HALF_OPEN, None)
        if isinstance(packet, str):
            return packet
        return self._receive_response(packet[2], address, handshake, now)

    def _receive_request(self, data: bytes, address: Address, now: float, unix_time: int) -> str | None:
        """STANDARD.md, Processing Connection Requests: the steps in its order, plus our limits."""
        request = read_request(data)
        if request is None:
            return DropReason.WRONG_SIZE
        if request.version_info != VERSION_INFO:
            return DropReason.WRONG_VERSION
        if request.protocol_id != self._protocol_id:
            return DropReason.WRONG_PROTOCOL
        if request.expire_timestamp <= unix_time:
            return DropReason.TOKEN_EXPIRED
        # All before this costs next to nothing, and the next step is the dear one.
        refusal = self._limits.refusal(address[0], now)
        if refusal is not None:
            return refusal
        try:
            token = PrivateToken.open(
                request.private_data,
                private_key=self._private_key,
                protocol_id=self._protocol_id,
                expire_timestamp=request.expire_timestamp,
                nonce=request.nonce,
            )
        except DecodeError:
            return DropReason.TOKEN_INVALID
        if token is None:
            return DropReason.TOKEN_NOT_AUTHENTIC
        if self._public_addresses and self._public_addresses.isdisjoint(token.server_addresses):
            return DropReason.TOKEN_FOR_OTHER_SERVER
        if address in self.peers or token.client_id in self._peers_by_client_id:
            return DropReason.ALREADY_CONNECTED
        refusal = self._used_tokens.refusal(token.mac, address, now, may_move=self._may_move(token))
        if refusal is not None:
            return refusal
        if not self._admits(token):
            send_cipher = PacketCipher(token.server_to_client_key, self._associated_data)
            self._send_global(PacketType.DENIED, b"", send_cipher, address)
            return DropReason.SERVER_FULL
        handshake = self._half_open.add(address, token, now)
        sequence = self._challenge_sequence
        self._challenge_sequence += 1
        handshake.add_challenge(sequence, now)
        challenge = self._challenge_cipher.seal(
            sequence, write_challenge_token(token.client_id, token.user_data)
        )
        self._send_global(
            PacketType.CHALLENGE, write_challenge(sequence, challenge), handshake.send_cipher, address
        )
        return None

    def _receive_response(self, body: bytes, address: Address, handshake: HalfOpen, now: float) -> str | None:
        """STANDARD.md, Processing Connection Response Packets: the steps in its order."""
        sequence, sealed = read_challenge(body)
        challenge = self._challenge_cipher.open(sequence, sealed)
        if challenge is None:
            return DropReason.NOT_AUTHENTIC
        if not handshake.is_challenge_fresh(sequence, now - self._config.challenge_lifetime_s):
            return DropReason.CHALLENGE_STALE
        client_id, _ = read_challenge_token(challenge)
        if client_id in self._peers_by_client_id:
            return DropReason.ALREADY_CONNECTED
        if self._used_tokens.is_spent(handshake.token.mac):  # from another address, where it moved
            return DropReason.TOKEN_USED
        if not self._admits(handshake.token):
            self._send_global(PacketType.DENIED, b"", handshake.send_cipher, address)
            return DropReason.SERVER_FULL
        peer = NetcodePeer(
            address=address,
            client_id=client_id,
            client_index=heappop(self._free_indices) if self._free_indices else len(self.peers),
            handshake=handshake,
            config=self._config,
            now=now,
        )
        self._half_open.remove(address)
        self._used_tokens.spend(handshake.token.mac, now)
        self.peers[address] = peer
        self._peers_by_client_id[client_id] = peer
        self._events.append(PeerConnected(peer, handshake.token))
        self._send_keep_alive(peer, now)
        return None

    def _has_free_slot(self, token: PrivateToken) -> bool:
        return len(self.peers) < self._config.max_clients

    def _remove(self, peer: NetcodePeer, reason: PeerDisconnectReason) -> None:
        peer.is_connected = False
        del self.peers[peer.address]
        del self._peers_by_client_id[peer.client_id]
        heappush(self._free_indices, peer.client_index)
        self._events.append(PeerDisconnected(peer, reason))

    def _send_keep_alive(self, peer: NetcodePeer, now: float) -> None:
        self._send(peer, _KEEP_ALIVE, write_keep_alive(peer.client_index, self._config.max_clients), now)

    def _send(self, peer: NetcodePeer, packet_type: int, body: bytes, now: float) -> int:
        sequence = peer.next_sequence
        peer.next_sequence = sequence + 1
        peer.last_send_time = now
        self._outgoing.append((_write_packet(packet_type, sequence, body, peer.send_cipher), peer.address))
        return sequence

    def _send_global(self, packet_type: int, body: bytes, cipher: PacketCipher, address: Address) -> None:
        self._outgoing.append((_write_packet(packet_type, self._global_sequence, body, cipher), address))
        self._global_sequence += 1


def _never(token: PrivateToken) -> bool:
    return False
