"""What a session counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


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

    MALFORMED_PAYLOAD = "malformed_payload"
    NOT_ATTACHED = "not_attached"
    BAD_ACK = "bad_ack"
    WRONG_DIRECTION = "wrong_direction"
    DUPLICATE_PAYLOAD = "duplicate_payload"
    TOO_OLD = "too_old_payload"
    INBOX_FULL = "inbox_full"
    DUPLICATE_MESSAGE = "duplicate_message"
    STALE_MESSAGE = "stale_message"
    OUTSIDE_WINDOW = "message_outside_window"
    BAD_STREAM = "bad_stream"
    BAD_FRAGMENT = "bad_fragment"
    TRANSFER_LIMIT = "transfer_limit"
    TRANSFER_TIMED_OUT = "transfer_timed_out"
    REORDER_LIMIT = "reorder_limit"
    BAD_STATE = "bad_state"
