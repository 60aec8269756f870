"""How a client's state follows the server's: deltas against a state that the client has, or soon has.

An update names its base. The receiver applies it to exactly that state, or not at all, so it can never
diverge; what it applied last it says in a state acknowledgement, and only that moves the sender's
*acknowledged base* on. A client without one, or too far behind for the store's cache, gets the full state.

On a path that loses nothing a delta is made against the state sent last, the *expected base*, so that each
change is sent once. As soon as anything says that an update did not get through, deltas are made
against the acknowledged base again, and for `Config.state_distrust_s` from then on: each holds all
changes since that base, so that a lost packet costs nothing but a little staleness. The receiver keeps
its states from the acknowledged base on for that.

What does not fit into a few packets goes as a transfer: resent until complete, one at a time. Meanwhile
the sender merges the updates since by itself, so that a transfer that outlasts the store's cache is
followed by a delta, and not by another full state.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from pygase_gevent.changes import apply_changes, combine_changes
from pygase_gevent.codec import decode, pack
from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError, DecodeError
from pygase_gevent.gamestate import GameState, GameStatus, check_names
from pygase_gevent.protocol.frames import CLOCK_STEP_US, FULL
from pygase_gevent.protocol.stateencoder import EncodedState, StateEncoder, decode_transfer_body
from pygase_gevent.protocol.statenames import KnownNames

ACK_MASK: Final = 0xFF_FFFF
"""What an acknowledgement says of a state's number."""

__all__ = ["EncodedState", "ReceivedState", "StateDrop", "StateEncoder", "StateReceiver", "StateSender"]


MAX_EXPANSION: Final = 96
"""A byte of a delta is no more than so many of a state: a number of a name of 255 bytes with its value."""


class StateSender:
    """One client's side of the server's state: which state it has, and what to send it next.

    Lives as long as the session, across drops and resumes.
    """

    def __init__(self, config: Config) -> None:
        # What every packet asks for stands first and close together, `FULL` for none: an object for a number
        # of each of a thousand clients would have left the processor's cache by the next packet.
        self._base = FULL
        self._newest_sent = FULL
        self._arrived = FULL  # newest state whose packet arrived
        self._expected = FULL  # what it should have soon; ahead of `base`
        self._waiting_since = 0.0  # the acknowledged base stands since then, though something newer was sent
        self._trusted_at = 0.0  # until then a base must be acknowledged
        self._sent_at = 0.0
        self._transfer: int | None = None  # `newest` of the transfer under way
        self._merge: _Merge | None = None
        self._encoder: StateEncoder | None = None
        self._config = config
        self.has_newest_content = False
        """Whether nothing but the `time_order` was new to it when `next_update` was last asked."""
        self.view = 0
        """How much of the encoder's names the client knows."""
        self._is_chained = False  # what was sent last stands on a base that was not acknowledged
        self.must_resend = False
        """Another update is due at once: what was sent last will be of no use, or newer states waited for the
        end of a transfer."""
        self.is_path_lossy = False
        """Whether something had been lost lately when the last update was made."""
        self._transfer_finished_at: float | None = None

    @property
    def base(self) -> int | None:
        """The newest state that the client says it has applied."""
        return None if self._base == FULL else self._base

    @property
    def is_transferring(self) -> bool:
        """Whether a transfer is under way, or what it brought is not acknowledged."""
        return self._transfer is not None

    def next_update(self, encoder: StateEncoder, now: float) -> EncodedState | None:
        """Return what the client should be sent now; it replaces whatever of an earlier one is unsent.

        If its `parts` are `None` it has to go as a transfer, which counts as begun.

        Returns:
            `None` if the client is up to date, or should be soon, or a transfer is under way, or nothing
            but the `time_order` is new and a state was sent not long ago.
        """
        self._encoder = encoder
        self.has_newest_content = self.must_resend = False
        newest = encoder.look(now)
        if self._merge is not None:
            self._merge = self._merge.extended(encoder, newest)
        if self._transfer is not None:
            finished_at = self._transfer_finished_at
            if finished_at is None or now < finished_at + self._config.transfer_grace_s:
                return None
            self.handle_transfer_lost()  # it arrived, but could not be applied
        base = self._next_base(now)
        if base == newest:
            self.has_newest_content = base == self._base
            return None
        if self._merge is not None and self._merge.base == base:
            encoded = encoder.encode_changes(base, self._merge.changes, self.view)
        else:
            encoded = encoder.encode(base, self.view)
        self.has_newest_content = encoded.is_empty and base == self._base
        if encoded.is_empty and now < self._sent_at + self._config.keepalive_s:
            return None
        self._note_sent(encoded, now)
        return encoded

    def _next_base(self, now: float) -> int:
        expected = self._expected
        if expected == FULL or self._base == FULL or now < self._trusted_at:
            return self._base
        config = self._config
        if now >= self._sent_at + config.keepalive_s or now >= self._waiting_since + config.state_patience_s:
            return self._base  # it should have been acknowledged by now
        return expected

    def _note_sent(self, encoded: EncodedState, now: float) -> None:
        newest = encoded.newest
        if self._newest_sent <= self._base:
            self._waiting_since = now
        self._newest_sent = newest
        self._sent_at = now
        self.is_path_lossy = now < self._trusted_at
        self._is_chained = encoded.base is not None and encoded.base != self._base
        self._expected = newest
        if encoded.parts is None:
            self._expected = FULL
            self._transfer = newest
            self._merge = _Merge(newest, newest, {})

    def receive_ack(self, newest: int, now: float) -> None:
        """Take a state acknowledgement, of which the lower 24 bits are enough. Nonsense is ignored."""
        acknowledged = self._newest_sent - (self._newest_sent - newest & ACK_MASK)
        if acknowledged > self._base:
            self._move_base(acknowledged, now)
        if self._arrived > self._base > FULL:
            self.handle_loss(now)  # it arrived and was not applied: its base is missing
            self._arrived = self._base

    def _move_base(self, acknowledged: int, now: float) -> None:
        self._base = acknowledged
        self._waiting_since = now
        if self._expected <= acknowledged:
            self._expected = FULL
        if self._transfer is not None and acknowledged >= self._transfer:
            self._transfer = self._transfer_finished_at = None
            self.must_resend = self._encoder is not None and acknowledged != self._encoder.newest
        if self._merge is not None and acknowledged > self._merge.base:
            self._merge = None  # what the client has is new enough for the store's cache again

    def handle_arrival(self, newest: int) -> None:
        """A packet with a whole update arrived; whether it was applied the next acknowledgement says."""
        if newest > self._arrived:
            self._arrived = newest

    def handle_loss(self, now: float) -> None:
        """An update did not get through: what was sent on top of it is of no use either."""
        self._trusted_at = now + self._config.state_distrust_s
        if self._expected != FULL:
            self._expected = FULL
            self.must_resend = self._is_chained

    def handle_unsent(self) -> None:
        """The update returned last did not leave as a whole."""
        self._expected = FULL

    def handle_transfer_finished(self, now: float) -> None:
        """All of the transfer has arrived. Its state acknowledgement may still be on its way."""
        self._transfer_finished_at = now

    def handle_transfer_lost(self) -> None:
        """The transfer under way was given up."""
        self._transfer = self._transfer_finished_at = self._merge = None

    def handle_attach(self, now: float) -> None:
        """A fresh connection stands: what was sent last may be sent again at once."""
        self._sent_at = now - self._config.keepalive_s
        self._expected = FULL
        self._arrived = FULL

    def next_timer(self) -> float | None:
        """When `handle_timer` is due: something sent, or a change of `time_order`, is not acknowledged."""
        if self._encoder is None:
            return None
        if self._transfer is not None:
            finished_at = self._transfer_finished_at
            return None if finished_at is None else finished_at + self._config.transfer_grace_s
        if self._base == self._encoder.newest:
            return None
        return self._sent_at if self.must_resend else self._sent_at + self._config.keepalive_s

    def handle_timer(self, now: float) -> EncodedState | None:
        """Return what the client should be sent again, as `next_update` does."""
        encoder = self._encoder
        if encoder is None:
            return None
        encoder.look(now)  # a state that changes nothing is not queued, and seen here first
        due = self.next_timer()
        if due is None or now < due:
            return None
        return self.next_update(encoder, now)


@dataclass(frozen=True, slots=True)
class _Merge:
    """All changes from a transfer's state on, kept for one client."""

    base: int
    newest: int
    changes: dict[str, Any]

    def extended(self, encoder: StateEncoder, newest: int) -> _Merge | None:
        update = encoder.store.merged_update(self.newest, newest)
        if update is None:
            return None
        return _Merge(self.base, newest, combine_changes(self.changes, update.to_dict()))


class StateDrop(str, enum.Enum):
    """Why a state update, or a part of one, was dropped."""

    STALE = "state not newer than the one applied"
    UNKNOWN_BASE = "state update for a base that is not here"
    CROWDED = "state part beyond max_state_assemblies"
    BAD_PART = "state part that contradicts another"
    TOO_LARGE = "state larger than max_state_bytes"
    BAD_BLOB = "state that cannot be decoded"


@dataclass(frozen=True, slots=True)
class ReceivedState:
    """A state as it came from the server, whose game clock then stood at `server_time` seconds."""

    state: GameState
    server_time: float


class StateReceiver:
    """The client's side: puts updates together and applies them. It never goes back in time.

    Attributes:
        newest: `time_order` of the state applied last, for the state acknowledgement. One should follow
            every payload with a state frame, also with one that was dropped: that tells the sender
            which base to use.
        names: what stands short in deltas.
        drops: what was dropped, by `StateDrop`.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.newest: int | None = None
        self.drops: Counter[StateDrop] = Counter()
        self._states: dict[int, dict[str, Any]] = {}  # possible bases, oldest first
        self._size_bounds: dict[int, int] = {}  # of each of these, in bytes
        self._clocks: dict[int, int] = {}  # of each of these, the server's then
        self.names = KnownNames(config)
        self._assemblies: dict[tuple[int, int | None], _Assembly] = {}

    def receive_part(
        self, newest: int, distance: int, index: int, count: int, clock_us: int, data: bytes
    ) -> ReceivedState | None:
        """Take a part of an update, as `frames` parsed it; return the state if that makes a new one.

        Args:
            newest: the state it leads to; of a delta's the lower 32 bits are enough.
            distance: how far the base lies behind it; `frames.FULL` for a full state.
            index: which part this is.
            count: how many there are.
            clock_us: the server's clock, in the part with index 0.
            data: the part.
        """
        base = None
        if distance != FULL:
            newest = self._expand(newest, 32)
            base = newest - distance
        if not self._is_usable(base, newest):
            return None
        if count == 1:
            return self._apply(base, newest, clock_us, data)
        assembly = self._find_assembly((newest, base), count)
        if assembly is None:
            return None
        if assembly.count != count or assembly.parts.setdefault(index, data) != data:
            self._drop(StateDrop.BAD_PART)
            return None
        if index == 0:
            assembly.clock_us = clock_us
        if len(assembly.parts) < count:
            return None
        blob = b"".join(assembly.parts[i] for i in range(count))
        del self._assemblies[newest, base]
        return self._apply(base, newest, assembly.clock_us, blob)

    def receive_step(self, newest: int, distance: int, clock_steps: int, data: bytes) -> ReceivedState | None:
        """Take a whole update in its short form, with 24 bits of `newest`; return the state if it is new."""
        newest = self._expand(newest, 24)
        base = newest - distance
        if not self._is_usable(base, newest):
            return None
        return self._apply(base, newest, self._clocks[base] + clock_steps * CLOCK_STEP_US, data)

    def receive_transfer(self, body: bytes) -> ReceivedState | None:
        """Take a complete transfer; return the state if that makes a new one."""
        try:
            base, newest, clock_us, blob = decode_transfer_body(body)
        except DecodeError:
            self._drop(StateDrop.BAD_BLOB)
            return None
        if not self._is_usable(base, newest):
            return None
        return self._apply(base, newest, clock_us, blob)

    def _expand(self, truncated: int, bits: int) -> int:
        """The number nearest to the newest state that has these lower bits."""
        reference = self.newest or 0
        ahead = truncated - reference & (1 << bits) - 1
        return reference + (ahead if not ahead >> bits - 1 else ahead - (1 << bits))

    def _is_usable(self, base: int | None, newest: int) -> bool:
        if self.newest is not None and newest <= self.newest:
            self._drop(StateDrop.STALE)
            return False
        if base is not None and base not in self._states:
            self._drop(StateDrop.UNKNOWN_BASE)
            return False
        return True

    def _find_assembly(self, key: tuple[int, int | None], count: int) -> _Assembly | None:
        assembly = self._assemblies.get(key)
        if assembly is None:
            if len(self._assemblies) >= self._config.max_state_assemblies:
                oldest = min(self._assemblies, key=lambda known: known[0])
                self._drop(StateDrop.CROWDED)
                if oldest[0] > key[0]:
                    return None
                del self._assemblies[oldest]
            assembly = self._assemblies[key] = _Assembly(count)
        return assembly

    def _apply(self, base: int | None, newest: int, clock_us: int, blob: bytes) -> ReceivedState | None:
        if len(blob) > self._config.max_state_bytes:
            self._drop(StateDrop.TOO_LARGE)
            return None
        try:
            content = self._decode(base, blob)
        except (DecodeError, ArgumentError, ArgumentTypeError):
            self._drop(StateDrop.BAD_BLOB)
            return None
        bound_bytes = self._size_bound(content, base, len(blob))
        if bound_bytes > self._config.max_state_bytes:
            self._drop(StateDrop.TOO_LARGE)
            return None
        self._states[newest] = content
        self._size_bounds[newest] = bound_bytes
        self._clocks[newest] = clock_us
        if len(self._states) > self._config.max_client_states:
            self._forget(list(self._states)[1:-1:2])
        for key in [key for key in self._assemblies if key[0] <= newest]:
            del self._assemblies[key]
        self.newest = newest
        return ReceivedState(GameState.from_dict(newest, content), clock_us / 1e6)

    def handle_confirmed(self, newest: int) -> None:
        """The sender has heard of this state, and its base never goes back.

        Updates on earlier ones may still be on their way: a few of these stay, for a path that reorders.
        """
        earlier = [known for known in self._states if known < newest]
        self._forget(earlier[: -self._config.reordered_bases])

    def _forget(self, numbers: list[int]) -> None:
        for number in numbers:
            del self._states[number]
            del self._size_bounds[number]
            del self._clocks[number]

    def _size_bound(self, content: dict[str, Any], base: int | None, growth_bytes: int) -> int:
        """How large a state is at the most: its base's bound and the growth, or measured if need be."""
        # Names that stand as numbers, and packed records, are longer in a state than on the wire.
        bound_bytes = growth_bytes if base is None else self._size_bounds[base] + growth_bytes * MAX_EXPANSION
        return bound_bytes if bound_bytes <= self._config.max_state_bytes else len(pack(content))

    def _decode(self, base: int | None, blob: bytes) -> dict[str, Any]:
        # A state's items are bounded by its bytes.
        if base is None:
            changes = decode(blob, config=self._config, max_items=len(blob))
        else:
            changes = self.names.decode_changes(blob)
        if not isinstance(changes, dict):
            raise DecodeError("a state is a dict")
        check_names(changes)
        if base is None or "game_status" in changes:
            changes["game_status"] = GameStatus.check(changes.get("game_status"))
        return changes if base is None else apply_changes(self._states[base], changes)

    def _drop(self, reason: StateDrop) -> None:
        self.drops[reason] += 1


class _Assembly:
    __slots__ = ("clock_us", "count", "parts")

    def __init__(self, count: int) -> None:
        self.count = count
        self.clock_us = 0
        self.parts: dict[int, bytes] = {}
