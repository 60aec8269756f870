"""Batches of datagrams in and out of a non-blocking UDP socket, up to the first error.

`_batches.c` does the same with a system call per 64 datagrams instead of one for each.
"""

from __future__ import annotations

import errno
import socket
from time import monotonic
from typing import Any

from pygase_gevent.protocol.address import Address, normalize_address


def receive(
    sock: socket.socket, limit: int, until: float, max_bytes: int, scopes: dict[str, int] | None
) -> tuple[list[tuple[bytes, Address]], int]:
    """Takes what the kernel has, at most `limit` datagrams.

    Args:
        until: by `time.monotonic`; at least one is taken. (The extension looks at no clock: a call of
            its takes 64 at the most, and some microseconds.)
        max_bytes: what is longer is cut.
        scopes: of an IPv6 socket: gets the scope of each link-local peer, by its host. None on IPv4.

    Returns:
        The datagrams, and the errno that ended them: 0 where a limit did, EAGAIN where no more is there.
    """
    datagrams: list[tuple[bytes, Address]] = []
    receive_one = sock.recvfrom
    try:
        for _ in range(limit):
            data, sockaddr = receive_one(max_bytes)
            datagrams.append((data, sockaddr if scopes is None else _address_of(sockaddr, scopes)))
            if monotonic() >= until:
                break
    except OSError as error:
        return datagrams, error.errno or errno.EIO
    return datagrams, 0


def send(
    sock: socket.socket, datagrams: list[tuple[bytes, Address]], start: int, scopes: dict[str, int] | None
) -> tuple[int, int]:
    """Sends datagrams from index `start` on, in order.

    Args:
        scopes: of an IPv6 socket: of link-local hosts. None on IPv4.

    Returns:
        How many the kernel took, and the errno of the one after them; 0 where it took all.
    """
    send_one = sock.sendto
    index = start
    try:
        for index in range(start, len(datagrams)):
            data, address = datagrams[index]
            send_one(data, address if scopes is None else _sockaddr_of(address, scopes))
    except socket.gaierror:  # an address of the other family, where a name would be looked up
        return index - start, errno.EAFNOSUPPORT
    except OSError as error:
        return index - start, error.errno or errno.EIO
    return len(datagrams) - start, 0


def _address_of(sockaddr: tuple[Any, ...], scopes: dict[str, int]) -> Address:
    address = normalize_address(sockaddr)
    if sockaddr[3]:  # a link-local peer can only be answered on its own link
        scopes[address[0]] = sockaddr[3]
    return address


def _sockaddr_of(address: Address, scopes: dict[str, int]) -> tuple[str, int] | tuple[str, int, int, int]:
    host, port = address
    if ":" not in host:
        return f"::ffff:{host}", port
    return host, port, 0, scopes.get(host, 0)
