"""Messages on their way from any thread into a session.

A session belongs to its hub's thread. What is dispatched elsewhere (or here, in the middle of the
hub's turn) first stands in its connection's outbox; the hub is woken once, however many messages
follow, and moves all of them into the session at the end of its turn. While nothing runs they wait
here. So one thread's dispatches keep their order, sends coalesce, and whether there is room is
known at the call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from pygase_gevent.config import Config
from pygase_gevent.errors import QueueFullError
from pygase_gevent.event import Delivery
from pygase_gevent.locks import allocate_lock
from pygase_gevent.protocol.session import MessageKind, Session


class OutgoingMessage:
    """One event, call or result to send.

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
    """A bounded queue in front of one session. `put` and `has_room` from any thread, the rest in the hub's.

    Args:
        config: `max_queued_events` and `max_queued_bytes` bound outbox and session together.
        wake: called, in the thread of `put`, when the hub has to look here; never with a lock held.
    """

    def __init__(self, config: Config, wake: Callable[[], None]) -> None:
        self._config = config
        self._wake = wake
        self._lock = allocate_lock()
        self._messages: deque[OutgoingMessage] = deque()
        self._bytes = 0
        self._is_announced = False
        self._session: Session | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits here."""
        return not self._messages

    def has_room(self, size: int) -> bool:
        """Whether a message of `size` bytes would be taken now."""
        config, session = self._config, self._session
        events, queued_bytes = len(self._messages), self._bytes
        if session is not None:
            events += session.queued_events
            queued_bytes += session.queued_bytes
        return events < config.max_queued_events and (
            queued_bytes + size <= config.max_queued_bytes or queued_bytes == 0
        )

    def put(self, message: OutgoingMessage, *, whose: str) -> None:
        """Queue a message.

        Args:
            message: what to send.
            whose: names the peer in the error.

        Raises:
            QueueFullError: no room; nothing was queued.
        """
        with self._lock:
            has_room = self.has_room(len(message.body))
            if has_room:
                self._messages.append(message)
                self._bytes += len(message.body)
            wake = has_room and not self._is_announced
            if wake:
                self._is_announced = True
        if not has_room:
            raise QueueFullError(_full_text(self._config, whose))
        if wake:
            self._wake()

    def bind(self, session: Session | None) -> None:
        """Messages go into this session from now on; `None`: they wait."""
        with self._lock:
            self._session = session

    def announce(self) -> None:
        """The hub looks here for the first time: earlier wakes went nowhere."""
        with self._lock:
            self._is_announced = False

    def clear(self) -> int:
        """Discard what waits here; how many messages that were."""
        with self._lock:
            count = len(self._messages)
            self._messages.clear()
            self._bytes = 0
        return count

    def move_to_session(self, now: float | None = None) -> int:
        """Hand everything over to the session, in order; how many messages that were.

        Args:
            now: the time that unreliable messages live from; `None`: from when they were dispatched.
        """
        session = self._session
        if session is None:
            return 0
        with self._lock:
            self._is_announced = False
        moved = 0
        while self._messages:
            message = self._messages[0]
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
                break  # the session filled up meanwhile; the next acknowledgement makes room
            moved += 1
            with self._lock:
                self._messages.popleft()
                self._bytes -= len(message.body)
        return moved


def _full_text(config: Config, whose: str) -> str:
    """The sentence of a `QueueFullError`."""
    return (
        f"{config.max_queued_events} events or {config.max_queued_bytes} bytes are waiting for the {whose}, "
        "which is the limit (Config.max_queued_events, Config.max_queued_bytes): it does not keep up, or is "
        "away. Nothing was queued; dispatch less often, or try again later"
    )
