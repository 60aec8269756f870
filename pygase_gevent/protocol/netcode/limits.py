"""How many handshakes a server looks at, per source and in all."""

from __future__ import annotations

from pygase_gevent.config import Config
from pygase_gevent.protocol.address import source_of
from pygase_gevent.protocol.netcode.packet import DropReason


class HandshakeLimits:
    """Keeps a flood of connection requests from costing more decryptions than the limits allow."""

    __slots__ = ("_all", "_max_sources", "_others", "_rate", "_sources")

    def __init__(self, config: Config, now: float) -> None:
        self._rate = config.handshakes_per_source_per_s
        self._max_sources = config.max_tracked_sources
        self._all = TokenBucket(config.handshakes_per_s, now)
        self._others = TokenBucket(self._rate, now)
        self._sources: dict[str, TokenBucket] = {}
        """By source, least recently seen first."""

    def refusal(self, host: str, now: float) -> str | None:
        """Counts one request of a host: None if it may be looked at, else the `DropReason`."""
        if not self._bucket_of(source_of(host), now).take(now):
            return DropReason.SOURCE_LIMIT
        # Asked last, so that one source beyond its limit does not use up everybody's.
        return None if self._all.take(now) else DropReason.HANDSHAKE_LIMIT

    def _bucket_of(self, source: str, now: float) -> TokenBucket:
        bucket = self._sources.pop(source, None)
        if bucket is None:
            if len(self._sources) >= self._max_sources:
                oldest = next(iter(self._sources))
                if not self._sources[oldest].is_full(now):
                    return self._others
                del self._sources[oldest]
            bucket = TokenBucket(self._rate, now)
        self._sources[source] = bucket
        return bucket


class TokenBucket:
    """Lets `rate` per second pass, and at most one second's worth at once."""

    __slots__ = ("_burst", "_level", "_rate", "_time")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate)
        self._level = self._burst
        self._time = now

    def take(self, now: float) -> bool:
        self._level = self._level_at(now)
        self._time = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True

    def is_full(self, now: float) -> bool:
        return self._level_at(now) >= self._burst

    def _level_at(self, now: float) -> float:
        return min(self._burst, self._level + (now - self._time) * self._rate)
