"""Whom a stand-in's server knows, and to whom it sends: on top of a library's server made by hand."""

from __future__ import annotations

import logging
import threading

from native import switching_often

from pygase_gevent.legacy import GameStateStore, Server

LIMIT_S = 30.0
HOST = "127.0.0.1"


class Below:
    """What a stand-in's server needs of the library's: who is there, and what was sent to whom."""

    def __init__(self, addresses=()) -> None:
        self.connections = {address: object() for address in addresses}
        self.sent: list[object] = []

    def dispatch_event(self, event_type, *args, target_client, **kwargs) -> None:
        self.sent.append((event_type, target_client, "\0pygase:state" in kwargs))


def server_on(below: Below) -> Server:
    server = Server(GameStateStore())
    server.underlying = below  # type: ignore[assignment]
    return server


def test_an_event_to_all_goes_to_those_who_are_there(caplog) -> None:
    below = Below([(HOST, 1), (HOST, 2), (HOST, 3)])
    server = server_on(below)
    assert len(server.connections) == 3
    below.connections = {(HOST, 3): below.connections[HOST, 3], (HOST, 4): object()}
    with caplog.at_level(logging.WARNING):
        server.dispatch_event("X")
    assert [address for _, address, _ in below.sent] == [(HOST, 3), (HOST, 4)]
    assert list(server.connections) == [(HOST, number) for number in (1, 2, 3, 4)]
    assert not caplog.records


def test_a_native_client_at_the_address_of_one_of_the_stand_in() -> None:
    below = Below([(HOST, 1)])
    server = server_on(below)
    server._on_hello((HOST, 1))
    server.dispatch_event("X")
    below.connections = {(HOST, 1): object()}
    server.dispatch_event("Y")
    server._on_hello((HOST, 1))
    server.dispatch_event("Z")
    assert below.sent == [("X", (HOST, 1), True), ("Y", (HOST, 1), False), ("Z", (HOST, 1), True)]


@switching_often()
def test_two_threads_get_the_same_connections() -> None:
    for _ in range(60):
        server, got = server_on(Below((HOST, number) for number in range(40))), list[object]()
        barrier = threading.Barrier(2)

        def look(server=server, got=got, barrier=barrier) -> None:
            barrier.wait(LIMIT_S)
            got.append(server.connections[HOST, 1])

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        assert got == [server.connections[HOST, 1]] * 2
