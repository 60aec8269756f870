"""What a session counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True)
class SessionStats:
    """Figures of one session since it began, across connections. Bytes are of netcode payloads.

    Attributes:
        packets_lost: packets that asked for an acknowledgement and count as lost.
        messages_resent: messages sent again after a loss or a timeout.
        messages_ridden_along: copies that rode along in packets that left anyway.
        messages_discarded: messages given up: unreliable ones lost, expired or superseded, or thrown away.
        fragments_resent: fragments of large messages and states sent again.
        probes: probe timeouts.
        drops: what was received and dropped, by `DropReason`.
    """

    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    packets_lost: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    messages_resent: int = 0
    messages_ridden_along: int = 0
    messages_discarded: int = 0
    fragments_resent: int = 0
    probes: int = 0
    drops: Counter[str] = field(default_factory=Counter)


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
