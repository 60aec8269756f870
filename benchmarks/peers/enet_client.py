"""One client of ENet, by pyenet."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

import enet
import msgpack

from benchmarks.peers import game
from benchmarks.peers.single import LIMIT_S, LINE_HZ, REST_S, STALENESS_STEP_S, main

CHANNELS = 2
STATE_CHANNEL = 0
FLIGHT_BYTES = 32 * 1024
EVENT = msgpack.packb(["E", [bytes(32)], {}])
_stamp = struct.Struct(">Q").unpack_from


class Player:
    """A connected peer; everything happens while it is served."""

    def __init__(self, port: int) -> None:
        self._host = enet.Host(None, 1, CHANNELS, 0, 0)
        self.peer = self._host.connect(enet.Address(b"127.0.0.1", port), CHANNELS)
        self.stamp = 0
        self._answers = 0
        self._wait(lambda: self.stamp > 0)

    def send(self, data: bytes) -> None:
        self.peer.send(1, enet.Packet(data, enet.PACKET_FLAG_RELIABLE))

    def round_trip_ms(self, number: int) -> float:
        answers = self._answers
        begun = time.perf_counter()
        self.send(msgpack.packb(["ECHO", [number], {}]))
        self._host.flush()
        self._wait(lambda: self._answers > answers)
        took_ms = (time.perf_counter() - begun) * 1000
        self.stay(REST_S)
        return took_ms

    def flood(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(64):
                if self.peer.reliableDataInTransit >= FLIGHT_BYTES:
                    break
                for _ in range(32):
                    self.send(EVENT)
                self._host.flush()
            self._serve(0)

    def line(self, count: int) -> list[float]:
        staleness: list[float] = []
        begun = time.monotonic()
        for number in range(count):
            self.send(msgpack.packb(["LINE", [number, game.stamp_us()], {}]))
            self._host.flush()
            while time.monotonic() < begun + (number + 1) / LINE_HZ:
                self.stay(STALENESS_STEP_S)
                staleness.append((game.stamp_us() - self.stamp) / 1000)
        return staleness

    def stay(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._serve(1)

    def _serve(self, wait_ms: int) -> None:
        event = self._host.service(wait_ms)
        while event.type != enet.EVENT_TYPE_NONE:
            if event.type == enet.EVENT_TYPE_RECEIVE:
                data = event.packet.data
                if event.channelID == STATE_CHANNEL:
                    self.stamp = max(self.stamp, _stamp(data, len(data) - 8)[0])
                else:
                    self._answers += 1
            event = self._host.service(0)

    def _wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT_S
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("the server does not answer")
            self._serve(1)


if __name__ == "__main__":
    main(Player)
