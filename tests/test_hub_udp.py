"""`UdpSocket`: batches in, batches out, and nothing that the network does raises."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from native import run_natively

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError
from pygase_gevent.hub import batches, plain_batches
from pygase_gevent.hub import udp as udp_module
from pygase_gevent.hub.thread import destroy_hub_of_this_thread
from pygase_gevent.hub.udp import UdpSocket, resolve

LIMIT_S = 10.0
IMPLEMENTATIONS = [plain_batches] if batches.send is plain_batches.send else [plain_batches, batches]
Open = Callable[..., UdpSocket]
crosses_threads = pytest.mark.crosses_threads


@pytest.fixture(autouse=True, params=IMPLEMENTATIONS, ids=lambda module: module.__name__.rpartition(".")[2])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs with each implementation that is there."""
    monkeypatch.setattr(udp_module, "receive", request.param.receive)
    monkeypatch.setattr(udp_module, "send", request.param.send)


@pytest.fixture
def open_udp() -> Iterator[Open]:
    opened: list[UdpSocket] = []

    def open_one(bind: Any = ("127.0.0.1", 0), family: int | None = None, **limits: Any) -> UdpSocket:
        opened.append(UdpSocket(bind=bind, family=family, config=Config(**limits)))
        return opened[-1]

    yield open_one
    for udp in opened:
        udp.close()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


def receive(udp: UdpSocket, count: int) -> list[tuple[bytes, tuple[str, int]]]:
    received: list[tuple[bytes, tuple[str, int]]] = []
    with gevent.Timeout(LIMIT_S):
        while len(received) < count:
            assert udp.wait_readable()
            received += udp.receive_batch(64, 1.0)
    return received


@crosses_threads
def test_datagrams_arrive_in_batches_with_their_address(open_udp: Open) -> None:
    one, other = open_udp(), open_udp()
    datagrams = [(b"%d" % number, other.address) for number in range(100)]
    assert one.send_all(datagrams) == 100
    assert receive(other, 100) == [(data, one.address) for data, _ in datagrams]
    assert other.receive_batch(64, 1.0) == []


def test_a_batch_has_its_limits(open_udp: Open) -> None:
    one, other = open_udp(), open_udp()
    one.send_all([(b"x", other.address)] * 10)
    assert other.wait_readable()
    assert len(other.receive_batch(4, 1.0)) == 4
    assert len(other.receive_batch(64, 0.0)) == 1
    assert len(other.receive_batch(64, 1.0)) == 5


def test_a_datagram_longer_than_any_of_ours_is_cut(open_udp: Open) -> None:
    one, other = open_udp(), open_udp(max_datagram_bytes=100)
    one.send_all([(b"x" * 1000, other.address)])
    assert receive(other, 1) == [(b"x" * 100, one.address)]


@crosses_threads
def test_greenlets_run_while_it_waits_and_a_wait_may_be_given_up(open_udp: Open) -> None:
    one, other = open_udp(), open_udp()
    loop = gevent.get_hub().loop
    before = loop.activecnt
    with gevent.Timeout(0.01, False):
        other.wait_readable()
        pytest.fail("nothing was sent")
    waiter = gevent.spawn(other.wait_readable)
    gevent.sleep(0.01)
    waiter.kill()
    gevent.sleep(0)
    assert loop.activecnt <= before
    waiter = gevent.spawn(other.wait_readable)
    gevent.sleep(0.001)
    one.send_all([(b"x", other.address)])
    assert waiter.get(timeout=LIMIT_S) is True


@crosses_threads
def test_close_ends_a_wait(open_udp: Open) -> None:
    udp = open_udp()
    waiter = gevent.spawn(udp.wait_readable)
    gevent.sleep(0.001)
    udp.close()
    udp.close()
    assert waiter.get(timeout=LIMIT_S) is False
    assert udp.wait_readable() is False
    assert udp.receive_batch(64, 1.0) == []
    assert udp.send_all([(b"x", ("127.0.0.1", 9))]) == 0


@crosses_threads
def test_it_works_in_any_threads_hub_and_leaves_no_descriptors(no_leaks: None) -> None:
    def talk_to_itself() -> bytes:
        udp = UdpSocket(bind=("127.0.0.1", 0), config=Config())
        udp.send_all([(b"hello", udp.address)])
        ((data, _),) = receive(udp, 1)
        udp.close()
        destroy_hub_of_this_thread()
        return data

    for _ in range(10):
        assert run_natively(talk_to_itself).wait(LIMIT_S) == b"hello"


@crosses_threads
def test_a_port_where_nobody_listens_is_not_final(open_udp: Open) -> None:
    udp, gone = open_udp(), open_udp()
    gone.close()
    for _ in range(3):
        udp.send_all([(b"x", gone.address)])
        gevent.sleep(0.001)
        udp.receive_batch(64, 0.1)
    back = open_udp(gone.address)
    udp.send_all([(b"again", back.address)])
    assert receive(back, 1)[0][0] == b"again"


def test_what_cannot_be_sent_is_counted_and_the_rest_goes(open_udp: Open) -> None:
    one, other = open_udp(), open_udp()
    sent = one.send_all(
        [
            (b"x" * 70_000, other.address),
            (b"x", ("::1", 9)),
            (b"x", ("255.255.255.255", 9)),
            (b"x", ("127.0.0.1", 0)),
            (b"arrives", other.address),
        ]
    )
    assert sent == 1
    assert receive(other, 1) == [(b"arrives", one.address)]
    assert one.errors == {"EMSGSIZE": 1, "EAFNOSUPPORT": 1, "EACCES": 1, "EINVAL": 1}


class FullBuffer:
    """Stands for a kernel whose buffer is full for the next `full` sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, full: int) -> None:
        self.full = full
        self._send = udp_module.send
        monkeypatch.setattr(udp_module, "send", self)

    def __call__(self, sock: Any, datagrams: Any, start: int, scopes: Any) -> tuple[int, int]:
        if self.full:
            self.full -= 1
            return 0, errno.EAGAIN
        return self._send(sock, datagrams, start, scopes)


def test_a_full_kernel_buffer_is_waited_for_a_little(open_udp: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = open_udp(), open_udp()
    kernel = FullBuffer(monkeypatch, full=1)
    assert one.send_all([(b"first", other.address), (b"second", other.address)]) == 2
    assert [data for data, _ in receive(other, 2)] == [b"first", b"second"]
    kernel.full = 4  # still full after the wait, twice; then free again
    assert one.send_all([(b"dropped", other.address), (b"too", other.address), (b"sent", other.address)]) == 1
    assert one.errors == {"EAGAIN": 2}
    assert [data for data, _ in receive(other, 1)] == [b"sent"]


def test_within_the_hub_a_full_buffer_drops_at_once(open_udp: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = open_udp(), open_udp()
    FullBuffer(monkeypatch, full=1)
    sent: list[int] = []
    gevent.get_hub().loop.run_callback(
        lambda: sent.append(one.send_all([(b"dropped", other.address), (b"sent", other.address)]))
    )
    assert receive(other, 1)[0][0] == b"sent"
    assert sent == [1]


def test_errors_while_receiving_are_counted_and_bounded(
    open_udp: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    udp = open_udp()
    monkeypatch.setattr(udp_module, "receive", lambda *arguments: ([], errno.ECONNREFUSED))
    assert udp.receive_batch(64, 1.0) == []
    assert udp.errors == {"ECONNREFUSED": 64}


@crosses_threads
def test_a_taken_port_says_which(open_udp: Open) -> None:
    udp = open_udp()
    with pytest.raises(OSError, match=rf"127\.0\.0\.1 port {udp.address[1]}: .*in use") as caught:
        open_udp(udp.address)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.__cause__ is None and caught.value.__context__ is None  # one error, not a chain
    with pytest.raises(OSError, match=r"203\.0\.113\.1 port 0"):
        open_udp(("203.0.113.1", 0))
    with pytest.raises(ArgumentError, match="65536"):
        open_udp(("127.0.0.1", 65536))


def test_a_failed_bind_leaves_no_descriptor(open_udp: Open, no_leaks: None) -> None:
    for _ in range(10):
        with pytest.raises(OSError):
            open_udp(("203.0.113.1", 0))


@needs_ipv6
def test_ipv6(open_udp: Open) -> None:
    one, other = open_udp(("::1", 0)), open_udp(None, socket.AF_INET6)
    other.send_all([(b"x", one.address)])
    assert receive(one, 1) == [(b"x", ("::1", other.address[1]))]
    assert one.send_all([(b"x", ("127.0.0.1", 9))]) == 0, "IPv6 only"
    with pytest.raises(OSError, match="in use"):
        open_udp(one.address)


@needs_ipv6
def test_all_interfaces_serve_both_families(open_udp: Open) -> None:
    server, four, six = open_udp(("::", 0)), open_udp(), open_udp(("::1", 0))
    port = server.address[1]
    four.send_all([(b"four", ("127.0.0.1", port))])
    six.send_all([(b"six", ("::1", port))])
    received = receive(server, 2)
    assert sorted(received) == [(b"four", four.address), (b"six", six.address)]
    server.send_all([(data, address) for data, address in received])
    assert receive(four, 1) == [(b"four", ("127.0.0.1", port))]
    assert receive(six, 1) == [(b"six", ("::1", port))]


def test_localhost_is_found_without_a_name_server(open_udp: Open) -> None:
    assert resolve("localhost", 7) == [("127.0.0.1", 7), ("::1", 7)]
    assert resolve("", 7) == [("0.0.0.0", 7)]
    assert resolve("192.0.2.1", 7) == [("192.0.2.1", 7)]
    assert resolve("2001:db8:0::1", 7) == [("2001:db8::1", 7)]
    assert open_udp(("localhost", 0)).address[0] == "127.0.0.1"


@crosses_threads
@pytest.mark.parametrize("hostname", ["no-such-host.invalid", "." * 70, "a" * 300])
def test_an_unknown_host_is_named(hostname: str) -> None:
    with pytest.raises(OSError, match="cannot find the host"):
        resolve(hostname, 7)
    with pytest.raises(OSError, match="cannot find the host"):
        run_natively(resolve, hostname, 7).wait(30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_the_child_closes_its_copy_and_the_parent_receives_on(open_udp: Open) -> None:
    one, other = open_udp(), open_udp()
    waiter = gevent.spawn(other.wait_readable)
    gevent.sleep(0.001)
    child = os.fork()
    if child == 0:
        other.after_fork()
        os._exit(int(not (other.is_closed and other.receive_batch(1, 0.0) == [])))
    assert os.waitpid(child, 0)[1] == 0
    one.send_all([(b"x", other.address)])
    assert waiter.get(timeout=LIMIT_S)
