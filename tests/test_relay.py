"""The relay, with plain sockets on both sides."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
from conftest import eventually

from pygase_gevent.errors import ArgumentError
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.relay import Relay

pytestmark = pytest.mark.crosses_threads

SECONDS = 10.0  # generous: these wait on conditions


class Socket:
    """A plain UDP socket on the loopback."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()

    def send(self, datagram: bytes, address: tuple[str, int]) -> None:
        self._socket.sendto(datagram, address)

    def receive(self) -> tuple[bytes, tuple[str, int]]:
        self._socket.settimeout(SECONDS)
        return self._socket.recvfrom(2048)

    def has_datagram(self) -> bool:
        self._socket.settimeout(0)
        try:
            self._socket.recvfrom(2048, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def new_socket() -> Iterator[Callable[[], Socket]]:
    made: list[Socket] = []

    def new() -> Socket:
        made.append(Socket())
        return made[-1]

    yield new
    for one in made:
        one.close()


@pytest.fixture
def server(new_socket: Callable[[], Socket]) -> Socket:
    return new_socket()


@pytest.fixture
def client(new_socket: Callable[[], Socket]) -> Socket:
    return new_socket()


def entrance(relay: Relay) -> tuple[str, int]:
    return "127.0.0.1", relay.port


def test_it_carries_datagrams_both_ways(server: Socket, client: Socket) -> None:
    with Relay(server.address) as relay:
        client.send(b"hello", entrance(relay))
        datagram, upstream = server.receive()
        assert datagram == b"hello" and upstream not in (client.address, entrance(relay))
        server.send(b"welcome", upstream)
        assert client.receive() == (b"welcome", entrance(relay))
        assert relay.clients == {client.address: upstream}
        assert relay.up_counts == {"sent": 1, "delivered": 1} == relay.down_counts


def test_each_client_has_an_address_of_its_own(server: Socket, new_socket: Callable[[], Socket]) -> None:
    with Relay(server.address) as relay:
        clients = [new_socket() for _ in range(5)]
        for number, one in enumerate(clients):
            one.send(b"%d" % number, entrance(relay))
        heard = dict(server.receive() for _ in clients)
        assert len(set(heard.values())) == 5
        for datagram, upstream in heard.items():
            server.send(datagram, upstream)
        assert [one.receive()[0] for one in clients] == [b"0", b"1", b"2", b"3", b"4"]


def test_strangers_are_not_let_through_from_behind(
    server: Socket, client: Socket, new_socket: Callable[[], Socket]
) -> None:
    with Relay(server.address) as relay:
        client.send(b"hello", entrance(relay))
        _, upstream = server.receive()
        new_socket().send(b"forged", upstream)
        server.send(b"real", upstream)
        assert client.receive()[0] == b"real"


def test_loss_takes_the_same_datagrams_for_the_same_seed(server: Socket, client: Socket) -> None:
    runs = []
    for _ in range(2):
        with Relay(server.address, up=LinkOptions(loss=0.3), seed=5) as relay:
            for number in range(100):
                client.send(b"%d" % number, entrance(relay))
            eventually(lambda relay=relay: relay.up_counts["sent"] == 100)
            runs.append([server.receive()[0] for _ in range(relay.up_counts["delivered"])])
    assert runs[0] == runs[1]
    assert 50 < len(runs[0]) < 90


def test_delay_passes_and_jitter_reorders(server: Socket, client: Socket) -> None:
    options = LinkOptions(delay_s=0.05, jitter_s=0.04)
    with Relay(server.address, up=options) as relay:
        began = time.monotonic()
        for number in range(50):
            client.send(b"%d" % number, entrance(relay))
        numbers = [int(server.receive()[0]) for _ in range(50)]
        assert time.monotonic() - began >= 0.01
        assert sorted(numbers) == list(range(50)) != numbers


def test_the_line_can_be_changed_under_way(server: Socket, client: Socket) -> None:
    with Relay(server.address, up=LinkOptions(loss=1.0)) as relay:
        client.send(b"lost", entrance(relay))
        eventually(lambda: relay.up_counts["lost"] == 1)
        relay.set_link(up=LinkOptions(duplicate=1.0))
        client.send(b"twice", entrance(relay))
        assert [server.receive()[0] for _ in range(2)] == [b"twice", b"twice"]


def test_a_partition_of_one_direction_and_its_end(server: Socket, client: Socket) -> None:
    with Relay(server.address) as relay:
        client.send(b"1", entrance(relay))
        _, upstream = server.receive()
        relay.partition(up=False, down=True)
        client.send(b"2", entrance(relay))
        assert server.receive()[0] == b"2"
        server.send(b"cut", upstream)
        eventually(lambda: relay.down_counts["cut"] == 1)
        relay.heal()
        server.send(b"3", upstream)
        assert client.receive()[0] == b"3"


def test_rebinding_changes_the_address_that_the_server_sees(server: Socket, client: Socket) -> None:
    with Relay(server.address) as relay:
        client.send(b"before", entrance(relay))
        _, old = server.receive()
        relay.rebind(client.address)
        new = relay.clients[client.address]
        assert new != old
        server.send(b"to the old port", old)
        server.send(b"to the new port", new)
        assert client.receive()[0] == b"to the new port"
        client.send(b"after", entrance(relay))
        assert server.receive() == (b"after", new)
        relay.rebind()
        assert relay.clients[client.address] != new
        with pytest.raises(ArgumentError, match="no client"):
            relay.rebind(("127.0.0.1", 1))


def test_more_clients_than_allowed_displace_the_most_silent(
    server: Socket, new_socket: Callable[[], Socket]
) -> None:
    with Relay(server.address, max_clients=2) as relay:
        first, second, third = new_socket(), new_socket(), new_socket()
        for one in (first, second, first, third):
            one.send(b"x", entrance(relay))
            server.receive()
        assert list(relay.clients) == [first.address, third.address]


def test_its_queue_is_bounded(server: Socket, client: Socket) -> None:
    with Relay(server.address, up=LinkOptions(delay_s=3600.0), max_queued=10) as relay:
        for _ in range(25):
            client.send(b"x", entrance(relay))
        eventually(lambda: relay.up_counts["queue full"] == 15)


def test_a_server_that_is_not_there_ends_nothing(client: Socket, new_socket: Callable[[], Socket]) -> None:
    gone = new_socket()
    gone.close()
    with Relay(gone.address) as relay:
        for _ in range(20):
            client.send(b"x", entrance(relay))
        eventually(lambda: relay.up_counts["delivered"] == 20)
        assert len(relay.clients) == 1


def test_closing_leaves_nothing_behind(server: Socket, client: Socket, no_leaks: None) -> None:
    with Relay(server.address, up=LinkOptions(delay_s=3600.0)) as relay:
        client.send(b"x", entrance(relay))
        eventually(lambda: relay.up_counts["sent"] == 1)
        relay.rebind()
    relay.close()
    assert str(relay.port) in repr(relay)


def test_its_port_is_free_after_closing_and_taken_before(server: Socket) -> None:
    with Relay(server.address) as relay:
        port = relay.port
        with pytest.raises(OSError, match=str(port)):
            Relay(server.address, port=port)
    with Relay(server.address, port=port) as again:
        assert again.port == port
