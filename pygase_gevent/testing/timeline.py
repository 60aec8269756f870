"""Virtual time: what is to happen, in order, and a hash over what did."""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

_TIME = struct.Struct("<dI")


class Timeline:
    """A clock that stands still but for `run`, and callbacks at times of it.

    Attributes:
        now: seconds, monotonic.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, callback: Callable[..., object], *arguments: Any) -> None:
        """Calls `callback(*arguments)` at that time; what has the same time keeps its order."""
        self._count += 1
        heappush(self._heap, (max(when, self.now), self._count, callback, arguments))

    def after(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> None:
        """Calls `callback(*arguments)` that much later."""
        self.at(self.now + delay_s, callback, *arguments)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Lets time pass; true as soon as `until()` holds."""
        end = self.now + seconds
        heap = self._heap
        if until is not None and until():
            return True
        while heap and heap[0][0] <= end:
            when, _, callback, arguments = heappop(heap)
            self.now = when
            callback(*arguments)
            if until is not None and until():
                return True
        self.now = end
        return False


class Trace:
    """A hash over everything that happened, and the last of it in words.

    Two runs with the same seed have the same hash, or something in them is not determined by the seed.

    Attributes:
        entries: how many there were.
        recent: the last ones: (time, what, who, bytes or words).
    """

    def __init__(self, keep: int = 400) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.entries = 0
        self.recent: deque[tuple[float, str, str, bytes | str]] = deque(maxlen=keep)

    def add(self, now: float, what: str, who: str, content: bytes | str) -> None:
        """Something happened."""
        self.entries += 1
        data = content if isinstance(content, bytes) else content.encode()
        head = f"{what} {who} ".encode()
        self._hash.update(_TIME.pack(now, len(head) + len(data)) + head + data)
        self.recent.append((now, what, who, content))

    @property
    def digest(self) -> str:
        """The hash so far, in hex."""
        return self._hash.hexdigest()

    def last_lines(self, count: int = 60) -> list[str]:
        """The last entries, for people."""
        return [
            f"{now:12.6f} {what} {who} {_in_words(content)}"
            for now, what, who, content in list(self.recent)[-count:]
        ]


def _in_words(content: bytes | str) -> str:
    if isinstance(content, str):
        return content
    return f"{len(content)} bytes, type {content[0] & 15 if content else '-'}"
