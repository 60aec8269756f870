"""PyGaSe's bookkeeping of packages: sequence numbers, acknowledgements, callbacks, throttling.

`Connection` was a public class that works on its own, on any socket whose methods can be awaited. A client or
server of the stand-in sends nothing by it: those speak this library's protocol, and their connections
only have its attributes and `dispatch_event`.
"""

from __future__ import annotations

import inspect
import queue
import time
from collections.abc import Callable
from typing import Any

from pygase_gevent.legacy.event import Event
from pygase_gevent.legacy.package import DuplicateSequenceError, Header, Package
from pygase_gevent.legacy.utils import NamedEnum, Sqn, logger

_BITS = 32
_EVENTS_PER_PACKAGE = 5


class ConnectionStatus(NamedEnum):
    """`"Disconnected"`, `"Connected"` or `"Connecting"`."""


ConnectionStatus.register("Disconnected")
ConnectionStatus.register("Connected")
ConnectionStatus.register("Connecting")


class Connection:
    """Exchanges packages with a partner.

    Args:
        remote_address: `(hostname, port)` of the partner.
        event_handler: has `has_event_type(event_type)` and the coroutine method `handle(event)`.
        event_wire: has `_push_event(event)`, which gets a copy of each event; or `None`.

    Attributes:
        local_sequence, remote_sequence: numbers of the newest package sent, and received.
        ack_bitfield: which of the 32 packages before that were received.
        latency: the smoothed round trip, seconds.
        status: a number; `ConnectionStatus.get` names it.
        quality: `"good"` or `"bad"`.
    """

    _timeout: float = 5.0
    _max_throttle_time: float = 60.0
    _min_throttle_time: float = 1.0
    _package_intervals: dict[str, float] = {"good": 1 / 40, "bad": 1 / 20}  # noqa: RUF012
    _latency_threshold: float = 0.25

    def __init__(self, remote_address: Any, event_handler: Any, event_wire: Any = None) -> None:
        self.remote_address = remote_address
        self.event_handler = event_handler
        self.event_wire = event_wire
        self.local_sequence = Sqn(0)
        self.remote_sequence = Sqn(0)
        self.ack_bitfield = "0" * _BITS
        self.latency = 0.0
        self.status: int = ConnectionStatus.get("Disconnected")
        self.quality = "good"
        self._package_interval = self._package_intervals["good"]
        self._outgoing_event_queue: queue.SimpleQueue[tuple[Event, Any, Any]] = queue.SimpleQueue()
        self._incoming_event_queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._pending_acks: dict[int, float] = {}
        self._callbacks: dict[int, list[tuple[Any, Any]]] = {}
        self._last_recv = time.time()

    def dispatch_event(
        self,
        event: Event,
        ack_callback: Callable[[], Any] | None = None,
        timeout_callback: Callable[[], Any] | None = None,
    ) -> None:
        """Send an event with the next package.

        Args:
            event: what to send.
            ack_callback: called after it was received.
            timeout_callback: called if that is not known after a second.
        """
        self._outgoing_event_queue.put((event, ack_callback, timeout_callback))

    # --- receiving ------------------------------------------------------------------------------

    async def _recv(self, package: Package) -> None:
        """Take a received package.

        Raises:
            DuplicateSequenceError: it was received before.
        """
        self._last_recv = time.time()
        if self.status != ConnectionStatus.get("Connected"):
            self._set_status("Connected")
        sequence, ack, ack_bitfield = package.header.destructure()
        self._update_remote_info(sequence)
        for pending, sent_at in list(self._pending_acks.items()):
            behind = ack - pending
            if behind == 0 or (0 < behind < _BITS and ack_bitfield[behind - 1] == "1"):
                self.latency += 0.1 * (time.time() - sent_at - self.latency)
                await self._settle(pending, is_acknowledged=True)
            elif time.time() - sent_at > Package._timeout:
                await self._settle(pending, is_acknowledged=False)
        for event in package.events:
            self._incoming_event_queue.put(event)
            if self.event_wire is not None:
                await _awaited(self.event_wire._push_event(event))

    def _update_remote_info(self, received_sequence: Sqn) -> None:
        if self.remote_sequence == 0:
            self.remote_sequence = received_sequence
            return
        behind = self.remote_sequence - received_sequence
        if behind < 0:
            self.remote_sequence = received_sequence
            # As in PyGaSe: where numbers were skipped, the newest until now is not marked.
            marks = "1" if behind == -1 else "0" * -behind
            self.ack_bitfield = (marks + self.ack_bitfield)[:_BITS]
            return
        if behind == 0 or behind > _BITS or self.ack_bitfield[behind - 1] == "1":
            raise DuplicateSequenceError(f"package {received_sequence} was received before")
        self.ack_bitfield = self.ack_bitfield[: behind - 1] + "1" + self.ack_bitfield[behind:]

    async def _settle(self, sequence: int, *, is_acknowledged: bool) -> None:
        del self._pending_acks[sequence]
        for ack_callback, timeout_callback in self._callbacks.pop(sequence, ()):
            callback = ack_callback if is_acknowledged else timeout_callback
            if callback is not None:
                await _awaited(callback())

    async def _handle_next_event(self) -> None:
        event = self._incoming_event_queue.get()
        if self.event_handler.has_event_type(event.type):
            await self.event_handler.handle(event)

    # --- sending --------------------------------------------------------------------------------

    def _create_next_package(self) -> Package:
        return Package(Header(self.local_sequence, self.remote_sequence, self.ack_bitfield))

    async def _send_next_package(self, sock: Any) -> None:
        """Send a package with up to five events by a socket whose `sendto` can be awaited."""
        self.local_sequence += 1
        package = self._create_next_package()
        while len(package.events) < _EVENTS_PER_PACKAGE and not self._outgoing_event_queue.empty():
            event, *callbacks = self._outgoing_event_queue.get()
            package.add_event(event)
            self._callbacks.setdefault(self.local_sequence, []).append((callbacks[0], callbacks[1]))
        await sock.sendto(package.to_datagram(), self.remote_address)
        self._pending_acks[self.local_sequence] = time.time()

    def _set_status(self, status: str) -> None:
        self.status = ConnectionStatus.get(status)
        logger.info("Status of connection to %s set to '%s'.", self.remote_address, status)

    def _throttling_state_machine(self, t: float, state: dict[str, float]) -> None:
        """Switch between sending often and seldom, by latency; the more often it switched, the slower."""
        if self.quality == "bad":
            if self.latency < self._latency_threshold:
                self.quality = "good"
                state["last_quality_change"] = state["last_good_quality_milestone"] = t
        elif self.latency > self._latency_threshold:
            self.quality = "bad"
            self._package_interval = self._package_intervals["bad"]
            if t - state["last_quality_change"] < state["throttle_time"]:
                state["throttle_time"] = min(2 * state["throttle_time"], self._max_throttle_time)
            state["last_quality_change"] = t
        elif t - state["last_good_quality_milestone"] > state["throttle_time"]:
            self._package_interval = self._package_intervals["good"]
            state["throttle_time"] = max(state["throttle_time"] / 2, self._min_throttle_time)
            state["last_good_quality_milestone"] = t


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
