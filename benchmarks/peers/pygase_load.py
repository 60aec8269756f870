"""Many clients of a PyGaSe server in one process, by its wire.

Its own client is a thread with an event loop each, which would be the bottleneck long before the server.
Here a client's packet is put together by hand as the library does it: header, newest time order, one event.
"""

from __future__ import annotations

import struct
from typing import Any

import umsgpack

from benchmarks.peers import game, load

PROTOCOL = bytes.fromhex("ffd0fab9")
ACK_BITS = 32
_header = struct.Struct(">4sHHI")
_u16 = struct.Struct(">H")


class Client(load.Client):
    """What it knows of the server: the newest sequence, the 32 before it, the newest state."""

    _sequence = 0
    _received = 0
    _ack_bits = 0
    _time_order = 0

    def hello(self) -> bytes:
        return self._packet(b"")

    def input(self, number: int) -> bytes:
        event = umsgpack.packb(
            {
                "type": "INPUT",
                "handler_args": [number | 1 << 24, number % 3, number % 5],
                "handler_kwargs": {},
            }
        )
        return self._packet(_u16.pack(len(event)) + event)

    def receive(self, data: bytes) -> None:
        protocol, sequence, _, _ = _header.unpack_from(data)
        if protocol != PROTOCOL:
            return
        self.is_connected = True
        self._acknowledge(sequence)
        (size,) = _u16.unpack_from(data, _header.size)
        start = _header.size + 2
        update: dict[str, Any] = umsgpack.unpackb(data[start : start + size])
        time_order = update.get("time_order", 0)
        if (
            "stamp" in update
            and (time_order - self._time_order) % 65536 < 32768
            and time_order != self._time_order
        ):
            self._time_order = time_order
            self.states += 1
            self.stamp = update["stamp"]

    def _packet(self, rest: bytes) -> bytes:
        self._sequence = self._sequence % 65535 + 1
        head = _header.pack(PROTOCOL, self._sequence, self._received, self._ack_bits)
        return head + _u16.pack(self._time_order) + rest

    def _acknowledge(self, sequence: int) -> None:
        shift = sequence - self._received
        if shift < -32768:
            shift += 65535
        if shift > 0:
            bits = self._ack_bits >> shift | (
                1 << ACK_BITS - shift if shift <= ACK_BITS and self._received else 0
            )
            self._ack_bits = bits & 0xFFFF_FFFF
            self._received = sequence
        elif -ACK_BITS <= shift < 0:
            self._ack_bits |= 1 << ACK_BITS + shift


if __name__ == "__main__":
    load.main(Client, game.HZ)
