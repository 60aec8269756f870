"""Decoder bombs: datagrams that say little and would cost much. What each may cost has a limit.

`python -m tests.fuzz bombs` prints what they do cost.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

from pygase_gevent import calls, codec
from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError
from pygase_gevent.event import Event
from pygase_gevent.protocol.frame_writer import (
    encode_fragment_prefix,
    encode_message,
    encode_state_fragment_prefix,
    encode_state_part,
    encode_ticket,
)
from pygase_gevent.protocol.frames import FULL, MAX_INLINE_BYTES, MAX_STATE_PART_BYTES
from pygase_gevent.protocol.layout import FRAGMENT_LAYOUT, ORDERED, RELIABLE, SEQUENCED, UNRELIABLE
from pygase_gevent.protocol.netcode.crypto import VERSION_INFO
from pygase_gevent.protocol.netcode.token import CONNECT_TOKEN_BYTES, ConnectToken
from pygase_gevent.protocol.session import Session
from pygase_gevent.protocol.stateencoder import decode_transfer_body
from tests.fuzz.measure import BOMB_BYTES, DENSE_BYTES, KIB, Cost, cost_of

CONFIG = Config()
TIME_LIMIT_MS = 5.0
ROUNDS = 5
HEADER = b"\x00"


@dataclass(frozen=True)
class Bomb:
    """A datagram's worth of bytes, and what reads it.

    Attributes:
        read: reads a fresh copy; made anew for each reading.
        is_dense: it is no bomb: a value that an honest peer might send, of as many objects as bytes allow.
    """

    name: str
    data: bytes
    read: Callable[[bytes], Callable[[], object]]
    is_dense: bool = False

    @property
    def limit_bytes(self) -> int:
        return DENSE_BYTES if self.is_dense else BOMB_BYTES

    def cost(self) -> Cost:
        # Two readings, of which each starts anew.
        readings = iter([self.read(self.data), self.read(self.data)])
        return cost_of(lambda: next(readings)())

    def fastest_ms(self) -> float:
        times = []
        for _ in range(ROUNDS):
            reading = self.read(self.data)
            gc.collect()
            start = time.perf_counter()
            reading()
            times.append(time.perf_counter() - start)
        return min(times) * 1000


def report() -> int:
    """Prints what each costs; 1 if any costs too much."""
    is_over = False
    print(f"{'':46}{'bytes':>6}{'ms':>8}{'KiB':>7}{'calls':>7}")
    for bomb in all_bombs():
        cost = bomb.cost()
        spent_ms = bomb.fastest_ms()
        is_bad = cost.peak_bytes > bomb.limit_bytes or spent_ms > TIME_LIMIT_MS
        is_over = is_over or is_bad
        peak = cost.peak_bytes / KIB
        mark = "  OVER THE LIMIT" if is_bad else ""
        print(f"{bomb.name:46}{len(bomb.data):6}{spent_ms:8.3f}{peak:7.1f}{cost.calls:7}{mark}")
    print(f"limits: {TIME_LIMIT_MS} ms and {BOMB_BYTES // KIB} KiB; dense ones {DENSE_BYTES // KIB} KiB")
    return int(is_over)


def all_bombs() -> list[Bomb]:
    return [*_values(), *_dense_values(), *_payloads(), *_tokens()]


# --- values of codec ------------------------------------------------------------------------------------


def _fill(head: bytes, item: bytes, tail: bytes = b"", size: int = MAX_INLINE_BYTES) -> bytes:
    return head + item * ((size - len(head) - len(tail)) // len(item)) + tail


def _event(value: bytes) -> bytes:
    return b"\x93\xa1E\x91" + value + b"\x80"


VALUES = {
    "lists of 1152 in each other (array16)": _fill(b"", b"\xdc\x04\x80"),
    "lists of 1024 in each other (array32)": _fill(b"", b"\xdd\x00\x00\x04\x00"),
    "lists of 2**32 - 1 in each other": _fill(b"", b"\xdd\xff\xff\xff\xff"),
    "lists of 15 in each other": _fill(b"", b"\x9f"),
    "lists of one, 1000 deep": b"\x91" * 1000 + b"\xc0",
    "dicts of one, 570 deep": b"\x81\x00" * 570 + b"\xc0",
    "dicts of 15 in each other": _fill(b"", b"\x8f\x00"),
    "dicts as keys of dicts": _fill(b"", b"\x81"),
    "a dict of 2**32 - 1": b"\xdf\xff\xff\xff\xff" + bytes(1000),
    "text of 2**32 - 1 bytes": b"\xdb\xff\xff\xff\xff" + bytes(1000),
    "bytes of 2**32 - 1 bytes": b"\xc6\xff\xff\xff\xff" + bytes(1000),
    "an extension of 2**32 - 1 bytes": b"\xc9\xff\xff\xff\xff\x02" + bytes(1000),
    "unknown extensions": _fill(b"\xdc\x01\x80", b"\xd4\x07\x00"),
    "timestamps": _fill(b"\xdc\x00\xc0", b"\xd6\xff\0\0\0\1"),
    "the same key 570 times": _fill(b"\xde\x02\x3a", b"\x01\xc0"),
    "empty lists, then one key of bytes": _fill(b"\xdc\x01\xf0", b"\x90", b"\x81\xc4\x00\xc0", 500),
}
MARKED = {
    "Replace around lists in each other": b"\x81\xa1a\xc8\x04\x60\x02" + b"\x9f" * 1120,
    "Replace in Replace": b"\x81\xa1a\xc7\x05\x02\xc7\x02\x02\x90\x90",
    "Replace around long lists": b"\x81\xa1a\xc8\x04\x5f\x02" + b"\xdc\x04\x60" * 373,
}
DENSE = {
    "1150 empty dicts": _fill(b"\xdc\x04\x79", b"\x80", size=1148),
    "1150 empty lists": _fill(b"\xdc\x04\x79", b"\x90", size=1148),
    "380 dicts of one, keys numbers": _fill(b"\xdc\x01\x7c", b"\x81\x00\xc0", size=1143),
    "285 dicts of one, keys text": _fill(b"\xdc\x01\x1c", b"\x81\xa1a\xc0", size=1139),
    "lists of one": _fill(b"\xdc\x02\x3c", b"\x91\x00", size=1147),
    "570 big numbers": _fill(b"\xdc\x00\xe4", b"\xce\x7f\xff\xff\xff", size=1143),
}


def _values() -> list[Bomb]:
    bombs = []
    for name, value in VALUES.items():
        bombs.append(Bomb(f"event: {name}", _event(value)[:MAX_INLINE_BYTES], _read_event))
    for name, value in MARKED.items():
        bombs.append(Bomb(f"state: {name}", value[:MAX_STATE_PART_BYTES], _read_delta))
    some = VALUES["lists of 15 in each other"]
    bombs.append(Bomb("call: lists of 15 in each other", (b"\0\0\0\0" + some)[:MAX_INLINE_BYTES], _read_call))
    bombs.append(Bomb("result: lists of 15 in each other", bytes(5) + some[:1150], _read_result))
    return bombs


def _dense_values() -> list[Bomb]:
    return [Bomb(f"dense: {name}", _event(value), _read_event, True) for name, value in DENSE.items()]


def _read_event(data: bytes) -> Callable[[], object]:
    return lambda: _refused(lambda: Event.from_bytes(data, CONFIG))


def _read_delta(data: bytes) -> Callable[[], object]:
    return lambda: _refused(lambda: codec.decode(data, config=CONFIG, marks=True))


def _read_call(data: bytes) -> Callable[[], object]:
    return lambda: _refused(lambda: calls.decode_call(data, config=CONFIG))


def _read_result(data: bytes) -> Callable[[], object]:
    return lambda: _refused(lambda: calls.decode_result(data, config=CONFIG))


def _refused(read: Callable[[], object]) -> object:
    try:
        return read()
    except DecodeError:
        return None


# --- payloads -------------------------------------------------------------------------------------------


def _payload(*frames: bytes) -> bytes:
    """As many of these as fit."""
    data = HEADER
    for frame in frames:
        if len(data) + len(frame) > 1200:
            break
        data += frame
    return data


def _last_fragments(delivery: int, kind: int) -> bytes:
    """The last fragments, of one byte, of as many messages of 1 MiB as fit."""
    count = CONFIG.max_event_bytes // 256
    frames = []
    for number in range(100):
        place = FRAGMENT_LAYOUT.pack(count - 1, count, 256 * (count - 1) + 1)
        frames.append(encode_fragment_prefix(delivery, kind, number, number) + place + b"x")
    return _payload(*frames)


def _last_state_fragments() -> bytes:
    count = 65_535
    place = FRAGMENT_LAYOUT.pack(count - 1, count, 256 * (count - 1) + 1)
    return _payload(*(encode_state_fragment_prefix(number) + place + b"x" for number in range(100)))


def _payloads() -> list[Bomb]:
    parts = (encode_state_part(number, FULL, 254, 255, 0, b"") for number in range(100))
    early = (encode_message(ORDERED, 0, number, 99, b"") for number in range(300))
    streams = (encode_message(SEQUENCED, 0, number, 0, b"") for number in range(300))
    far = (encode_message(RELIABLE, 0, 0, 4095 - number, b"") for number in range(300))
    retried = (encode_message(UNRELIABLE, 0, 0, 2**31 - 1 - number, b"") for number in range(300))
    state = encode_state_part(1, FULL, 0, 1, 0, VALUES["lists of 15 in each other"][:MAX_STATE_PART_BYTES])
    two = (encode_state_part(2 + number, 1, 0, 1, 0, b"\x80") for number in range(50))
    half = encode_state_part(1, FULL, 0, 1, 0, b"\x82\xabgame_status\x00\xa1a\xdc\xff\xff")
    from_client = {
        "1199 pings": HEADER + b"\x01" * 1199,
        "empty messages": HEADER + b"\x80\x00" * 599,
        "ends of 80 messages of 1 MiB, reliable": _last_fragments(RELIABLE, 0),
        "ends of 80 calls of 1 MiB": _last_fragments(RELIABLE, 1),
        "ends of 80 messages of 1 MiB, ordered": _last_fragments(ORDERED, 0),
        "ends of 80 messages of 1 MiB, unreliable": _last_fragments(UNRELIABLE, 0),
        "an acknowledgement of what was never sent": b"\x07" + b"\xff" * 14,
        "a fragment of 65535": HEADER + b"\x92\0\0" + b"\xff" * 1190,
    }
    from_server = {
        "ends of 100 states of 16 MiB": _last_state_fragments(),
        "last of 255 parts, of 80 states": _payload(*parts),
        "a state of lists in each other": _payload(state),
        "half a state": _payload(half),
        "50 deltas, each on the one before": _payload(*two),
        "100 tickets": _payload(*(encode_ticket(number, b"t") for number in range(200))),
    }
    dense = {
        "512 messages without a body": HEADER + b"\x80\x00" * 512,
        "200 ordered streams, all early": _payload(*early),
        "170 sequenced streams": _payload(*streams),
        "numbers at the far end of the window": _payload(*far),
        "numbers far away": _payload(*retried),
    }
    return [
        *(Bomb(f"payload: {name}", data, _read_as_server) for name, data in from_client.items()),
        *(Bomb(f"dense: {name}", data, _read_as_server, True) for name, data in dense.items()),
        *(Bomb(f"payload: {name}", data, _read_as_client) for name, data in from_server.items()),
    ]


def _read_as_server(payload: bytes) -> Callable[[], object]:
    return _reader(payload, True)


def _read_as_client(payload: bytes) -> Callable[[], object]:
    return _reader(payload, False)


def _reader(payload: bytes, is_server: bool) -> Callable[[], object]:
    session = Session(config=CONFIG, is_server=is_server, now=0.0)
    session.attach(0.0)
    return lambda: session.receive_payload(0, payload, 0.0)


# --- tokens and transfers -------------------------------------------------------------------------------


def _tokens() -> list[Bomb]:
    many = (VERSION_INFO + bytes(1084 - len(VERSION_INFO)) + b"\xff" * 4).ljust(CONNECT_TOKEN_BYTES, b"\1")
    full = VERSION_INFO + bytes(1084 - len(VERSION_INFO)) + b"\x20\0\0\0" + (b"\2" + bytes(18)) * 32
    return [
        Bomb("token: 2**32 - 1 addresses", many, _read_token),
        Bomb("token: 32 addresses", full.ljust(CONNECT_TOKEN_BYTES, b"\1"), _read_token),
        Bomb("transfer: nothing but its header", b"\xff" * 24, _read_transfer),
    ]


def _read_token(data: bytes) -> Callable[[], object]:
    return lambda: _refused(lambda: ConnectToken.from_bytes(data))


def _read_transfer(data: bytes) -> Callable[[], object]:
    return lambda: _refused(lambda: decode_transfer_body(data))
