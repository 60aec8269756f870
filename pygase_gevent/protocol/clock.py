"""The server's clock as estimated by the client: the best of the last samples, approached smoothly."""

from __future__ import annotations

from typing import Final

from pygase_gevent.config import Config

SAMPLES: Final = 8
"""Samples to choose from: the one with the shortest round trip is wrong by the least."""
QUICK_SAMPLES: Final = 5
"""Samples at the start of a connection that come quickly ..."""
QUICK_INTERVAL_S: Final = 0.05
"""... at this interval."""
SLEW: Final = 0.05
"""A correction runs the clock at most this much faster or slower, so that it never jumps back."""
JUMP_S: Final = 0.25
"""A correction larger than this is made at once: the server was started anew, or the machine slept."""


class ServerClock:
    """Asks for the server's clock, and tells what it reads now."""

    __slots__ = (
        "_asked",
        "_config",
        "_corrected_at",
        "_next_number",
        "_offset_s",
        "_requests",
        "_samples",
        "_target_s",
        "due_at",
    )

    def __init__(self, config: Config) -> None:
        self._config = config
        self._requests: list[tuple[int, float]] = []
        self._samples: list[tuple[float, float]] = []
        self._next_number = 0
        self._asked = 0
        self._offset_s: float | None = None
        self._target_s = 0.0
        self._corrected_at = 0.0
        self.due_at = 0.0

    def attach(self, now: float) -> None:
        """A connection stands: ask soon, and forget samples of the old path."""
        self._requests.clear()
        self._samples.clear()
        self._asked = 0
        self.due_at = now

    def next_request(self, now: float) -> int:
        """Number of a request that leaves now."""
        number = self._next_number
        self._next_number = number + 1 & 0xFFFF
        if len(self._requests) >= self._config.max_clock_requests:
            del self._requests[0]
        self._requests.append((number, now))
        self._asked += 1
        is_quick = self._asked < QUICK_SAMPLES
        self.due_at = now + (QUICK_INTERVAL_S if is_quick else self._config.clock_interval_s)
        return number

    def receive_answer(self, number: int, clock_us: int, hold_us: int, now: float) -> bool:
        """Take the server's answer; False if nothing like it was asked."""
        for request in self._requests:
            if request[0] == number:
                break
        else:
            return False
        self._requests.remove(request)
        hold_s = hold_us / 1e6
        round_trip_s = max(0.0, now - request[1] - hold_s)
        offset_s = clock_us / 1e6 + hold_s + round_trip_s / 2 - now
        if len(self._samples) >= SAMPLES:
            del self._samples[0]
        self._samples.append((round_trip_s, offset_s))
        best = min(self._samples)[1]
        current = self.offset(now)
        if current is None or abs(best - current) > JUMP_S:
            current = best
        self._offset_s, self._target_s, self._corrected_at = current, best, now
        return True

    def offset(self, now: float) -> float | None:
        """What to add to `now` to get the server's clock, seconds."""
        if self._offset_s is None:
            return None
        step = max(0.0, now - self._corrected_at) * SLEW
        error = self._target_s - self._offset_s
        return self._offset_s + max(-step, min(step, error))

    def time(self, now: float) -> float | None:
        """The server's clock now, seconds; None before the first sample."""
        offset_s = self.offset(now)
        return None if offset_s is None else now + offset_s
