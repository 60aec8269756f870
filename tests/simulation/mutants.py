"""Known defects, to be put back one at a time: does anybody notice?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.gamestate import GameStateStore, GameStateUpdate
from pygase_gevent.protocol import inbox, numbers
from pygase_gevent.protocol.acks import MASK_BITS, ReceivedPackets
from pygase_gevent.protocol.client_core import ClientCore
from pygase_gevent.protocol.delivery import MessageSender
from pygase_gevent.protocol.inbox import Inbox
from pygase_gevent.protocol.layout import SEQUENCED
from pygase_gevent.protocol.messages import ChannelTable
from pygase_gevent.protocol.netcode import client as netcode_client
from pygase_gevent.protocol.netcode import server as netcode_server
from pygase_gevent.protocol.netcode.packet import read_packet
from pygase_gevent.protocol.netcode.replay import ReplayWindow
from pygase_gevent.protocol.netcode.server import NetcodeServer
from pygase_gevent.protocol.numbers import ReceivedNumbers
from pygase_gevent.protocol.server_core import ServerCore
from pygase_gevent.protocol.statesync import StateReceiver
from pygase_gevent.protocol.token_source import TokenSource
from pygase_gevent.testing.checker import Pairs
from pygase_gevent.testing.ledger import SMALLEST_BYTES, Ledger, Violation
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.message_checkers import AtMostOnce, Recorder, ReliableExactlyOnce
from pygase_gevent.testing.options import SimulationOptions
from pygase_gevent.testing.simulator import Simulation
from pygase_gevent.testing.world import UNIX_EPOCH, World

Patch = pytest.MonkeyPatch
DURATION_S = 12.0
SETTLE_S = 40.0
UNSTEADY = LinkOptions(delay_s=0.03, jitter_s=0.03)
BAD = LinkOptions(delay_s=0.03, loss=0.4)
LOSSY = LinkOptions(delay_s=0.03, loss=0.1, jitter_s=0.02, duplicate=0.05)


@dataclass(frozen=True)
class Mutant:
    """A defect, and the conditions under which it should show."""

    name: str
    put_back: Callable[[Patch], None]
    options: dict[str, Any]
    seen_by: str
    """What notices it: the beginning of the violation."""
    scenario: Callable[[int], str | None] | None = None
    """What is done, if not a simulation with these options; gives the violation for a seed."""
    has_control: bool = True
    """Whether the same conditions are fine without the defect."""

    def violation(self, seed: int) -> str | None:
        """Which promise is broken with this seed, and how."""
        if self.scenario is not None:
            return self.scenario(seed)
        options = {"duration_s": DURATION_S, "settle_s": SETTLE_S, **self.options}
        return Simulation(SimulationOptions(seed=seed, **options)).run().violation


def lose_ack_of_the_previous_newest(patch: Patch) -> None:
    record = ReceivedPackets.record

    def defective(self: ReceivedPackets, sequence: int, is_ack_eliciting: bool, now: float) -> None:
        shift = sequence - self.largest
        record(self, sequence, is_ack_eliciting, now)
        if 1 < shift < MASK_BITS and self.largest - shift >= 0:
            self.mask &= ~(1 << (shift - 1))

    patch.setattr(ReceivedPackets, "record", defective)


def accept_duplicates_after_a_gap(patch: Patch) -> None:
    patch.setattr(ReceivedNumbers, "is_received", lambda self, number: number < self._base)


def retry_without_a_number(patch: Patch) -> None:
    find = ChannelTable.find

    def defective(
        self: ChannelTable, delivery: int, stream: str, kind: int, retries: int, is_large: bool
    ) -> Any:
        return find(self, delivery, stream, kind, 0, is_large)

    patch.setattr(ChannelTable, "find", defective)


def apply_deltas_on_the_oldest_state(patch: Patch) -> None:
    decode = StateReceiver._decode

    def defective(self: StateReceiver, base: int | None, blob: bytes) -> dict[str, Any]:
        return decode(self, None if base is None else min(self._states), blob)

    patch.setattr(StateReceiver, "_decode", defective)


def evict_without_a_full_state(patch: Patch) -> None:
    merged_update = GameStateStore.merged_update

    def defective(self: GameStateStore, base: int, newest: int) -> GameStateUpdate | None:
        cache = self.get_update_cache()
        oldest = cache[0].time_order - 1 if cache else base
        merged = merged_update(self, max(base, oldest), newest)
        return merged if merged is not None else GameStateUpdate.from_dict(newest, {})

    patch.setattr(GameStateStore, "merged_update", defective)


def advance_the_replay_window_before_the_check(patch: Patch) -> None:
    def defective(data: bytes, cipher: Any, accepted: Any, replay: Any) -> Any:
        if replay is not None and len(data) > 18 and data[0] & 15 >= 4:
            sequence = int.from_bytes(data[1 : 1 + (data[0] >> 4)], "little")
            packet = read_packet(data, cipher, accepted, replay)
            if not replay.is_received(sequence):
                replay.advance(sequence)
            return packet
        return read_packet(data, cipher, accepted, replay)

    patch.setattr(netcode_server, "_read_packet", defective)
    patch.setattr(netcode_client, "_read_packet", defective)


def look_at_silence_only_on_receipt(patch: Patch) -> None:
    receive = ServerCore.receive_datagram
    handle_timer = ServerCore.handle_timer

    def defective(self: ServerCore, data: bytes, address: Any, now: float, unix_time: int) -> None:
        receive(self, data, address, now, unix_time)
        handle_timer(self, now, unix_time)

    patch.setattr(ServerCore, "receive_datagram", defective)
    patch.setattr(ServerCore, "next_timer", lambda self: None)


def go_by_the_calendar(patch: Patch) -> None:
    """A client's clock is the wall's: every `now` that comes in is replaced by it."""

    def shift(unix_time: int, now: float) -> float:
        return now + (unix_time - UNIX_EPOCH - int(now))

    receive = ClientCore.receive_datagram
    handle_timer = ClientCore.handle_timer
    next_timer = ClientCore.next_timer
    flush = ClientCore.flush
    offsets: dict[ClientCore, float] = {}

    def defective_receive(self: ClientCore, data: bytes, address: Any, now: float, unix_time: int) -> None:
        offsets[self] = shift(unix_time, now) - now
        receive(self, data, address, now + offsets[self], unix_time)

    def defective_handle(self: ClientCore, now: float, unix_time: int) -> None:
        offsets[self] = shift(unix_time, now) - now
        handle_timer(self, now + offsets[self], unix_time)

    def defective_flush(self: ClientCore, now: float) -> None:
        flush(self, now + offsets.get(self, 0.0))

    def defective_next(self: ClientCore) -> float | None:
        due = next_timer(self)
        return None if due is None else due - offsets.get(self, 0.0)

    patch.setattr(ClientCore, "receive_datagram", defective_receive)
    patch.setattr(ClientCore, "handle_timer", defective_handle)
    patch.setattr(ClientCore, "flush", defective_flush)
    patch.setattr(ClientCore, "next_timer", defective_next)


def reassemble_without_bound(patch: Patch) -> None:
    patch.setattr(Inbox, "_has_transfer_room", lambda self, *_: True)


def forget_what_wrapped(patch: Patch) -> None:
    patch.setattr(StateReceiver, "_expand", lambda self, truncated, bits: truncated)


def forget_what_wrapped_of_messages(patch: Patch) -> None:
    def defective(truncated: int, newest: int, bits: int) -> int:
        return truncated

    for module in (numbers, inbox):
        patch.setattr(module, "expand", defective)


def deliver_ordered_at_once(patch: Patch) -> None:
    seen: set[tuple[Inbox, int, int]] = set()

    def defective(self: Inbox, kind: int, number: int, truncated: int, body: bytes) -> bool:
        if (self, number, truncated) not in seen:
            seen.add((self, number, truncated))
            self._deliver(kind, body)
        return True

    patch.setattr(Inbox, "_take_ordered", defective)


def deliver_stale_ones(patch: Patch) -> None:
    take_message = Inbox._take_message
    seen: set[tuple[Inbox, int, int]] = set()

    def defective(self: Inbox, delivery: int, kind: int, stream: int, number: int, *rest: Any) -> bool:
        if delivery == SEQUENCED and (self, stream, number) not in seen:
            seen.add((self, stream, number))
            self._sequenced[stream] = number - 1
        return take_message(self, delivery, kind, stream, number, *rest)

    patch.setattr(Inbox, "_take_message", defective)


def retry_without_counting(patch: Patch) -> None:
    send_again = MessageSender.send_again

    def defective(self: MessageSender, message: Any) -> None:
        before = message.retries_left
        send_again(self, message)
        message.retries_left = before

    patch.setattr(MessageSender, "send_again", defective)


def report_the_lost_as_arrived(patch: Patch) -> None:
    finish = MessageSender.finish
    patch.setattr(MessageSender, "finish", lambda self, message, has_arrived: finish(self, message, True))


def take_replays(patch: Patch) -> None:
    patch.setattr(ReplayWindow, "is_received", lambda self, sequence: False)


def answer_requests_at_length(patch: Patch) -> None:
    send_global = NetcodeServer._send_global

    def defective(self: NetcodeServer, *arguments: Any) -> None:
        for _ in range(4):
            send_global(self, *arguments)

    patch.setattr(NetcodeServer, "_send_global", defective)


def try_spent_tickets_for_ever(patch: Patch) -> None:
    def defective(self: TokenSource, blob: bytes) -> None:
        if not self._fresh and not self._tried:
            add_ticket(self, blob)

    add_ticket = TokenSource.add_ticket
    patch.setattr(TokenSource, "add_ticket", defective)
    patch.setattr(TokenSource, "connection_stood", lambda self: None)


def keep_the_name_of_who_left(patch: Patch) -> None:
    leave = ServerCore._leave

    def defective(self: ServerCore, peer: Any, *arguments: Any) -> None:
        leave(self, peer, *arguments)
        self.by_name[peer.name] = peer

    patch.setattr(ServerCore, "_leave", defective)


def say_dropped_twice(patch: Patch) -> None:
    drop = ServerCore._drop

    def defective(self: ServerCore, peer: Any, now: float) -> None:
        drop(self, peer, now)
        drop(self, peer, now)

    patch.setattr(ServerCore, "_drop", defective)


def send_until_it_wraps(seed: int) -> str | None:
    """More messages than 16 bits count, over one connection."""
    ledger, pairs = Ledger(), Pairs()
    arrives = ReliableExactlyOnce(ledger, pairs)
    world = World(seed, line=LinkOptions(delay_s=0.005))
    world.witnesses.add(pairs, Recorder(ledger, pairs), AtMostOnce(ledger, pairs), arrives)
    world.server.start()
    client = world.add_client()
    world.run(1.0, until=lambda: client.is_connected)
    while len(ledger.messages) < 2**16 + 2000:
        for _ in range(200):
            ledger.send(client.session, SMALLEST_BYTES, Delivery.RELIABLE, world.now)
        client.turn()
        world.run(0.02)
    world.run(2.0)
    try:
        arrives.finish()
    except Violation as violation:
        return str(violation)
    return None


MUTANTS = [
    Mutant(
        "the ack of the previous newest is lost after a gap",
        lose_ack_of_the_previous_newest,
        {"line": LOSSY},
        "AcksAreTrue",
    ),
    Mutant(
        "a duplicate is accepted after a gap",
        accept_duplicates_after_a_gap,
        {"line": LOSSY, "events_hz": 40.0},
        "AtMostOnce",
    ),
    Mutant("a retry has no number", retry_without_a_number, {"line": LOSSY}, "AtMostOnce"),
    Mutant(
        "a delta is applied on the wrong base",
        apply_deltas_on_the_oldest_state,
        {"line": LOSSY},
        "StateIsTheServers",
    ),
    Mutant(
        "the update cache evicts and no full state follows",
        evict_without_a_full_state,
        {"config": Config(update_cache_size=4), "faults_per_min": {"partition": 20.0}, "tick_hz": 40.0},
        "StateIsTheServers",
    ),
    Mutant(
        "the replay window is advanced before the check",
        advance_the_replay_window_before_the_check,
        {"attacks_hz": 30.0, "clients": 2},
        "Undisturbed",
    ),
    Mutant(
        "silence is looked at only on receipt",
        look_at_silence_only_on_receipt,
        {
            "clients": 1,
            "config": Config(resume_window_s=5.0),
            "faults_per_min": {"partition": 4.0},
            "longest_fault_s": 50.0,
            "duration_s": 40.0,
        },
        "NoSessionOutlives",
    ),
    Mutant(
        "the wall clock is used and not the monotonic one",
        go_by_the_calendar,
        {"faults_per_min": {"wall_jump": 20.0}},
        "Undisturbed",
    ),
    Mutant(
        "the set of fragments is unbounded",
        reassemble_without_bound,
        {
            "config": Config(max_transfers=2),
            "client_config": Config(max_transfers=64),
            "large_events_per_min": 200.0,
            "line": LinkOptions(delay_s=0.03, rate_bytes_per_s=60_000, queue_bytes=100_000),
        },
        "WithinLimits",
        has_control=False,  # a client that begins more than the server takes holds itself up
    ),
    Mutant(
        "a state's number wraps",
        forget_what_wrapped,
        {"first_time_order": 2**24 - 20},
        "StateConverges",
    ),
    Mutant(
        "a message's number wraps",
        forget_what_wrapped_of_messages,
        {},
        "ReliableExactlyOnce",
        send_until_it_wraps,
    ),
    # One at least for every checker.
    Mutant("an ordered message does not wait", deliver_ordered_at_once, {"line": UNSTEADY}, "OrderedInOrder"),
    Mutant("a stale one is delivered", deliver_stale_ones, {"line": UNSTEADY}, "SequencedNeverBack"),
    Mutant("retries are not counted", retry_without_counting, {"line": BAD}, "RetriesBounded"),
    Mutant(
        "what is lost is reported as arrived", report_the_lost_as_arrived, {"line": BAD}, "AckIffDelivered"
    ),
    Mutant("replayed packets are taken", take_replays, {"line": LOSSY}, "Untampered"),
    Mutant("a request is answered at length", answer_requests_at_length, {}, "Amplification"),
    Mutant(
        "a spent ticket is tried for ever",
        try_spent_tickets_for_ever,
        {"faults_per_min": {"rebind": 20.0}},
        "StateConverges",
    ),
    Mutant(
        "a name is kept by who left",
        keep_the_name_of_who_left,
        {"faults_per_min": {"goodbye": 20.0}},
        "SeatsAreCounted",
    ),
    Mutant(
        "a drop is told twice", say_dropped_twice, {"faults_per_min": {"partition": 20.0}}, "HooksInOrder"
    ),
]
