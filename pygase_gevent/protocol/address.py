"""Network addresses as the protocol knows them: an IP address as text, and a port.

One client has one address text, however the kernel writes it, since addresses are dictionary keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from pygase_gevent.errors import ArgumentError, ArgumentTypeError

Address = tuple[str, int]
"""`(host, port)`: `host` is an IPv4 or IPv6 address as text, without a scope."""

OpaqueAddress = Any
"""An `Address` that is handed on and not looked into. Compiled, one that is declared as the pair that it is
would be taken apart and put together anew by each function that it passes through."""


def normalize_address(sockaddr: Sequence[Any]) -> Address:
    """The address of a datagram, from what the kernel reported.

    An IPv4 client that arrives at an IPv6 socket gets its dotted IPv4 address; a scope is dropped.
    """
    host: str = sockaddr[0]
    if ":" in host:
        host = host.partition("%")[0]
        if "." in host:
            host = _canonical_host(host)
    return host, sockaddr[1]


def check_address(address: object) -> Address:
    """An address that a caller gave, checked and in canonical form.

    Raises:
        ArgumentTypeError: not a pair of `str` and `int`.
        ArgumentError: the host is not an IP address, or the port is not in 1..65535.
    """
    if not (isinstance(address, (tuple, list)) and len(address) == 2 and isinstance(address[0], str)):
        raise ArgumentTypeError(f"a server address must be a pair (host, port), not {address!r}")
    host, port = address
    if not isinstance(port, int) or isinstance(port, bool):
        raise ArgumentTypeError(f"the port of a server address must be an int, not {port!r}")
    if not 0 < port < 65536:
        raise ArgumentError(f"the port of a server address must be in 1..65535, not {port}")
    try:
        return _canonical_host(host.partition("%")[0]), int(port)
    except ValueError:
        raise ArgumentError(f"a server address must have an IP address, not {host!r}") from None


def source_of(host: str) -> str:
    """What rate limits count as one source: an IPv4 address, or an IPv6 network of 64 bits.

    A single subscriber usually has all 2**64 addresses of such a network at his disposal.
    """
    if ":" not in host:
        return host
    return f"{int(IPv6Address(host)) >> 64:x}::/64"


def pack_host(host: str) -> bytes:
    """The 4 or 16 bytes of an IP address, in network order."""
    return ip_address(host).packed


def unpack_host(packed: bytes) -> str:
    """The canonical text of an IP address of 4 or 16 bytes in network order."""
    return _canonical_text(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


def _canonical_host(host: str) -> str:
    return _canonical_text(ip_address(host))


def _canonical_text(ip: IPv4Address | IPv6Address) -> str:
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return str(mapped or ip)
