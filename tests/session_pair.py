"""Two sessions and a link between them, carried by hand in virtual time. One seed replays a run."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.protocol.session import MessageAcked, MessageKind, MessageLost, Session, StateReceived


@dataclass
class LinkConditions:
    """One direction or both: shares from 0 to 1, times in seconds."""

    loss: float = 0.0
    delay_s: float = 0.05
    jitter_s: float = 0.0
    duplication: float = 0.0
    corruption: float = 0.0
    is_cut: bool = False
    bytes_per_s: float = 0.0
    """Bandwidth (0: without limit) with a queue of 100 ms."""


class Side:
    """A session with what netcode would do below it: sequences, and nothing twice."""

    def __init__(self, name: str, session: Session) -> None:
        self.name = name
        self.session = session
        self.next_sequence = 0
        self.seen: set[int] = set()
        self.largest_seen = -1
        self.epoch = 0
        self.link_free_at = 0.0
        self.timer_at = float("inf")
        self.received: list[tuple[float, bytes]] = []
        self.calls: list[tuple[MessageKind, bytes]] = []
        self.acked: list[object] = []
        self.lost: list[object] = []
        self.states: list[tuple[float, StateReceived]] = []
        self.events: list[object] = []
        self.drains = True
        self.drains_calls = True
        self.sizes: list[int] = []


class Pair:
    """A client's and a server's session, and the world between them."""

    def __init__(
        self,
        *,
        seed: int = 1,
        link: LinkConditions | None = None,
        config: Config | None = None,
        client_config: Config | None = None,
        attach: bool = True,
    ) -> None:
        self.random = random.Random(seed)
        self.now = 100.0
        self.link = link or LinkConditions()
        self.config = config or Config()
        self.client = Side(
            "client", Session(config=client_config or self.config, is_server=False, now=self.now)
        )
        self.server = Side(
            "server",
            Session(
                config=self.config,
                is_server=True,
                now=self.now,
                server_clock_us=lambda now: int((now + 1000) * 1e6),
            ),
        )
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.corrupted = 0
        if attach:
            self.attach()

    # --- the life of connections ----------------------------------------------------------------

    def attach(self) -> None:
        """A fresh netcode connection: sequences start anew, nothing of the old one arrives."""
        for side in (self.client, self.server):
            side.epoch += 1
            side.next_sequence = 0
            side.seen = set()
            side.largest_seen = -1
            side.session.attach(self.now)
            self.flush(side)

    def detach(self) -> None:
        for side in (self.client, self.server):
            side.session.detach(self.now)
            side.epoch += 1
            self._arm(side)

    # --- time -----------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, action))

    def run(self, duration_s: float, until: Callable[[], bool] | None = None) -> None:
        end = self.now + duration_s
        steps = 0
        while self._heap and self._heap[0][0] <= end:
            when, _, action = heapq.heappop(self._heap)
            self.now = max(self.now, when)
            action()
            if until is not None and until():
                return
            steps += 1
            assert steps < 3_000_000, "the pair never comes to rest"
        self.now = end

    def every(self, interval_s: float, count: int, action: Callable[[int], None]) -> None:
        for index in range(count):
            self.at(self.now + index * interval_s, lambda index=index: action(index))

    # --- sending --------------------------------------------------------------------------------

    def send(
        self,
        side: Side,
        body: bytes,
        delivery: Delivery = Delivery.RELIABLE_ORDERED,
        *,
        stream: str = "A",
        retries: int = 0,
        kind: MessageKind = MessageKind.EVENT,
        token: object = None,
        flush: bool = True,
    ) -> None:
        side.session.send_message(
            body, delivery=delivery, stream=stream, retries=retries, kind=kind, token=token, now=self.now
        )
        if flush:
            self.flush(side)

    def other(self, side: Side) -> Side:
        return self.server if side is self.client else self.client

    def flush(self, side: Side) -> None:
        session = side.session
        due = session.next_timer()
        session.send_payloads(self.now, lambda payload: self._carry(side, payload))
        if due is not None and session.undisturbed_until > 0:
            due_after = session.next_timer()
            assert due_after is not None
            assert due_after >= min(due, session.undisturbed_until)
        self._arm(side)

    def drain(self, side: Side) -> None:
        session = side.session
        while (event := session.next_event()) is not None:
            if isinstance(event, MessageAcked):
                side.acked.append(event.token)
            elif isinstance(event, MessageLost):
                side.lost.append(event.token)
            elif isinstance(event, StateReceived):
                side.states.append((self.now, event))
            else:
                side.events.append(event)
        while side.drains_calls and (call := session.next_call()) is not None:
            side.calls.append((call.kind, call.body))
        while side.drains and (message := session.next_message()) is not None:
            side.received.append((self.now, message.body))

    def bodies(self, side: Side) -> list[bytes]:
        return [body for _, body in side.received]

    # --- inside ---------------------------------------------------------------------------------

    def _carry(self, side: Side, payload: bytes) -> int:
        assert 0 < len(payload) <= 1200
        sequence = side.next_sequence
        side.next_sequence += 1
        side.sizes.append(len(payload))
        link, rng = self.link, self.random
        if link.is_cut:
            return sequence
        depart = self.now
        if link.bytes_per_s:
            if side.link_free_at - self.now > 0.1:
                return sequence
            side.link_free_at = max(side.link_free_at, self.now) + (len(payload) + 47) / link.bytes_per_s
            depart = side.link_free_at
        copies = 2 if rng.random() < link.duplication else 1
        for _ in range(copies):
            if rng.random() < link.loss:
                continue
            data = payload
            if rng.random() < link.corruption:
                data = self._corrupt(payload)
            delay = link.delay_s + rng.uniform(-link.jitter_s, link.jitter_s)
            epoch = side.epoch
            self.at(
                depart + delay,
                lambda data=data, sequence=sequence, epoch=epoch: self._arrive(side, sequence, data, epoch),
            )
        return sequence

    def _corrupt(self, payload: bytes) -> bytes:
        """As if an authenticated peer sent nonsense: netcode would have dropped it otherwise."""
        self.corrupted += 1
        data = bytearray(payload)
        data[0] |= 0x80  # never a valid header, so that the rest of the run can be judged
        return bytes(data)

    def _arrive(self, sender: Side, sequence: int, payload: bytes, epoch: int) -> None:
        side = self.other(sender)
        if epoch != sender.epoch or sequence in side.seen or sequence <= side.largest_seen - 256:
            return
        side.seen.add(sequence)
        side.largest_seen = max(side.largest_seen, sequence)
        side.session.receive_payload(sequence, payload, self.now)
        self.drain(side)
        self.flush(side)

    def _arm(self, side: Side) -> None:
        due = side.session.next_timer()
        if due is None:
            side.timer_at = float("inf")
            return
        due = max(due, self.now + 1e-4)  # no hub's timer is finer
        if due != side.timer_at:
            side.timer_at = due
            self.at(due, lambda: self._fire(side, due))

    def _fire(self, side: Side, due: float) -> None:
        if side.timer_at != due:
            return
        side.timer_at = float("inf")
        side.session.handle_timer(self.now)
        self.drain(side)
        self.flush(side)
        self.drain(side)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def latencies(pair: Pair, side: Side, sent_at: dict[bytes, float]) -> list[float]:
    return [when - sent_at[body[:8]] for when, body in side.received if body[:8] in sent_at]


def number_body(index: int, size: int = 40) -> bytes:
    return index.to_bytes(8, "big") + bytes(size - 8)
