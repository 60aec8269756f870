"""Sealing: the extension and plain Python write the same bytes, and read or drop them alike."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pygase_gevent.protocol.netcode import crypto, packet, replay, sealing
from pygase_gevent.protocol.netcode.packet import DropReason, PacketType, accepted_types

pytestmark = pytest.mark.skipif(
    sealing.read_packet is packet.read_packet,
    reason="this installation has no extension (PYGASE_GEVENT_COMPILE=1)",
)

KEY = bytes(range(32))
ASSOCIATED_DATA = crypto.packet_associated_data(77)
ALL_TYPES = accepted_types(*PacketType)
TOP = 2**64 - 1
relaxed = settings(deadline=None)

sequences = st.one_of(st.integers(0, 600), st.integers(0, TOP), st.integers(TOP - 600, TOP))
sizes = st.one_of(st.integers(0, 40), st.sampled_from([308, 1199, 1200, 1201, 2048]))


class Both:
    """One cipher and one window of each implementation, which must answer alike."""

    def __init__(self, window: int | None = 256, key: bytes = KEY) -> None:
        self.plain_cipher = crypto.PacketCipher(key, ASSOCIATED_DATA)
        self.cipher = sealing.PacketCipher(key, ASSOCIATED_DATA)
        self.plain_window = None if window is None else replay.ReplayWindow(window)
        self.window = None if window is None else sealing.ReplayWindow(window)

    def write(self, packet_type: int, sequence: int, body: bytes) -> bytes:
        written = packet.write_packet(packet_type, sequence, body, self.plain_cipher)
        assert sealing.write_packet(packet_type, sequence, body, self.cipher) == written
        return written

    def read(self, data: bytes, accepted: tuple[bool, ...] = ALL_TYPES) -> Any:
        read = packet.read_packet(data, self.plain_cipher, accepted, self.plain_window)
        assert sealing.read_packet(data, self.cipher, accepted, self.window) == read
        return read


@relaxed
@given(st.integers(0, 15), sequences, sizes, st.randoms(use_true_random=False))
def test_the_same_is_written_and_read(packet_type: int, sequence: int, size: int, rng: Any) -> None:
    both, body = Both(), rng.randbytes(size)
    data = both.write(packet_type, sequence, body)
    read = both.read(data)
    assert isinstance(read, str) or read == (packet_type, sequence, body)
    again = both.read(data)
    if packet_type in (PacketType.KEEP_ALIVE, PacketType.PAYLOAD, PacketType.DISCONNECT):
        assert again == DropReason.REPLAYED
    else:
        assert again == read


@relaxed
@given(
    st.lists(st.tuples(st.integers(0, 8), sequences, sizes, st.integers(0, 60)), max_size=40),
    st.lists(st.booleans(), min_size=7, max_size=7).map(tuple),
    st.sampled_from([None, 1, 2, 63, 64, 65, 256]),
)
def test_damaged_packets_are_dropped_for_the_same_reason(
    drawn: list[tuple[int, int, int, int]], accepted: tuple[bool, ...], window: int | None
) -> None:
    both = Both(window)
    for packet_type, sequence, size, damage in drawn:
        data = bytearray(both.write(packet_type, sequence, bytes(size)))
        if damage < 30:
            data[damage % len(data)] ^= 1 << damage % 8
        elif damage < 50:
            del data[damage:]
        both.read(bytes(data), accepted)


@relaxed
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_read_alike(data: bytes, is_of_a_type: bool) -> None:
    if is_of_a_type and data:
        data = bytes((data[0] & 0x8F | 0x10,)) + data[1:]
    assert isinstance(Both().read(data), str)


@relaxed
@given(st.lists(sequences, max_size=300), st.sampled_from([1, 2, 7, 32, 63, 64, 65, 256, 1000]))
def test_the_windows_agree(drawn: list[int], size: int) -> None:
    plain, window = replay.ReplayWindow(size), sealing.ReplayWindow(size)
    for sequence in drawn:
        assert window.is_received(sequence) is plain.is_received(sequence)
        if not plain.is_received(sequence):
            plain.advance(sequence)
            window.advance(sequence)


def test_the_reasons_are_those_of_the_protocol() -> None:
    names = ("TOO_SHORT", "INVALID_TYPE", "UNEXPECTED_TYPE", "INVALID_SEQUENCE", "REPLAYED", "NOT_AUTHENTIC")
    both = Both()
    forged = Both(key=bytes(32)).write(5, 1, b"x")
    both.read(both.write(5, 9, b"x"))
    data = (b"", b"\x17" * 20, b"\x14" * 20, b"\x05" * 20, both.write(5, 9, b"y"), forged)
    for name, datagram in zip(names, data, strict=True):
        accepted = accepted_types(PacketType.PAYLOAD)
        reason = sealing.read_packet(datagram, both.cipher, accepted, both.window)
        assert reason == getattr(DropReason, name)
    odd = sealing.write_packet(5, 10, b"", both.cipher)
    assert sealing.read_packet(odd, both.cipher, ALL_TYPES, both.window) == DropReason.WRONG_SIZE


@pytest.mark.parametrize(("packet_type", "sequence"), [(5, 2**64), (5, -1), (2**70, 0)])
def test_numbers_that_a_packet_cannot_hold(packet_type: int, sequence: int) -> None:
    both = Both()
    for write, cipher in (
        (packet.write_packet, both.plain_cipher),
        (sealing.write_packet, both.cipher),
    ):
        with pytest.raises(Exception):  # noqa: B017 - each has its own way, and no packet comes of it
            write(packet_type, sequence, b"x", cipher)  # type: ignore[arg-type]


def test_what_is_no_cipher_window_or_key_is_refused() -> None:
    both = Both()
    data = both.write(5, 1, b"x")
    for arguments in (
        (data, both.plain_cipher, ALL_TYPES, None),
        (data, both.cipher, ALL_TYPES, both.plain_window),
        (data, both.cipher, (True,), None),
        (data, both.cipher, None, None),
        ("text", both.cipher, ALL_TYPES, None),
        (data, both.cipher, ALL_TYPES),
    ):
        with pytest.raises(TypeError):
            sealing.read_packet(*arguments)  # type: ignore[arg-type,call-arg]
    for key, associated_data in ((b"short", ASSOCIATED_DATA), (KEY, (b"",)), (KEY, ("",) * 256), (KEY, None)):
        with pytest.raises((TypeError, ValueError)):
            sealing.PacketCipher(key, associated_data)  # type: ignore[arg-type]
    for size in (0, -1, 2**40):
        with pytest.raises(ValueError):
            sealing.ReplayWindow(size)


def test_a_cipher_goes_with_its_last_reference() -> None:
    associated_data = crypto.packet_associated_data(78)
    before = sys.getrefcount(associated_data)
    cipher = sealing.PacketCipher(KEY, associated_data)
    sealing.write_packet(5, 1, b"x", cipher)
    assert sys.getrefcount(associated_data) == before + 1
    assert any(thing is cipher for thing in gc.get_objects()), "test_fork looks for keys there"
    del cipher
    assert sys.getrefcount(associated_data) == before


def test_calls_leave_nothing_behind() -> None:
    forged = Both(key=bytes(32)).write(5, 1, b"x")

    def calls(count: int) -> int:
        both = Both()
        for sequence in range(count):
            data = sealing.write_packet(5, sequence, bytes(60), both.cipher)
            assert sealing.read_packet(data, both.cipher, ALL_TYPES, both.window) == (5, sequence, bytes(60))
            sealing.read_packet(data, both.cipher, ALL_TYPES, both.window)
            sealing.read_packet(forged, both.cipher, ALL_TYPES, None)
            sealing.PacketCipher(KEY, ASSOCIATED_DATA)
            sealing.ReplayWindow(256)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = calls(100)
        assert calls(5000) - before < 20_000
    finally:
        tracemalloc.stop()
