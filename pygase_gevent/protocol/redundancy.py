"""Small reliable messages ride along in packets that leave anyway, so that a loss costs a send interval.

First go messages under suspicion: a packet sent after theirs arrived and theirs did not, yet. Then, on a
path that is known to lose, messages that were just sent, those on their second attempt included, in as many
copies as its losses ask for. All within a share of the bytes that are sent, or a floor where that is little.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from pygase_gevent.config import Config
from pygase_gevent.protocol.messages import QueuedMessage

MAX_RIDING_BYTES: Final = 256
"""Larger frames do not ride along: they would push others out."""
MAX_BUDGET_BYTES: Final = 2400
"""What may be saved up: two packets."""
LOSSY_SHARE: Final = 0.005
"""A path that loses less than this gets nothing in advance, only on suspicion."""
PACKET_OVERHEAD_BYTES: Final = 47
"""What a packet costs besides its payload: 28 bytes of IP and UDP, 19 of netcode."""
RESIDUAL_LOSS: Final = 0.004
"""A fresh message is repeated until all of its copies are lost less often than this: in an ordered stream
each loss holds up the messages of a round trip."""
REFUSED_SHARE: Final = 0.5
"""Where more seems to be lost, it is a peer without room for messages that refuses packets: with copies in
them they would have even less chance to fit."""
LONGEST_GAP_S: Final = 0.25
"""The floor of the budget counts no longer silence than this."""
MAX_COPIES: Final = 6
"""Copies of a message in flight at once."""


class Redundancy:
    """Chooses what rides along.

    Attributes:
        lost_share: share of packets lost lately, set by the session.
    """

    __slots__ = (
        "_budget_bytes",
        "_floor_bytes_per_s",
        "_fresh",
        "_max_candidates",
        "_sent_at",
        "_share",
        "_suspects",
        "lost_share",
    )

    def __init__(self, config: Config) -> None:
        self._share = config.redundancy_share
        self._floor_bytes_per_s = config.redundancy_floor_bytes_per_s
        self._sent_at = 0.0
        self._max_candidates = config.max_riding_candidates
        self._suspects: deque[QueuedMessage] | None = None
        self._fresh: deque[QueuedMessage] | None = None
        self._budget_bytes = float(MAX_BUDGET_BYTES)
        self.lost_share = 0.0

    @property
    def has_candidates(self) -> bool:
        """Whether a message may ride along."""
        return bool(self._suspects) or bool(self._fresh)

    def packets_sent(self, payload_bytes: int, packets: int, now: float) -> None:
        """Packets left: a share of their bytes may ride along later, or what the floor gives for the time."""
        gap_s = min(now - self._sent_at, LONGEST_GAP_S * packets)
        self._sent_at = now
        earned = max(
            (payload_bytes + packets * PACKET_OVERHEAD_BYTES) * self._share, gap_s * self._floor_bytes_per_s
        )
        self._budget_bytes = min(self._budget_bytes + earned, MAX_BUDGET_BYTES)

    def message_sent(self, message: QueuedMessage) -> None:
        """A reliable message left by itself."""
        if self.lost_share > LOSSY_SHARE and len(message.frame) <= MAX_RIDING_BYTES:
            self._add_fresh(message, is_late=message.sent_count > 1)

    def suspect(self, message: QueuedMessage) -> None:
        """A later packet arrived before the one with this message."""
        if len(message.frame) <= MAX_RIDING_BYTES:
            if self._suspects is None:
                self._suspects = deque(maxlen=self._max_candidates)
            self._suspects.append(message)

    def _add_fresh(self, message: QueuedMessage, *, is_late: bool) -> None:
        fresh = self._fresh
        if fresh is None:
            fresh = self._fresh = deque(maxlen=self._max_candidates)
        if is_late:
            fresh.appendleft(message)  # first in line
        else:
            fresh.append(message)

    def next_message(self, room_bytes: int, now: float) -> QueuedMessage | None:
        """The next message that rides along, `None` if there is none, or no room or budget."""
        suspects, fresh = self._suspects, self._fresh
        if not self.has_candidates or self._budget_bytes <= 0 or self.lost_share > REFUSED_SHARE:
            return None
        for candidates in (suspects, fresh):
            while candidates:
                message = candidates[0]
                if message.is_done or message.is_resending or message.copies >= MAX_COPIES:
                    candidates.popleft()
                    continue
                size = len(message.frame)
                if message.sent_at >= now or size > room_bytes or size > self._budget_bytes:
                    break
                candidates.popleft()
                self._budget_bytes -= size
                if self.lost_share > LOSSY_SHARE:
                    if candidates is suspects:
                        self._add_fresh(message, is_late=True)
                    elif self.lost_share ** (message.copies + 1) > RESIDUAL_LOSS:
                        self._add_fresh(message, is_late=False)
                return message
        return None

    def forget(self) -> None:
        """The connection is gone."""
        self._suspects = self._fresh = None
