"""One connection above its session: dispatching, handling, calling. The same on both sides.

any thread        dispatch, call -> Outbox ~> the hub's turn ends -> Session
the hub's thread  Session -> take_arrivals -> results to their callers, calls each in a greenlet
                                           -> events to the handler queue -> handlers, event wire
"""

from __future__ import annotations

from _thread import LockType
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from gevent import GreenletExit, killall, wait

from pygase_gevent.calls import (
    OpenCalls,
    WaitingCalls,
    call_number,
    decode_call,
    encode_call,
    encode_raised,
    encode_returned,
    missing_handler,
)
from pygase_gevent.config import Config
from pygase_gevent.connection import HandlerCounters
from pygase_gevent.errors import (
    ConnectionLostError,
    DecodeError,
    MessageTooLargeError,
    PygaseError,
    QueueFullError,
)
from pygase_gevent.event import Delivery, Event, UniversalEventHandler
from pygase_gevent.handling import HandlerLog, HandlerQueue, Handling, Job, PumpQueue
from pygase_gevent.hub.environment import Environment
from pygase_gevent.hub.watchdog import Watchdog
from pygase_gevent.loop_events import LoopEvents
from pygase_gevent.outbox import Outbox, OutgoingMessage
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.session import EventSink, MessageKind, ReceivedMessage, Session
from pygase_gevent.runners import HandlerRunners
from pygase_gevent.wire_queue import WireLine


class EventWire(Protocol):
    """What received events are repeated to, normally a `GameStateMachine`."""

    def _push_event(self, event: Event) -> object:
        """Take an event; `False` means that there is no room now.

        A wire may also have `_wants_event(event_type)`; events that it does not want are not decoded for it.
        One whose `_direct_events()` gives `LoopEvents` has them pushed there, where they arrive.
        """


class Exchange(EventSink):
    """Events, calls and handlers of one connection.

    Args:
        config: limits.
        handlers: the application's, by event type.
        log: what is said of them in the log.
        wake: called when there is something to send; any thread.
        look_again: called when there is room for more messages; any thread.
        label: names the peer in logs and errors: `client ('10.0.0.7', 50123)`.
        client_address: given to handlers that take it; `None` on the client's side.
        lock: the outbox's; see there.
        pump: handlers run in `pump` instead of greenlets.
    """

    def __init__(
        self,
        *,
        config: Config,
        handlers: UniversalEventHandler,
        log: HandlerLog,
        wake: Callable[[], None],
        look_again: Callable[[], None],
        label: str,
        client_address: Address | None = None,
        lock: LockType | None = None,
        pump: bool = False,
    ) -> None:
        self.label = label
        self.outbox = Outbox(config, wake, label, lock)
        self.event_wire: EventWire | None = None
        self._wants_event: Callable[[str], bool] = _yes
        self._loop_events: LoopEvents | None = None
        self._line: WireLine | None = None  # there
        self._config = config
        self._handlers = handlers
        self._handling = Handling(label, log)
        self._client_address = client_address
        self._library_kwargs: dict[str, Any] = (
            {} if client_address is None else {"client_address": client_address}
        )
        self._calls = OpenCalls(config)
        self._queue: HandlerQueue = (
            PumpQueue(config, self._handle_event, look_again)
            if pump
            else HandlerQueue(config, self._handle_event)
        )
        self._session: Session | None = None
        self._environment: Environment | None = None
        self._runners: HandlerRunners | None = None
        self._waiting_calls = WaitingCalls(config)
        self._running_calls: dict[Any, None] = {}
        self._is_over = False

    @property
    def counters(self) -> HandlerCounters:
        """What became of what was received."""
        return self._handling.counters

    # --- any thread -----------------------------------------------------------------------------

    def call(self, event: Event, timeout: float | None, now: float) -> Any:
        """Run the peer's handler and wait for what it returns.

        Raises:
            LocalError: the arguments cannot travel, or there is no room.
            PeerError: the handler raised, there is none, no answer, or the connection ended.
        """
        event_bytes = encode_event(event, self._config)
        number = self._calls.open()
        try:
            self._send_reliably(encode_call(number, event_bytes), MessageKind.CALL, event.type, now)
            return self._calls.wait(number, timeout, what=f"call of {event.type!r} on the {self.label}")
        finally:
            self._calls.forget(number)

    def pump(self) -> int:
        """Run the handlers of what has arrived; how many jobs that were."""
        assert isinstance(self._queue, PumpQueue)
        return self._queue.pump()

    # --- the hub's thread: life -----------------------------------------------------------------

    def reopen(self) -> None:
        """There will be a connection again: calls may wait for it."""
        self._is_over = False
        self._calls.reopen()

    def start(self, environment: Environment, runners: HandlerRunners) -> None:
        """There is a hub to send from and to run handlers in."""
        self._environment = environment
        self._runners = runners
        self.reopen()
        self.outbox.announce()
        self._queue.start(runners)
        if not isinstance(self._queue, PumpQueue):
            self._begin_calls()  # those that an earlier run has left
        self.take_arrivals()

    def use_wire(self, wire: EventWire | None) -> None:
        """Repeat events to this."""
        self._close_line()
        self.event_wire = wire
        self._wants_event = getattr(wire, "_wants_event", _yes)
        direct_events = getattr(type(wire), "_direct_events", None)
        self._loop_events = None if direct_events is None else direct_events(wire)
        if self._loop_events is not None:
            self._line = self._loop_events.open_line(self._client_address)

    def watch(self, watchdog: Watchdog) -> None:
        """Have this watchdog look after the handlers that run in its hub."""
        if not isinstance(self._queue, PumpQueue):
            self._handling.watchdog = watchdog

    def stop(self) -> list[Any]:
        """The hub goes. Returns the greenlets that are at work, to wait for or to end."""
        self._environment = self._runners = None
        self._handling.watchdog = None
        self._close_line()
        self._queue.stop()
        return self.at_work

    def finish(self, environment: Environment, grace_s: float) -> None:
        """The hub goes, and with it the connection. Handlers may end, and hooks are told what happened; what
        else waits is dropped. Where handlers are pumped, all of it waits for `pump`.
        """
        if self._runners is not None:
            self._runners.finish()
        wait(self.at_work, timeout=grace_s)
        at_work = self.stop()
        killall(at_work, block=False)
        wait(at_work, timeout=grace_s)
        if isinstance(self._queue, PumpQueue):
            return
        hooks, dropped = self._queue.take_hooks()
        self.counters.drops["connection_over"] += dropped
        self.outbox.forget_callbacks()
        if hooks:
            last = [environment.spawn(_run_all, hooks)]
            wait(last, timeout=grace_s)
            killall(last, block=False)

    def bind(self, session: Session) -> None:
        """A session stands: what waits goes into it; what an earlier one received is handled first."""
        if self._session is not None and self._session is not session:
            self._calls.interrupt(ConnectionLostError(f"the session with the {self.label} was replaced"))
            self._waiting_calls.clear()
            self._session.event_sink = None
        self._session = session
        session.event_sink = self
        self.outbox.bind(session)
        self._queue.bind(session.next_message)

    def end(self, error: PygaseError) -> None:
        """The connection is over for good: open calls raise `error`, nothing is sent any more."""
        self._is_over = True
        self._close_line()
        self._calls.end(error)
        self._waiting_calls.clear()
        self.outbox.clear()
        self.outbox.bind(None)
        self._queue.bind(None)
        if self._session is not None:
            self._session.event_sink = None
        self._session = None

    @property
    def at_work(self) -> list[Any]:
        """The greenlets in which handlers are at work."""
        return [*self._running_calls, *self._queue.at_work]

    @property
    def is_idle(self) -> bool:
        """Whether no handler is at work."""
        return self._queue.is_idle and not self._running_calls

    # --- the hub's thread: traffic --------------------------------------------------------------

    def take_arrivals(self) -> None:
        """See what the session received: results, calls, events."""
        session = self._session
        if session is None:
            return
        if session.has_calls:
            self._take_calls(session)
        if session.has_messages:
            if self._line is not None and self._loop_events is not None and self._queue.is_idle:
                self._feed_loop(session, self._loop_events, self._line)
            else:
                self._queue.wake()

    def take_event(self, body: bytes, event_type: str) -> bool:
        """What `_feed_loop` does with an event that nothing waits before and only the game loop handles."""
        events, line = self._loop_events, self._line
        if (
            line is None
            or events is None
            or not self._queue.is_idle
            or self._handlers.has_event_type(event_type)
            or not events.handlers.has_event_type(event_type)
        ):
            return False
        try:
            return events.push_to(line, Event.from_bytes(body, self._config, event_type))
        except DecodeError:
            self.counters.drop("malformed_event")
            return True

    def _take_calls(self, session: Session) -> None:
        while (message := session.next_call()) is not None:
            if message.kind is MessageKind.RESULT:
                if not self._calls.take_result(message.body):
                    self.counters.drop("unexpected_result")
            elif not self._waiting_calls.put(message.body):
                self.counters.drop("too_many_calls")
            elif isinstance(self._queue, PumpQueue):
                self._queue.push(self._answer_next)
        if not isinstance(self._queue, PumpQueue):
            self._begin_calls()

    def _feed_loop(self, session: Session, events: LoopEvents, line: WireLine) -> None:
        """Events that only the game loop handles need no greenlet: up to the first that needs more."""
        handlers, config = self._handlers, self._config
        for _number in range(config.max_wire_events_per_client):
            message = session.next_message()
            if message is None:
                return
            try:
                event_type = message.event_type or Event.peek_type(message.body, config)
                if handlers.has_event_type(event_type):
                    self._queue.put_back(partial(self._handle_event, message))
                    break
                if not events.wants(event_type):
                    self._count_unhandled(event_type)
                    continue
                event = Event.from_bytes(message.body, config, event_type)
            except DecodeError:
                self.counters.drop("malformed_event")
                continue
            if not events.push_to(line, event):
                self._queue.put_back(partial(self._handle_event, message))
                break
        self._queue.wake()

    def message_acked(self, callback: object, *arguments: Any) -> None:
        """A message with this token arrived at the peer: the ack callback is due."""
        if callable(callback):
            self.outbox.callback_due()
            self._queue.push(partial(self._run_callback, callback, *arguments))

    def push_hook(self, what: str, hook: Callable[..., object], *arguments: Any) -> None:
        """Run a hook after the handlers of all that arrived before it."""
        self._queue.push_in_order(partial(self._handling.run, what, hook, *arguments))

    def push_news(self, what: str, hook: Callable[..., object], *arguments: Any) -> None:
        """The same for a hook that hands its news on: if it returns `False` it is asked again."""
        push = partial(hook, *arguments)

        def tell() -> None:
            try:
                self._handling.run(what, self._repeat, push)
            except GreenletExit:  # the server stops; the news is told when it runs again
                self._queue.put_back(tell)
                raise

        self._queue.push_in_order(tell)

    def _close_line(self) -> None:
        line, self._line = self._line, None
        if line is not None and self._loop_events is not None:
            self._loop_events.close_line(line)

    # --- inside: events -------------------------------------------------------------------------

    def _handle_event(self, message: ReceivedMessage) -> None:
        """Runs in a runner, or in `pump`."""
        body, config, wire = message.body, self._config, self.event_wire
        try:
            event_type = message.event_type or Event.peek_type(body, config)
            handler = self._handlers.find(event_type)
            is_repeated = wire is not None and self._wants_event(event_type)
            if handler is None and not is_repeated:  # not worth decoding
                self._count_unhandled(event_type)
                return
            event = Event.from_bytes(body, config, event_type)
        except DecodeError:
            self.counters.drop("malformed_event")
            return
        if wire is not None and is_repeated:
            repeated = event.copy() if handler is not None else event
            repeated.handler_kwargs["client_address"] = self._client_address
            push = partial(self._repeat, partial(wire._push_event, repeated))
            try:
                self._handling.run("event wire", push)
            except GreenletExit:  # the server stops; the session keeps the event
                self._queue.put_back(partial(self._handle_event, message))
                raise
        if handler is not None:
            self.counters.events_handled += 1
            self._handling.run(
                handler.label, handler, event.handler_args, event.handler_kwargs, self._library_kwargs
            )

    def _repeat(self, push: Callable[[], object]) -> None:
        """Call `push` until there is room. A full wire holds up this connection only, and so its sender."""
        environment, config = self._environment, self._config
        patience_s = 1.0
        while push() is False:
            if environment is None or patience_s <= 0.0:
                self.counters.drop("event_wire_full")
                return
            environment.sleep(config.wire_retry_s)
            if self._environment is None:
                raise GreenletExit("the server stops")
            if self._is_over:  # everything of a session that left is freed within a second
                patience_s -= config.wire_retry_s

    def _count_unhandled(self, event_type: str) -> None:
        self.counters.unhandled += 1
        self._handling.log.unhandled(self.label, event_type)

    def _run_callback(self, callback: Callable[..., object], *arguments: Any) -> None:
        self.outbox.callback_done()
        self._handling.run("ack_callback", callback, *arguments)

    # --- inside: calls --------------------------------------------------------------------------

    def _begin_calls(self) -> None:
        environment = self._environment
        while environment is not None and len(self._running_calls) < self._config.max_calls:
            body = self._waiting_calls.take()
            if body is None:
                return
            greenlet = environment.spawn(self._answer, body)
            self._running_calls[greenlet] = None
            greenlet.link(self._call_done)

    def _call_done(self, greenlet: Any) -> None:
        self._running_calls.pop(greenlet, None)
        self._begin_calls()

    def _answer_next(self) -> None:
        """Runs in `pump`."""
        body = self._waiting_calls.take()
        if body is not None:
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        """Run the handler of a call and send what came of it; in a greenlet of its own, or in `pump`."""
        session = self._session
        try:
            number = call_number(body)
        except DecodeError:
            self.counters.drop("malformed_call")
            return
        result, event_type = self._result_of(number, body)
        environment = self._environment
        if session is None or session is not self._session or environment is None:
            return  # nobody waits for it there any more
        try:
            self._send_reliably(result, MessageKind.RESULT, event_type, environment.now())
        except QueueFullError:
            self.counters.drop("result_queue_full")

    def _result_of(self, number: int, body: bytes) -> tuple[bytes, str]:
        config, event_type = self._config, "?"
        try:
            _, event = decode_call(body, config=config)
            event_type = event.type
            if not self._handlers.has_event_type(event_type):
                self._count_unhandled(event_type)
                missing = missing_handler(event_type, self.event_wire)
                return encode_raised(number, missing, config=config), event_type
            self.counters.calls_handled += 1
            value = self._handling.watch(
                f"handler of call {event_type!r}",
                partial(self._handlers.handle, event, **self._library_kwargs),
            )
            result = encode_returned(number, value, config=config)
            _check_size(result, event_type, config)
            return result, event_type
        except (GreenletExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.counters.handler_errors += 1
            self._handling.log.raised(self.label, f"handler of call {event_type!r}")
            return encode_raised(number, error, config=config), event_type

    def _send_reliably(self, body: bytes, kind: MessageKind, event_type: str, now: float) -> None:
        _check_size(body, event_type, self._config)
        message = OutgoingMessage(
            body, kind, delivery=Delivery.RELIABLE, stream=event_type, dispatched_at=now
        )
        self.outbox.put(message)


def _run_all(jobs: Iterable[Job]) -> None:
    for job in jobs:
        job()


def _yes(event_type: str) -> bool:
    """A wire that does not say which events it wants gets all."""
    return True


def encode_event(event: Event, config: Config) -> bytes:
    """An event as bytes, within the size limit.

    Raises:
        SerializationError: an argument cannot travel.
        MessageTooLargeError: over `Config.max_event_bytes`.
    """
    body = event.to_bytes(config)
    _check_size(body, event.type, config)
    return body


def _check_size(body: bytes, event_type: str, config: Config) -> None:
    if len(body) > config.max_event_bytes:
        raise MessageTooLargeError(
            f"{event_type!r} takes {len(body)} bytes, more than the {config.max_event_bytes} of "
            "Config.max_event_bytes; send less at once, or raise the limit on both sides"
        )
