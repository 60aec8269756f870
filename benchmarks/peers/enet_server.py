"""The game on ENet, by pyenet: no state sync, so the changes of a tick are packed once and sent to each."""

from __future__ import annotations

import argparse
import threading
import time
from typing import Any

import enet
import msgpack

from benchmarks.peers import game

CHANNELS = 2
MAX_PEERS = 4000
SERVICE_MS = 1


class World:
    def __init__(self, port: int) -> None:
        self._referee = game.Referee()
        self._host = enet.Host(enet.Address(b"127.0.0.1", port), MAX_PEERS, CHANNELS, 0, 0)
        self._peers: dict[int, Any] = {}
        self._tick = 0
        self.port: int = self._host.address.port

    def run(self) -> None:
        self._referee.ready(self.port)
        threading.Thread(target=self._referee.serve, daemon=True).start()
        next_at = time.monotonic()
        while True:
            event = self._host.service(SERVICE_MS)
            while event.type != enet.EVENT_TYPE_NONE:
                self._take(event)
                event = self._host.service(0)
            if time.monotonic() >= next_at:
                next_at += 1 / game.HZ
                self._play()

    def _play(self) -> None:
        self._tick += 1
        data = msgpack.packb({"entities": game.moved(self._tick), "stamp": game.stamp_us()})
        for peer in self._peers.values():
            peer.send(0, enet.Packet(data, 0))
        self._host.flush()

    def _take(self, event: Any) -> None:
        peer = event.peer
        number = peer.incomingPeerID
        if event.type == enet.EVENT_TYPE_CONNECT:
            self._peers[number] = peer
        elif event.type == enet.EVENT_TYPE_DISCONNECT:
            self._peers.pop(number, None)
        elif event.type == enet.EVENT_TYPE_RECEIVE:
            data = event.packet.data
            event_type, arguments, _ = msgpack.unpackb(data)
            if event_type in ("INPUT", "E"):
                self._referee.inputs[number] += 1
            elif event_type == "LINE":
                self._referee.line(*arguments)
            elif event_type == "ECHO":
                peer.send(1, enet.Packet(data, enet.PACKET_FLAG_RELIABLE))
                self._host.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    World(parser.parse_args().port).run()


if __name__ == "__main__":
    main()
