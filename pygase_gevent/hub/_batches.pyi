import socket

from pygase_gevent.protocol.address import Address

def receive(
    sock: socket.socket, limit: int, until: float, max_bytes: int, scopes: dict[str, int] | None, /
) -> tuple[list[tuple[bytes, Address]], int]: ...
def send(
    sock: socket.socket, datagrams: list[tuple[bytes, Address]], start: int, scopes: dict[str, int] | None, /
) -> tuple[int, int]: ...
