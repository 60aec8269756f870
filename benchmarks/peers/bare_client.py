"""The raw echo's other end, on gevent too."""

from __future__ import annotations

import socket
import time

import gevent
from gevent.socket import socket as gevent_socket

from benchmarks.peers import game
from benchmarks.peers.single import REST_S, arguments

SIZE_BYTES = 32


def main() -> None:
    options = arguments()
    opened = gevent_socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.connect(("127.0.0.1", options.port))
    times = []
    for _ in range(options.count):
        begun = time.perf_counter()
        opened.send(bytes(SIZE_BYTES))
        opened.recv(2048)
        times.append((time.perf_counter() - begun) * 1000)
        gevent.sleep(REST_S)
    game.say({"phase": "done", "round_trip_ms": game.percentiles(times)})


if __name__ == "__main__":
    main()
