"""What a datagram costs without and with the extensions: `python -m benchmarks.datagrams`.

CPU time of this process, the kernel's work in it. Both implementations take turns within one run; a figure is
the least of its repeats, and the ratio is that of the figures.
"""

from __future__ import annotations

import argparse
import gc
import select
import socket
import sys
from collections.abc import Callable
from math import inf
from time import process_time
from typing import Any

from pygase_gevent.config import Config
from pygase_gevent.hub import batches, plain_batches
from pygase_gevent.protocol.netcode import crypto, packet, replay, sealing
from pygase_gevent.protocol.netcode.packet import PacketType, accepted_types

Run = Callable[[], float]
"""Seconds per datagram, of one round."""

BATCH = 64
PEERS = 64
ROUND = 200 * BATCH
REPEATS = 15
KEY = bytes(range(32))
ASSOCIATED_DATA = crypto.packet_associated_data(1)
ACCEPTED = accepted_types(*PacketType)


def send_and_receive(implementation: Any, sender_count: int, body: bytes) -> tuple[Run, Run]:
    """From one socket to several, and from several to one, a batch at a time; without a hub."""
    limits = Config()
    peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sender_count)]
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for one in (server, *peers):
        one.setblocking(False)
        one.bind(("127.0.0.1", 0))
    to_peers = [(body, peers[i % sender_count].getsockname()) for i in range(BATCH)]
    address = server.getsockname()

    def send() -> float:
        spent = 0.0
        for _ in range(ROUND // BATCH):
            started = process_time()
            implementation.send(server, to_peers, 0, None)
            spent += process_time() - started
            for peer in peers:
                plain_batches.receive(peer, BATCH, inf, limits.max_datagram_bytes, None)
        return spent / ROUND

    def receive() -> float:
        spent, left = 0.0, ROUND
        while left > 0:
            for i in range(BATCH):
                peers[i % sender_count].sendto(body, address)
            select.select([server], [], [])
            started = process_time()
            taken, _ = implementation.receive(server, BATCH, inf, limits.max_datagram_bytes, None)
            spent += process_time() - started
            left -= len(taken)
        return spent / ROUND

    return send, receive


def seal_and_open(packets: Any, ciphers: Any, windows: Any, body: bytes) -> tuple[Run, Run]:
    cipher = ciphers.PacketCipher(KEY, ASSOCIATED_DATA)
    payload = int(PacketType.PAYLOAD)
    first = 70_000  # three bytes of sequence, as most have
    sealed = [packets.write_packet(payload, first + i, body, cipher) for i in range(ROUND)]

    def seal() -> float:
        write = packets.write_packet
        started = process_time()
        for sequence in range(first, first + ROUND):
            write(payload, sequence, body, cipher)
        return (process_time() - started) / ROUND

    def open_() -> float:
        read, window = packets.read_packet, windows.ReplayWindow(Config().replay_window)
        started = process_time()
        for data in sealed:
            read(data, cipher, ACCEPTED, window)
        return (process_time() - started) / ROUND

    return seal, open_


def compare(name: str, plain: Run, extension: Run, repeats: int) -> None:
    plain_us, extension_us = inf, inf
    gc.collect()
    gc.disable()
    for _ in range(repeats):
        plain_us = min(plain_us, plain() * 1e6)
        extension_us = min(extension_us, extension() * 1e6)
    gc.enable()
    print(
        f"{name:<22}{plain_us:>8.2f} us{extension_us:>12.2f} us{plain_us / extension_us:>9.2f} x", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.datagrams", description=__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    has_batches = batches.send is not plain_batches.send
    has_sealing = sealing.read_packet is not packet.read_packet
    if not has_batches and not has_sealing:
        sys.exit("this installation has no extensions: PYGASE_GEVENT_COMPILE=1 pip install .")
    print(f"{'per datagram':<22}{'plain':>11}{'extension':>15}{'ratio':>11}")
    for size in (60, 300):
        body = bytes(size)
        names = ("send", "receive") if has_batches else ()
        pairs = zip(
            send_and_receive(plain_batches, PEERS, body), send_and_receive(batches, PEERS, body), strict=True
        )
        for name, (plain, extension) in zip(names, pairs, strict=False):
            compare(f"{name} {size} bytes", plain, extension, options.repeats)
        names = ("seal", "open") if has_sealing else ()
        pairs = zip(
            seal_and_open(packet, crypto, replay, body),
            seal_and_open(sealing, sealing, sealing, body),
            strict=True,
        )
        for name, (plain, extension) in zip(names, pairs, strict=False):
            compare(f"{name} {size} bytes", plain, extension, options.repeats)


if __name__ == "__main__":
    main()
