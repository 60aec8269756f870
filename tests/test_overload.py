"""What slow peers, full queues and floods do to a server and a client: everything is bounded, and said."""

from __future__ import annotations

import gc
import logging
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress

import gevent
import pytest
from conftest import eventually
from native import run_natively, switching_often
from shell_pair import QUICK, Party, address_of, party

from pygase_gevent import (
    ArgumentError,
    CallTimeoutError,
    Client,
    Config,
    Delivery,
    Disconnect,
    DisconnectReason,
    GameStateStore,
    QueueFullError,
    Server,
)

RELIABLE = {"R": Delivery.RELIABLE}


@pytest.fixture
def net() -> Iterator[Party]:
    with party() as it:
        yield it


# --- who does not keep up -----------------------------------------------------------------------


@pytest.mark.crosses_threads
def test_a_client_that_takes_nothing_is_closed_so_that_broadcasts_go_on(net: Party) -> None:
    config = Config(close_linger_s=0.03, max_queued_events=8, slow_client_s=0.2)
    server = net.server(config=config, deliveries=RELIABLE)
    seen: list[int] = []
    good = net.client(server)
    good.register_event_handler("R", seen.append)
    slow = net.client(server, config=Config(close_linger_s=0.03, max_received_events=4), pump_events=True)
    sent: list[int] = []
    refused: list[int] = []

    def broadcast() -> bool:
        number = len(sent) + len(refused)
        try:
            server.dispatch_event("R", number)
        except QueueFullError:
            refused.append(number)
        else:
            sent.append(number)
        return len(server.connections) == 1

    eventually(broadcast)
    assert refused
    eventually(lambda: slow.connection.disconnect_reason)
    assert slow.connection.disconnect_reason == Disconnect(DisconnectReason.KICKED, "too slow")
    server.dispatch_event("R", -1)
    eventually(lambda: len(seen) == len(sent) + 1)
    assert sorted(seen) == [-1, *sent]


@pytest.mark.crosses_threads
def test_a_client_that_is_full_for_a_moment_stays(net: Party) -> None:
    config = Config(close_linger_s=0.03, max_queued_events=8, slow_client_s=0.2)
    server = net.server(config=config, deliveries=RELIABLE)
    client = net.client(server)
    client.register_event_handler("R", lambda number: None)
    refused = 0
    ends_at = time.monotonic() + 0.6
    while time.monotonic() < ends_at:
        try:
            server.dispatch_event("R", 1, target_client=address_of(server))
        except QueueFullError:
            refused += 1
            gevent.sleep(0.002)
    assert refused
    assert len(server.connections) == 1


@pytest.mark.crosses_threads
def test_a_broadcast_is_queued_for_all_or_for_none_whoever_else_dispatches(net: Party) -> None:
    config = Config(close_linger_s=0.03, max_queued_events=300)
    server = net.server(config=config, deliveries=RELIABLE)
    clients = [net.client(server) for _ in range(4)]
    seen: list[list[int]] = [[] for _ in clients]
    for client, numbers in zip(clients, seen, strict=True):
        client.register_event_handler("R", numbers.append)
    port = server.port
    assert port is not None
    server.shutdown()  # so that what is dispatched waits

    def broadcast(thread: int) -> int:
        for number in range(1000):
            try:
                server.dispatch_event("R", 1000 * thread + number)
            except QueueFullError:
                return number
        return 1000

    with switching_often():
        threads = [run_natively(broadcast, thread) for thread in range(4)]
        counts = [thread.wait() for thread in threads]
    assert sum(counts) == 300
    server.run_in_thread(port)
    eventually(lambda: all(len(numbers) >= 300 for numbers in seen))
    expected = sorted(1000 * thread + number for thread in range(4) for number in range(counts[thread]))
    assert [sorted(numbers) for numbers in seen] == [expected] * 4


@pytest.mark.crosses_threads
def test_an_answer_finds_room_when_events_do_not(net: Party) -> None:
    config = Config(close_linger_s=0.03, max_queued_events=50)
    server = net.server(config=config, deliveries=RELIABLE)
    server.register_event_handler("ADD", lambda a, b: a + b)
    client = net.client(server, config=Config(close_linger_s=0.03, max_received_events=50), pump_events=True)
    refused = 0
    while refused < 20:  # one after the other, until nothing moves any more
        try:
            server.dispatch_event("R")
        except QueueFullError:
            refused += 1
            gevent.sleep(0.005)
    assert client.call("ADD", 1, 2) == 3


@pytest.mark.crosses_threads
def test_every_delivered_event_has_its_callback_run_however_late(net: Party) -> None:
    server = net.server()
    server.register_event_handler("R", lambda: None)
    config = Config(close_linger_s=0.03, max_queued_events=20)
    client = net.client(server, config=config, deliveries=RELIABLE, pump_events=True)
    arrived: list[bool] = []
    sent = 0

    def send() -> bool:
        nonlocal sent
        try:
            client.dispatch_event("R", ack_callback=lambda: arrived.append(True))
        except QueueFullError:
            return sent >= 20
        sent += 1
        return False

    eventually(send)
    eventually(lambda: client.pump() >= 0 and len(arrived) == sent)
    send()
    eventually(lambda: client.pump() >= 0 and len(arrived) == sent)
    assert sent >= 21


@pytest.mark.crosses_threads
def test_calls_that_wait_are_bounded_by_bytes_too(net: Party) -> None:
    small = Config(close_linger_s=0.03, max_event_bytes=1100, max_received_bytes=2500)
    server = net.server()
    client = net.client(server, config=small, pump_events=True)
    client.register_event_handler("LEN", len)
    address = address_of(server)
    calls = [run_natively(lambda: server.call(address, "LEN", bytes(1000), timeout=1.0)) for _ in range(5)]
    eventually(lambda: client.connection.stats.drops["too_many_calls"] == 3)
    eventually(lambda: client.pump() >= 0 and client.connection.stats.calls_handled == 2)
    results: list[object] = []
    for call in calls:
        with suppress(CallTimeoutError):
            results.append(call.wait())
    assert results == [1000, 1000]


@pytest.mark.crosses_threads
def test_events_that_wait_for_pump_are_bounded_by_bytes_too(net: Party) -> None:
    small = Config(close_linger_s=0.03, max_event_bytes=1100, max_received_bytes=2500)
    server = net.server(deliveries=RELIABLE)
    client = net.client(server, config=small, pump_events=True)
    seen: list[int] = []
    client.register_event_handler("R", lambda number, data: seen.append(number))
    for number in range(30):
        server.dispatch_event("R", number, bytes(1000))
    counts: list[int] = []

    def pump() -> bool:
        counts.append(client.pump())
        return len(seen) == 30

    eventually(pump)
    assert max(counts) <= 3


@pytest.mark.crosses_threads
def test_who_left_is_freed_while_others_come_and_go(net: Party) -> None:
    server = net.server()
    first = net.client(server)
    connection = weakref.ref(server.connections[address_of(server)])
    first.disconnect()

    def is_freed() -> bool:
        net.client(server).disconnect()
        gc.collect()
        return connection() is None

    eventually(is_freed)


# --- what cannot work ---------------------------------------------------------------------------


def test_more_ordered_types_than_there_are_streams_are_refused_at_once() -> None:
    config = Config(max_streams=2)
    ordered = dict.fromkeys("ABC", Delivery.RELIABLE_ORDERED)
    with pytest.raises(ArgumentError, match="max_streams"):
        Server(GameStateStore(), deliveries=ordered, config=config)
    with pytest.raises(ArgumentError, match="SEQUENCED"):
        Client(deliveries=dict.fromkeys("ABC", Delivery.SEQUENCED), config=config)
    Client(
        deliveries={
            **dict.fromkeys("AB", Delivery.SEQUENCED),
            **dict.fromkeys("CD", Delivery.RELIABLE_ORDERED),
        },
        config=config,
    )


def test_a_queue_smaller_than_an_event_is_refused() -> None:
    with pytest.raises(ArgumentError, match="max_queued_bytes"):
        Config(max_queued_bytes=10_000)


@pytest.mark.parametrize(
    ("name", "value"), [("max_received_events", 1.5), ("recent_states", float("inf")), ("max_clients", 8.0)]
)
def test_a_count_is_a_whole_number(name: str, value: float) -> None:
    with pytest.raises(ArgumentError, match=f"{name} must be a whole number"):
        Config(**{name: value})  # type: ignore[arg-type]


# --- the log ------------------------------------------------------------------------------------


@pytest.mark.crosses_threads
def test_a_type_without_a_handler_is_logged_once_for_all_clients_and_not_in_full(
    net: Party, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.server()
    long_type = "x" * 200
    for _ in range(2):
        client = net.client(server, deliveries={long_type: Delivery.RELIABLE})
        client.dispatch_event(long_type)
        eventually(lambda: list(server.connections.values())[-1].stats.unhandled == 1)
        client.disconnect()
    warnings = [r.getMessage() for r in caplog.records if "no handler is registered" in r.getMessage()]
    assert len(warnings) == 1
    assert len(warnings[0]) < 250
    assert long_type not in warnings[0]


@pytest.mark.crosses_threads
@pytest.mark.parametrize("log_s", [1000.0, 0.000001])
def test_what_a_handler_raises_does_not_flood_the_log(
    net: Party, caplog: pytest.LogCaptureFixture, log_s: float
) -> None:
    server = net.server(config=Config(close_linger_s=0.03, handler_log_s=log_s))

    def fail() -> None:
        raise ValueError("no")

    server.register_event_handler("R", fail)
    for _ in range(2):
        client = net.client(server, deliveries=RELIABLE)
        for _ in range(25):
            client.dispatch_event("R")
        eventually(lambda: list(server.connections.values())[-1].stats.handler_errors == 25)
        client.disconnect()
    tracebacks = [r for r in caplog.records if r.levelno == logging.ERROR and "event 'R'" in r.getMessage()]
    assert all(record.exc_info for record in tracebacks)
    assert len(tracebacks) == (1 if log_s > 1 else 50)
    assert QUICK.handler_log_s == 1.0
