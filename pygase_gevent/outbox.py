"""Messages on their way from any thread into a session.

A session belongs to its hub's thread. What is dispatched elsewhere (or here, in the middle of the
hub's turn) first stands in its connection's outbox; the hub is woken once, however many messages
follow, and moves all of them into the session at the end of its turn. While nothing runs they wait
here. So one thread's dispatches keep their order, sends coalesce, and whether there is room is
known at the call.
"""

from __future__ import annotations

import logging
from _thread import LockType
from collections import deque
from collections.abc import Callable

from pygase_gevent.config import Config
from pygase_gevent.errors import LocalError, QueueFullError
from pygase_gevent.event import Delivery
from pygase_gevent.locks import allocate_lock
from pygase_gevent.protocol.session import MessageKind, Session

logger = logging.getLogger(__name__)


class OutgoingMessage:
    """One event, call or result to send; never changed, so that one may go to several.

    Attributes:
        body: the encoded message.
        kind: what it is.
        delivery: how it travels.
        stream: the event type, which names the stream of an ordered or sequenced message.
        retries: resends of an unreliable one.
        token: comes back when the peer received it; `None` where nobody asks.
        dispatched_at: monotonic seconds.
    """

    __slots__ = ("body", "delivery", "dispatched_at", "kind", "retries", "stream", "token")

    def __init__(
        self,
        body: bytes,
        kind: MessageKind,
        *,
        delivery: Delivery,
        stream: str,
        dispatched_at: float,
        retries: int = 0,
        token: object = None,
    ) -> None:
        self.body = body
        self.kind = kind
        self.delivery = delivery
        self.stream = stream
        self.retries = retries
        self.token = token
        self.dispatched_at = dispatched_at


class Outbox:
    """A bounded queue in front of one session. Any thread may put something in; the rest is for the hub's.

    Calls and results stand in a line of their own, so that an answer finds room when events do not.

    Args:
        config: `max_queued_events` and `max_queued_bytes` bound outbox and session together.
        wake: called, in the thread of `put`, when the hub has to look here; never with a lock held.
        label: names the peer in errors and the log.
        lock: held while a message is added; several outboxes may share one, so that who holds it can give
            one message to all of them or to none.
    """

    __slots__ = (
        "_callbacks_due",
        "_calls",
        "_config",
        "_events",
        "_is_announced",
        "_label",
        "_lock",
        "_refused",
        "_session",
        "wake",
    )

    def __init__(
        self, config: Config, wake: Callable[[], None], label: str, lock: LockType | None = None
    ) -> None:
        self.wake = wake
        self._config = config
        self._label = label
        self._lock = allocate_lock() if lock is None else lock
        self._events = _Line()
        self._calls = _Line()
        self._callbacks_due = 0
        self._is_announced = False
        self._refused: OutgoingMessage | None = None
        self._session: Session | None = None

    # --- any thread -----------------------------------------------------------------------------

    def put(self, message: OutgoingMessage) -> None:
        """Queue a message.

        Raises:
            QueueFullError: no room; nothing was queued.
        """
        with self._lock:
            has_room = self.has_room(message)
            must_wake = has_room and self.append(message)
        if not has_room:
            raise QueueFullError(_full_text(self._config, self._label))
        if must_wake:
            self.wake()

    def has_room(self, message: OutgoingMessage) -> bool:
        """Whether a message would be taken now."""
        config = self._config
        if message.kind is not MessageKind.EVENT:
            return self._calls.has_room(message, config)
        if message.token is not None and self._callbacks_due >= config.max_queued_events:
            return False
        return self._has_event_room(message)

    def append(self, message: OutgoingMessage) -> bool:
        """Queue a message for which there is room, with the lock held; whether to `wake` after it."""
        (self._events if message.kind is MessageKind.EVENT else self._calls).add(message)
        was_announced, self._is_announced = self._is_announced, True
        return not was_announced

    def refused_for_s(self, message: OutgoingMessage) -> float:
        """There was no room for this event: for how many seconds there has been none."""
        if self._has_event_room(message):
            return 0.0  # only too many callbacks are due: that is not the peer's fault
        first = self._refused
        if first is None:
            first = self._refused = message
        return message.dispatched_at - first.dispatched_at

    def callback_done(self) -> None:
        """The callback of an acknowledged message begins."""
        with self._lock:
            self._callbacks_due -= 1

    # --- the hub's thread -----------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether `move_to_session` may have something to do."""
        return bool(
            self._is_announced or self._events.messages or self._calls.messages or self._refused is not None
        )

    def callback_due(self) -> None:
        """A message was acknowledged, and its callback waits: its room is taken until that begins."""
        with self._lock:
            self._callbacks_due += 1

    def forget_callbacks(self) -> None:
        """Those that wait will not be run."""
        with self._lock:
            self._callbacks_due = 0

    def bind(self, session: Session | None) -> None:
        """Messages go into this session from now on; `None`: they wait."""
        with self._lock:
            self._session = session

    def announce(self) -> None:
        """The hub looks here for the first time: earlier wakes went nowhere, and time stood still."""
        with self._lock:
            self._is_announced = False
        self._refused = None

    def clear(self) -> None:
        """Discard what waits here."""
        with self._lock:
            self._events, self._calls = _Line(), _Line()

    def move_to_session(self, now: float | None = None) -> None:
        """Hand everything over to the session, in order.

        Args:
            now: the time that unreliable messages live from; `None`: from when they were dispatched.
        """
        session = self._session
        if session is None or not self.has_work:
            return
        with self._lock:
            self._is_announced = False
        self._move(self._events, session, now)
        self._move(self._calls, session, now)
        refused = self._refused
        if refused is not None and self._has_event_room(refused):
            self._refused = None

    # --- inside ---------------------------------------------------------------------------------

    def _has_event_room(self, message: OutgoingMessage) -> bool:
        session = self._session
        if session is None:
            return self._events.has_room(message, self._config)
        return self._events.has_room(message, self._config, session.queued_events, session.queued_bytes)

    def _move(self, line: _Line, session: Session, now: float | None) -> None:
        messages = line.messages
        while messages:
            message = messages[0]
            try:
                session.send_message(
                    message.body,
                    delivery=message.delivery,
                    stream=message.stream,
                    retries=message.retries,
                    kind=message.kind,
                    token=message.token,
                    now=message.dispatched_at if now is None else now,
                )
            except QueueFullError:
                return  # the session filled up meanwhile; the next acknowledgement makes room
            except LocalError:
                logger.exception(
                    "%s: a message of type %.100r was dropped; this is a bug in pygase_gevent",
                    self._label,
                    message.stream,
                )
            with self._lock:
                messages.popleft()
                line.size_bytes -= len(message.body)


class _Line:
    """Messages in order, none before the first, and how many bytes they are."""

    __slots__ = ("messages", "size_bytes")

    def __init__(self) -> None:
        self.messages: deque[OutgoingMessage] | None = None
        self.size_bytes = 0

    def add(self, message: OutgoingMessage) -> None:
        messages = self.messages
        if messages is None:
            messages = self.messages = deque()
        messages.append(message)
        self.size_bytes += len(message.body)

    def has_room(
        self, message: OutgoingMessage, config: Config, more_messages: int = 0, more_bytes: int = 0
    ) -> bool:
        """Whether a message fits in, with so much more that counts here."""
        size_bytes = self.size_bytes + more_bytes + len(message.body)
        return (
            len(self.messages or ()) + more_messages < config.max_queued_events
            and size_bytes <= config.max_queued_bytes
        )


def _full_text(config: Config, whose: str) -> str:
    """The sentence of a `QueueFullError`."""
    return (
        f"{config.max_queued_events} events or {config.max_queued_bytes} bytes are waiting for the {whose}, "
        "which is the limit (Config.max_queued_events, Config.max_queued_bytes): it does not keep up, or is "
        "away; or that many ack callbacks wait to be run. Nothing was queued; dispatch less often, or try "
        "again later"
    )
