"""What a session counts."""

from __future__ import annotations

from collections import Counter
from typing import Final


class SessionStats:
    """Figures of one session since it began, across connections. Bytes are of netcode payloads.

    Attributes:
        packets_lost: packets that asked for an acknowledgement and count as lost.
        messages_resent: messages sent again after a loss or a timeout.
        messages_ridden_along: copies that rode along in packets that left anyway.
        messages_discarded: messages given up: unreliable ones lost, expired or superseded, or thrown away.
        fragments_resent: fragments of large messages and states sent again.
        probes: probe timeouts.
    """

    __slots__ = (
        "_drops",
        "bytes_received",
        "bytes_sent",
        "fragments_resent",
        "messages_discarded",
        "messages_received",
        "messages_resent",
        "messages_ridden_along",
        "messages_sent",
        "packets_lost",
        "packets_received",
        "packets_sent",
        "probes",
    )

    def __init__(self) -> None:
        self.packets_sent = 0
        self.packets_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.packets_lost = 0
        self.messages_sent = 0
        self.messages_received = 0
        self.messages_resent = 0
        self.messages_ridden_along = 0
        self.messages_discarded = 0
        self.fragments_resent = 0
        self.probes = 0
        self._drops: Counter[str] | None = None

    @property
    def drops(self) -> Counter[str]:
        """What was received and dropped, by `DropReason`; to count in. Nearly always there is nothing."""
        drops = self._drops
        if drops is None:
            drops = self._drops = Counter()
        return drops

    def copy_drops(self) -> Counter[str]:
        """The same for a reader in any thread: copied in one step, for the hub's thread goes on counting."""
        return Counter(self._drops)


class DropReason:
    """Why something that was received is dropped. Values are the keys of `SessionStats.drops`."""

    MALFORMED_PAYLOAD: Final = "malformed_payload"
    NOT_ATTACHED: Final = "not_attached"
    BAD_ACK: Final = "bad_ack"
    WRONG_DIRECTION: Final = "wrong_direction"
    DUPLICATE_PAYLOAD: Final = "duplicate_payload"
    TOO_OLD: Final = "too_old_payload"
    INBOX_FULL: Final = "inbox_full"
    DUPLICATE_MESSAGE: Final = "duplicate_message"
    STALE_MESSAGE: Final = "stale_message"
    OUTSIDE_WINDOW: Final = "message_outside_window"
    BAD_STREAM: Final = "bad_stream"
    BAD_FRAGMENT: Final = "bad_fragment"
    TRANSFER_LIMIT: Final = "transfer_limit"
    TRANSFER_TIMED_OUT: Final = "transfer_timed_out"
    REORDER_LIMIT: Final = "reorder_limit"
    BAD_STATE: Final = "bad_state"
    BAD_NAMES: Final = "bad_names"
