"""State updates as bytes, encoded once for all clients that need the same one.

A blob is an encoded dict: all attributes of a full state, or the changes of a delta, with marks. In a
transfer a header stands before it: base, newest and server clock, 8 bytes each.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from pygase_gevent.codec import pack
from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError
from pygase_gevent.gamestate import GameStateStore
from pygase_gevent.protocol.frame_writer import encode_state_part, encode_state_step
from pygase_gevent.protocol.frames import CLOCK_STEP_US, FULL, MAX_STATE_PART_BYTES
from pygase_gevent.protocol.layout import NAME_NUMBERS
from pygase_gevent.protocol.statenames import CannotShorten, StateNames

_TRANSFER_HEADER: Final = struct.Struct("<QQQ")
_NO_BASE: Final = 2**64 - 1

MAX_DISTANCE: Final = 0xFFFF
"""How far the base of an update in parts may lie behind it: 16 bits on the wire."""
MAX_STEP_DISTANCE: Final = 0xFF
"""The same of an update in one short frame."""
MAX_CLOCK_STEPS: Final = 0xFFFF
"""How far the clock of its base may lie behind, in steps of `CLOCK_STEP_US`."""


class EncodedState:
    """One update as it goes to every client with the same base.

    Attributes:
        base: `time_order` of the state that it applies to; `None` for a full state.
        newest: `time_order` of the state that it leads to.
        clock_us: the server's clock when that state was first seen.
        blob: the encoded attributes or changes.
        is_empty: whether it changes nothing but the `time_order`.
        parts: the blob cut for at most `max_parts` packets; `None` if it must go as a transfer.
        step_frame: all of it as one short frame that has to be its payload's last; empty if it cannot be.
    """

    __slots__ = (
        "_frames",
        "_transfer_body",
        "base",
        "blob",
        "clock_us",
        "is_empty",
        "newest",
        "parts",
        "step_frame",
    )

    def __init__(
        self,
        base: int | None,
        newest: int,
        clock_us: int,
        blob: bytes,
        is_empty: bool,
        max_parts: int,
        base_clock_us: int = -1,
    ) -> None:
        self.base = base
        self.newest = newest
        self.clock_us = clock_us
        self.blob = blob
        self.is_empty = is_empty
        self.parts: tuple[bytes, ...] | None = None
        self._transfer_body = b""
        is_far = base is not None and newest - base > MAX_DISTANCE
        if len(blob) <= max_parts * MAX_STATE_PART_BYTES and not is_far:
            starts = range(0, len(blob), MAX_STATE_PART_BYTES)
            self.parts = tuple(blob[start : start + MAX_STATE_PART_BYTES] for start in starts)
        self.step_frame = b""
        self._frames: tuple[bytes, ...] = ()
        clock_steps = (clock_us - base_clock_us) // CLOCK_STEP_US
        if (
            base is not None
            and base_clock_us >= 0
            and 0 <= clock_steps <= MAX_CLOCK_STEPS
            and newest - base <= MAX_STEP_DISTANCE
            and len(blob) <= MAX_STATE_PART_BYTES
            and max_parts
        ):
            self.step_frame = encode_state_step(newest, newest - base, clock_steps, blob)

    @property
    def frames(self) -> tuple[bytes, ...]:
        """A frame for each part; made once, however many clients get them."""
        if not self._frames:
            distance = FULL if self.base is None else self.newest - self.base
            parts = self.parts or (b"",)
            self._frames = tuple(
                [
                    encode_state_part(self.newest, distance, index, len(parts), self.clock_us, part)
                    for index, part in enumerate(parts)
                ]
            )
        return self._frames

    @property
    def is_full(self) -> bool:
        """Whether it is a full state."""
        return self.base is None

    @property
    def transfer_body(self) -> bytes:
        """Header and blob, for a transfer; made once, however many clients get it."""
        if not self._transfer_body:
            base = _NO_BASE if self.base is None else self.base
            self._transfer_body = _TRANSFER_HEADER.pack(base, self.newest, self.clock_us) + self.blob
        return self._transfer_body


def decode_transfer_body(body: bytes) -> tuple[int | None, int, int, bytes]:
    """Return base, newest, server clock and blob of a transfer.

    Raises:
        DecodeError: it is too short.
    """
    if len(body) < _TRANSFER_HEADER.size:
        raise DecodeError("a state transfer without its header")
    base, newest, clock_us = _TRANSFER_HEADER.unpack_from(body)
    return (None if base == _NO_BASE else base), newest, clock_us, body[_TRANSFER_HEADER.size :]


class StateEncoder:
    """Encodes a store's newest state against any base, once per (view, base, newest).

    Attributes:
        store: where the states come from.
        names: what stands short in deltas.

    Args:
        store: where the states come from.
        config: for `max_state_packets`.
        server_clock_us: the server's game clock in microseconds, given `now`.
    """

    def __init__(
        self, store: GameStateStore, *, config: Config, server_clock_us: Callable[[float], int]
    ) -> None:
        self.store = store
        self.names = StateNames(store.schema, config)
        self._config = config
        self._server_clock_us = server_clock_us
        self._snapshot: object = None  # the store's, when it was last looked at
        self._state, self._version = store.snapshot
        self._newest = -1
        self._clock_us = 0
        self._clocks: dict[int, int] = {}  # of the states looked at lately
        self._cache: dict[int, EncodedState] = {}  # for the newest, by view and base in one number
        self._last_key = -1
        self._last: EncodedState | None = None  # of the cache, asked for last: most clients want the same
        self._full_blob = b""
        self._full_version = -1

    def look(self, now: float) -> int:
        """Take the store's newest state as the one to encode; return its `time_order`."""
        snapshot = self.store.snapshot
        if snapshot is self._snapshot:  # as nearly always: each client asks
            return self._newest
        self._snapshot = snapshot
        self._state, self._version = snapshot
        self._newest = self._state.time_order
        self._clock_us = self._server_clock_us(now) // CLOCK_STEP_US * CLOCK_STEP_US
        self._clocks[self._newest] = self._clock_us
        if len(self._clocks) > self._config.update_cache_size:
            del self._clocks[next(iter(self._clocks))]
        self._cache.clear()
        self._last = None
        self.names.publish(now)
        return self._newest

    @property
    def newest(self) -> int:
        """`time_order` of the state last looked at."""
        return self._newest

    def encode(self, base: int, view: int = 0) -> EncodedState:
        """Encode the state last looked at against `base`; in full if the store's cache does not reach so far.

        Args:
            base: `time_order` of a state that the client has, or `FULL`.
            view: how much of `names` the client knows.
        """
        key = base * (NAME_NUMBERS + 1) + view
        encoded = self._last
        if encoded is not None and key == self._last_key:
            return encoded
        encoded = self._cache.get(key)
        if encoded is None:
            update = None if base == FULL else self.store.merged_update(base, self._newest)
            encoded = (
                self._encode_full() if update is None else self.encode_changes(base, update.to_dict(), view)
            )
            self._cache[key] = encoded
        self._last_key, self._last = key, encoded
        return encoded

    def encode_changes(self, base: int, changes: dict[str, Any], view: int) -> EncodedState:
        """Encode changes that lead from `base` to the state last looked at, for one client only.

        A merge of many updates can outgrow the state itself, as far as its size is known: then that.
        """
        try:
            blob = pack(self.names.shortened(changes, view))
        except CannotShorten:
            return self._encode_full()
        if len(blob) > len(self._full_blob) > 0:
            return self._encode_full()
        return self._make(base, blob, not changes)

    def _encode_full(self) -> EncodedState:
        if self._version != self._full_version:
            self._full_blob = pack(self._state.to_dict())
            self._full_version = self._version
        return self._make(None, self._full_blob, False)

    def _make(self, base: int | None, blob: bytes, is_empty: bool) -> EncodedState:
        return EncodedState(
            base,
            self._newest,
            self._clock_us,
            blob,
            is_empty,
            self._config.max_state_packets,
            -1 if base is None else self._clocks.get(base, -1),
        )
