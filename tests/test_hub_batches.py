"""Batches of datagrams: the extension and plain Python do the same, with the same sockets."""

from __future__ import annotations

import errno
import gc
import select
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pygase_gevent.hub import batches, plain_batches

pytestmark = pytest.mark.skipif(
    batches.send is plain_batches.send, reason="this installation has no extension (PYGASE_GEVENT_COMPILE=1)"
)

FREEBIND = 78  # IPV6_FREEBIND of Linux: binds to addresses that the machine has not
MAX_BYTES = 2048
Open = Callable[..., socket.socket]
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def open_socket() -> Iterator[Open]:
    opened: list[socket.socket] = []

    def open_one(host: str = "127.0.0.1") -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened.append(socket.socket(family, socket.SOCK_DGRAM))
        opened[-1].setblocking(False)
        if family == socket.AF_INET6:
            opened[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        try:
            opened[-1].bind((host, 0))
        except OSError as error:
            pytest.skip(f"no {host} on this machine: {error}")
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def take(
    implementation: Any, sock: socket.socket, count: int, scopes: dict[str, int] | None = None
) -> list[tuple[bytes, tuple[str, int]]]:
    """Receives that many, and then finds nothing more."""
    taken: list[tuple[bytes, tuple[str, int]]] = []
    while len(taken) < count:
        assert select.select([sock], [], [], 10)[0]
        datagrams, error = implementation.receive(sock, 1000, inf, MAX_BYTES, scopes)
        assert error in (0, errno.EAGAIN)
        taken += datagrams
    assert implementation.receive(sock, 1000, inf, MAX_BYTES, scopes) == ([], errno.EAGAIN)
    return taken


bodies = st.one_of(st.binary(max_size=80), st.sampled_from([bytes(1200), bytes(2048), bytes(70_000)]))
receivers = st.sampled_from(["other", "127.0.0.1", "255.255.255.255", "::1", "fe80::1", "203.0.113.1"])


@relaxed
@given(
    st.lists(st.tuples(bodies, receivers), max_size=10),
    st.sampled_from([1, 1, 7, 20]),
    st.integers(0, 200),
    st.sampled_from(["127.0.0.1", "::"]),
)
def test_the_same_is_sent_received_and_refused(
    open_socket: Open, drawn: list[tuple[bytes, str]], times: int, start: int, host: str
) -> None:
    one, other = open_socket(host), open_socket()
    scopes = {"fe80::1": 999_999} if host == "::" else None
    # Port 0 is refused; so nothing goes to where nobody listens.
    datagrams = [
        (data, other.getsockname() if receiver == "other" else (receiver, 0)) for data, receiver in drawn
    ] * times
    outcomes = []
    for implementation in (plain_batches, batches):
        at, counts, sent = min(start, len(datagrams)), [], 0
        while at < len(datagrams):
            count, error = implementation.send(one, datagrams, at, scopes)
            counts.append((count, error))
            assert error or at + count == len(datagrams)
            sent += count
            at += count + (error != 0)
        outcomes.append((counts, sent, take(implementation, other, sent)))
    one.close()
    other.close()
    assert outcomes[0] == outcomes[1]


@relaxed
@given(st.integers(1, 2**24 - 2), st.sampled_from(["127.0.0.1", "::"]))
def test_senders_have_the_same_address(open_socket: Open, low: int, host: str) -> None:
    server, client = open_socket(host), open_socket(socket.inet_ntoa((127 << 24 | low).to_bytes(4, "big")))
    scopes: dict[str, int] | None = {} if host == "::" else None
    for implementation in (plain_batches, batches, batches):
        client.sendto(b"x", ("127.0.0.1", server.getsockname()[1]))
        assert take(implementation, server, 1, scopes) == [(b"x", client.getsockname())]
    server.close()
    client.close()


networks = st.sampled_from(["::", "fe80::", "::ffff:0:0:0", "64:ff9b::", "2001:db8::", "2001:db8:0:0:1::"])


@relaxed
@given(networks, st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)))
def test_any_ipv6_sender_has_the_same_address(open_socket: Open, network: str, low: int) -> None:
    server = open_socket("::")
    sender = str(IPv6Address(int(IPv6Address(network)) | low))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        try:
            client.setsockopt(socket.IPPROTO_IPV6, FREEBIND, 1)
            client.bind((sender, 0, 0, 1 if network == "fe80::" else 0))
            for _ in range(2):
                client.sendto(b"x", ("::1", server.getsockname()[1]))
        except OSError:  # addresses that may not be a source
            server.close()
            return
    scopes: tuple[dict[str, int], dict[str, int]] = ({}, {})
    assert select.select([server], [], [], 10)[0]
    (first,), _ = plain_batches.receive(server, 1, inf, MAX_BYTES, scopes[0])
    (second,), _ = batches.receive(server, 1, inf, MAX_BYTES, scopes[1])
    assert first == second
    assert scopes[0] == scopes[1] and bool(scopes[0]) == (network == "fe80::")
    server.close()


def test_a_sender_is_named_by_the_same_object_each_time(open_socket: Open) -> None:
    one, other = open_socket(), open_socket()
    batches.send(one, [(b"x", other.getsockname())] * 100, 0, None)
    addresses = {id(address) for _, address in take(batches, other, 100)}
    assert len(addresses) == 1


@pytest.mark.parametrize("implementation", [plain_batches, batches])
def test_limits(open_socket: Open, implementation: Any) -> None:
    one, other = open_socket(), open_socket()
    numbered = [(b"%d" % number, other.getsockname()) for number in range(200)]
    assert implementation.send(one, numbered, 0, None) == (200, 0)
    datagrams, error = implementation.receive(other, 5, inf, 1, None)
    assert [data for data, _ in datagrams] == [b"0", b"1", b"2", b"3", b"4"] and error == 0
    assert [data for data, _ in take(implementation, other, 195)] == [data for data, _ in numbered[5:]]
    assert implementation.send(one, [], 0, None) == (0, 0)
    other.close()
    with pytest.raises((OSError, ValueError)):
        batches.receive(other, 1, inf, 1, None)


@pytest.mark.parametrize("datagram", [(b"x", ("127.0.0.1", 65536)), (b"x", ("127.0.0.1", -1))])
def test_a_port_that_is_none(open_socket: Open, datagram: Any) -> None:
    for implementation in (plain_batches, batches):
        with pytest.raises(OverflowError):
            implementation.send(open_socket(), [datagram], 0, None)


@pytest.mark.parametrize("datagram", [None, (), ("x", ("127.0.0.1", 1)), (b"x", None), (b"x", ("h", "1"))])
def test_a_datagram_that_is_none(open_socket: Open, datagram: Any) -> None:
    with pytest.raises(TypeError):
        batches.send(open_socket(), [datagram], 0, None)


def test_calls_leave_nothing_behind(open_socket: Open) -> None:
    one, other, gone = open_socket(), open_socket(), ("127.0.0.1", 0)
    datagrams = [(bytes(60), other.getsockname())] * 3 + [(b"", gone), (b"x", ("::1", 1))]

    def calls(count: int) -> int:
        for _ in range(count):
            assert batches.send(one, datagrams, 0, None) == (3, errno.EINVAL)
            assert batches.send(one, datagrams, 4, None) == (0, errno.EAFNOSUPPORT)
            assert len(take(batches, other, 3)) == 3
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = calls(100)
        assert calls(2000) - before < 20_000
    finally:
        tracemalloc.stop()
