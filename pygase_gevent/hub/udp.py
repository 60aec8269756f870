"""The only UDP socket: batched receive and send, and nothing that the network does raises.

The socket is the interpreter's own, non-blocking, whatever was monkey-patched; the hub only says when
it is readable.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any, Final, cast

import gevent
from gevent import monkey
from gevent.socket import wait_write
from mypy_extensions import mypyc_attr

from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError
from pygase_gevent.hub.batches import receive, send
from pygase_gevent.hub.process import forget_fork, no_fork, on_fork
from pygase_gevent.hub.signal import hub_of_this_thread
from pygase_gevent.protocol.address import Address, normalize_address

logger = logging.getLogger("pygase_gevent.hub")

_make_socket = cast("type[socket.socket]", monkey.get_original("socket", "socket"))
_native_getaddrinfo = cast("Callable[..., list[Any]]", monkey.get_original("socket", "getaddrinfo"))

_READ: Final = 1  # libev's event bit
_WOULD_BLOCK: Final = frozenset((errno.EAGAIN, errno.EWOULDBLOCK))


@mypyc_attr(allow_interpreted_subclasses=True)
class UdpSocket:
    """A bound UDP socket of the calling thread's hub.

    `('::', port)` serves IPv6 and IPv4; an IPv4 peer has its dotted address there too.

    Args:
        bind: `(host, port)`; None takes a free port on all interfaces. Port 0 takes a free port.
        family: `socket.AF_INET` or `AF_INET6`; needed only where `bind` is None.
        config: `socket_buffer_bytes`, `max_datagram_bytes`, `send_patience_s`.

    Raises:
        OSError: it cannot be bound; the message names host and port.
        ArgumentError: the port is not in 0..65535.
    """

    def __init__(self, *, bind: Address | None, family: int | None = None, config: Config) -> None:
        self.errors: Counter[str] = Counter()
        """What the network answered instead of sending or receiving, by errno name."""
        self.is_closed = False
        self._config = config
        if bind is not None and not 0 <= bind[1] <= 65535:
            raise ArgumentError(f"a port must be in 0..65535, not {bind[1]}")
        if bind is None:
            bind = ("::" if family == socket.AF_INET6 else "0.0.0.0", 0)
            serves_both = False
        else:
            bind = resolve(*bind)[0]
            serves_both = bind[0] == "::"
        self.family = socket.AF_INET6 if ":" in bind[0] else socket.AF_INET
        self._scopes: dict[str, int] | None = {} if self.family == socket.AF_INET6 else None
        with no_fork():  # or the child of a fork right now would hold a socket that nobody there knows
            self._socket = _make_socket(self.family, socket.SOCK_DGRAM)
            on_fork(self.after_fork)
        refusal: OSError | None = None
        try:
            self._socket.setblocking(False)
            if self.family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not serves_both)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._ask_for_buffer(option, config.socket_buffer_bytes)
            self._socket.bind(bind)
            self.address: Address = normalize_address(self._socket.getsockname())
        except OSError as error:
            refusal = error
        if refusal is not None:  # raised here and not above: compiled, `from None` would show both
            forget_fork(self.after_fork)
            self._socket.close()
            text = f"cannot listen on UDP {bind[0]} port {bind[1]}: {refusal.strerror}"
            raise OSError(refusal.errno, text)
        self._hub = gevent.get_hub()
        self._reader: Any = None  # the greenlet in `wait_readable`
        self._read_watcher = self._hub.loop.io(self._socket.fileno(), _READ)

    def receive_batch(self, limit: int, limit_s: float) -> list[tuple[bytes, Address]]:
        """Takes what the kernel has: at most `limit` datagrams, for at most `limit_s` seconds.

        Never blocks and never yields; empty where nothing is there.
        """
        datagrams: list[tuple[bytes, Address]] = []
        if self._scopes and len(self._scopes) >= self._config.max_tracked_sources:
            self._scopes.clear()
        until = monotonic() + limit_s
        left = limit if limit_s > 0 else 1
        while left > 0 and not self.is_closed:
            taken, error = receive(self._socket, left, until, self._config.max_datagram_bytes, self._scopes)
            datagrams += taken
            left -= len(taken)
            if error in _WOULD_BLOCK:
                break
            if error:  # what ICMP said about something sent earlier; says nothing final
                self._count(error)
                left -= 1
            if monotonic() >= until:
                break
        return datagrams

    def wait_readable(self) -> bool:
        """Waits, cooperatively, until something may be there to receive; False once closed.

        One greenlet at a time. The watcher is started only while somebody waits: kept started, it
        would fire in every turn of the hub until the last datagram is taken (measured: no gain).
        """
        if self.is_closed:
            return False
        self._reader = gevent.getcurrent()
        self._read_watcher.start(self._on_readable)
        try:
            self._hub.switch()
        finally:
            self._reader = None
            if not self.is_closed:
                self._read_watcher.stop()
        return not self.is_closed

    def wake_reader(self) -> None:
        """Whoever is in `wait_readable` looks soon: something was received elsewhere."""
        if self._reader is not None:
            self._hub.loop.run_callback(self._resume_reader)

    def send_all(self, datagrams: Iterable[tuple[bytes, Address]]) -> int:
        """Sends datagrams in order; those that the kernel does not take are dropped and counted.

        Where its buffer is full it waits a little, cooperatively (not within a callback of the hub).

        Returns:
            How many were sent.
        """
        batch = datagrams if isinstance(datagrams, list) else list(datagrams)
        sent = index = 0
        patience_s = self._config.send_patience_s
        has_waited = False
        while index < len(batch) and not self.is_closed:
            count, error = send(self._socket, batch, index, self._scopes)
            sent += count
            index += count
            has_waited = has_waited and not count
            if error in _WOULD_BLOCK and not has_waited and patience_s > 0 and not _is_within_hub():
                patience_s -= self._wait_writable(patience_s)
                has_waited = True
            elif error:
                self._count(error)
                index += 1
                has_waited = False
        return sent

    def close(self) -> None:
        """Closes it, in its thread; who waits in `wait_readable` gets False. Idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        forget_fork(self.after_fork)
        self._read_watcher.stop()
        self._read_watcher.close()
        self._socket.close()
        self.wake_reader()

    def after_fork(self) -> None:
        """In the child of a fork: closes the descriptor, and leaves the parent's loop alone."""
        self.is_closed = True
        self._socket.close()

    def _on_readable(self) -> None:
        self._read_watcher.stop()  # also in the child of a fork, where the descriptor may be another's by now
        self._resume_reader()

    def _resume_reader(self) -> None:
        """In the hub, where the watcher calls: straight on with the one who waits, if it still does."""
        if self._reader is not None:
            self._reader.switch()

    def _wait_writable(self, limit_s: float) -> float:
        """Waits for room in the kernel's buffer; returns the seconds it took."""
        started = monotonic()
        with suppress(OSError):  # TimeoutError too; or closed meanwhile
            wait_write(self._socket.fileno(), timeout=limit_s, timeout_exc=TimeoutError())
        return monotonic() - started

    def _ask_for_buffer(self, option: int, size: int) -> None:
        while size >= 65536:  # the systems' own default; some refuse what others quietly cap
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, size)
                return
            except OSError:
                size //= 2

    def _count(self, error: int) -> None:
        self.errors[errno.errorcode.get(error, "unknown")] += 1


def _is_within_hub() -> bool:
    """Whether this is a callback of the hub, which cannot wait."""
    return gevent.getcurrent() is gevent.get_hub()


def resolve(hostname: str, port: int) -> list[Address]:
    """The addresses of a host, in the order in which they should be tried.

    Waits for the name server cooperatively where the thread has a hub. `localhost` and IP addresses
    need none; an empty name means all IPv4 interfaces.

    Raises:
        OSError: the name is unknown, or nobody answers; the message names it.
    """
    if hostname == "localhost":
        return [("127.0.0.1", port), ("::1", port)]  # RFC 6761, section 6.3
    if not hostname:
        return [("0.0.0.0", port)]
    is_literal = _is_ip_address(hostname)
    hub = hub_of_this_thread()
    look_up = _native_getaddrinfo if hub is None or is_literal else hub.resolver.getaddrinfo
    try:
        found = look_up(hostname, port, 0, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST if is_literal else 0)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(getattr(error, "errno", None), f"cannot find the host {hostname!r}: {reason}") from None
    return list(dict.fromkeys(normalize_address(entry[4]) for entry in found))


def _is_ip_address(hostname: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, hostname.partition("%")[0])
            return True
        except (OSError, UnicodeError, ValueError):
            continue
    return False
