"""The public contract, *Beyond PyGaSe*: delivery, and data of any size."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pygase_gevent import Client, Delivery, GameState, GameStateUpdate, MessageTooLargeError, QueueFullError
from pygase_gevent.config import Config

from .conftest import Net
from .helpers import FAST, Recorder, Router, eventually, is_up, only_address, shows

pytestmark = pytest.mark.crosses_threads

RELIABLE = (Delivery.RELIABLE, Delivery.RELIABLE_ORDERED)
KEPT_FOR_A_MOMENT = Config(close_linger_s=0.03, unreliable_lifetime_s=0.05)


def test_there_are_four_deliveries() -> None:
    assert {delivery.name for delivery in Delivery} == {
        "UNRELIABLE",
        "SEQUENCED",
        "RELIABLE",
        "RELIABLE_ORDERED",
    }


@pytest.mark.parametrize("delivery", Delivery)
def test_the_sender_says_how_a_type_travels_and_the_receiver_needs_nothing(
    net: Net, delivery: Delivery
) -> None:
    server = net.server(deliveries={"DOWN": delivery})
    server.register_event_handler("UP", up := Recorder())
    client = net.client(server, deliveries={"UP": delivery})
    client.register_event_handler("DOWN", down := Recorder())
    client.dispatch_event("UP", 1)
    server.dispatch_event("DOWN", 2)
    up.wait()
    down.wait()
    assert (up.args, down.args) == ([(1,)], [(2,)])


def test_both_sides_may_keep_one_mapping_in_shared_code(net: Net) -> None:
    shared = {"CHAT": Delivery.RELIABLE_ORDERED, "AIM": Delivery.SEQUENCED}
    server = net.server(deliveries=shared)
    server.register_event_handler("CHAT", got := Recorder())
    client = net.client(server, deliveries=shared)
    client.register_event_handler("CHAT", back := Recorder())
    client.dispatch_event("CHAT", "up")
    server.dispatch_event("CHAT", "down")
    assert got.wait()[0].args == ("up",)
    assert back.wait()[0].args == ("down",)
    assert shared == {"CHAT": Delivery.RELIABLE_ORDERED, "AIM": Delivery.SEQUENCED}


def test_reliable_ordered_arrives_exactly_once_and_in_order(net: Net) -> None:
    server = net.server()
    server.register_event_handler("CHAT", got := Recorder())
    client = net.client(server, deliveries={"CHAT": Delivery.RELIABLE_ORDERED})
    for number in range(500):
        client.dispatch_event("CHAT", number)
    got.wait(500)
    assert got.args == [(number,) for number in range(500)]


def test_reliable_arrives_exactly_once(net: Net) -> None:
    server = net.server()
    server.register_event_handler("CHAT", got := Recorder())
    client = net.client(server, deliveries={"CHAT": Delivery.RELIABLE})
    acked = Recorder()
    for number in range(500):
        client.dispatch_event("CHAT", number, ack_callback=acked)
    got.wait(500)
    acked.wait(500)
    assert sorted(got.args) == [(number,) for number in range(500)]


def test_sequenced_newest_wins_and_old_ones_are_dropped(net: Net) -> None:
    server = net.server()
    server.register_event_handler("AIM", got := Recorder())
    client = net.client(server, deliveries={"AIM": Delivery.SEQUENCED})
    for number in range(300):
        client.dispatch_event("AIM", number)
    eventually(lambda: got.args and got.args[-1] == (299,))
    assert got.args == sorted(set(got.args))


def test_types_are_streams_of_their_own(net: Net) -> None:
    server = net.server()
    server.register_event_handler("A", first := Recorder())
    server.register_event_handler("B", second := Recorder())
    ordered = Delivery.RELIABLE_ORDERED
    client = net.client(server, deliveries={"A": ordered, "B": ordered})
    for number in range(100):
        client.dispatch_event("A", number)
        client.dispatch_event("B", -number)
    first.wait(100)
    second.wait(100)
    assert first.args == [(number,) for number in range(100)]
    assert second.args == [(-number,) for number in range(100)]


def restart_while(net: Net, server: Any, client: Client, action: Any) -> None:
    """Takes the server away, does something, waits a little longer than unreliable events live."""
    port = server.port
    server.shutdown()
    eventually(lambda: not is_up(client))
    action()
    time.sleep(0.2)
    server.run_in_thread(port)
    eventually(lambda: is_up(client))


@pytest.mark.parametrize("delivery", Delivery)
def test_while_connecting_reliable_events_queue_and_unreliable_ones_live_for_a_moment(
    net: Net, delivery: Delivery
) -> None:
    server = net.server()
    server.register_event_handler("NEWS", got := Recorder())
    client = net.client(server, deliveries={"NEWS": delivery}, config=KEPT_FOR_A_MOMENT)
    restart_while(net, server, client, lambda: client.dispatch_event("NEWS", "meanwhile"))
    client.dispatch_event("NEWS", "after", retries=3)
    eventually(lambda: ("after",) in got.args)
    if delivery in RELIABLE:
        eventually(lambda: len(got.args) == 2)
    assert got.args.count(("meanwhile",)) == (1 if delivery in RELIABLE else 0)


def test_while_connecting_the_limit_of_the_queue_raises_at_the_call(net: Net) -> None:
    server = net.server()
    server.register_event_handler("NEWS", got := Recorder())
    config = Config(max_queued_events=20, close_linger_s=0.03)
    client = net.client(server, deliveries={"NEWS": Delivery.RELIABLE_ORDERED}, config=config)
    queued: list[int] = []

    def fill() -> None:
        with pytest.raises(QueueFullError, match="20"):
            for number in range(21):
                client.dispatch_event("NEWS", number)
                queued.append(number)

    restart_while(net, server, client, fill)
    assert len(queued) == 20
    got.wait(20)
    assert got.args == [(number,) for number in queued]


def test_reliable_events_from_the_server_wait_for_a_client_that_is_away(net: Net) -> None:
    server = net.server(deliveries={"NEWS": Delivery.RELIABLE_ORDERED})
    client = net.client(server)
    name = only_address(server)
    client.register_event_handler("NEWS", got := Recorder())
    acked = Recorder()

    def meanwhile() -> None:
        for number in range(5):
            server.dispatch_event("NEWS", number, target_client=name, ack_callback=acked)

    restart_while(net, server, client, meanwhile)
    acked.wait(5)
    assert got.args == [(number,) for number in range(5)]


def test_retries_apply_to_unreliable_events_and_are_ignored_by_reliable_ones(net: Net) -> None:
    server = net.server()
    server.register_event_handler("NEWS", got := Recorder())
    server.register_event_handler("SURE", sure := Recorder())
    client = net.client(server, deliveries={"SURE": Delivery.RELIABLE})
    acked = Recorder()
    client.dispatch_event("NEWS", retries=5, ack_callback=acked)
    client.dispatch_event("SURE", retries=5, ack_callback=acked)
    client.dispatch_event("SURE", retries=0, ack_callback=acked)
    acked.wait(3)
    got.wait(1)
    sure.wait(2)
    assert (len(got.calls), len(sure.calls)) == (1, 2)


def test_retries_resend_what_was_lost(net: Net) -> None:
    server = net.server()
    server.register_event_handler("ONCE", once := Recorder())
    server.register_event_handler("AGAIN", again := Recorder())
    router = Router(server.port)
    net.at_end(router.close)
    client = net.client(router.ports[0])
    router.route(0, None)
    acked = Recorder()
    client.dispatch_event("ONCE", ack_callback=acked)
    client.dispatch_event("AGAIN", retries=50, ack_callback=acked)
    eventually(lambda: client.connection.stats.resends >= 1)  # so both were sent, and lost
    router.route(0, 0)
    again.wait()
    client.dispatch_event("AGAIN", "and on", retries=50, ack_callback=acked)
    acked.wait(2)
    assert again.args == [(), ("and on",)]
    assert once.calls == []
    assert len(acked.calls) == 2  # none of them for what was lost


def test_the_servers_ack_callback_never_runs_for_what_was_lost(net: Net) -> None:
    server = net.server()
    router = Router(server.port)
    net.at_end(router.close)
    client = net.client(router.ports[0])
    client.register_event_handler("ONCE", once := Recorder())
    client.register_event_handler("AGAIN", again := Recorder())
    connection = server.connections[only_address(server)]
    eventually(lambda: 0.0 < connection.latency < 0.25)  # measured, so that resends come soon
    router.is_mute = True
    acked = Recorder()
    server.dispatch_event("ONCE", ack_callback=acked)
    server.dispatch_event("AGAIN", retries=50, ack_callback=acked)
    eventually(lambda: connection.stats.resends >= 1)  # so both were sent, and lost
    router.is_mute = False
    acked.wait()
    server.dispatch_event("AGAIN", retries=50, ack_callback=acked)
    acked.wait(2)
    again.wait(2)
    assert once.calls == []
    assert len(acked.calls) == 2


@pytest.mark.parametrize("delivery", Delivery)
def test_an_event_resent_because_its_ack_was_lost_is_handled_once(net: Net, delivery: Delivery) -> None:
    server = net.server()
    server.register_event_handler("NEWS", got := Recorder())
    router = Router(server.port)
    net.at_end(router.close)
    client = net.client(router.ports[0], deliveries={"NEWS": delivery})
    acked = Recorder()
    eventually(lambda: 0.0 < client.connection.latency < 0.25)  # measured, so that resends come soon
    router.is_mute = True
    client.dispatch_event("NEWS", 1, retries=50, ack_callback=acked)
    got.wait()
    eventually(lambda: client.connection.stats.resends >= 2)
    assert acked.calls == []
    router.is_mute = False
    acked.wait()
    client.dispatch_event("NEWS", 2, retries=50, ack_callback=acked)
    acked.wait(2)
    got.wait(2)
    assert got.args == [(1,), (2,)]
    assert len(acked.calls) == 2


# --- any size ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2_000, 100_000, 1024 * 1024 - 200])
@pytest.mark.parametrize("delivery", [Delivery.UNRELIABLE, Delivery.RELIABLE_ORDERED])
def test_an_event_of_up_to_a_mebibyte_arrives(net: Net, size: int, delivery: Delivery) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    server = net.server()
    server.register_event_handler("LARGE", got := Recorder())
    client = net.client(server, deliveries={"LARGE": delivery})
    client.dispatch_event("LARGE", body[:size])
    (call,) = got.wait()
    assert call.args[0] == body[:size]


def test_a_large_event_travels_down_too_while_small_ones_go_on(net: Net) -> None:
    server = net.server(deliveries={"SMALL": Delivery.RELIABLE_ORDERED, "LARGE": Delivery.RELIABLE})
    client = net.client(server)
    client.register_event_handler("LARGE", large := Recorder())
    client.register_event_handler("SMALL", small := Recorder())
    server.dispatch_event("LARGE", bytes(500_000))
    for number in range(50):
        server.dispatch_event("SMALL", number)
    small.wait(50)
    assert small.args == [(number,) for number in range(50)]
    assert len(large.wait()[0].args[0]) == 500_000


def test_a_large_state_arrives_while_the_game_goes_on(net: Net) -> None:
    server = net.server(GameState(n=0, blob=bytes(2 * 1024 * 1024)))
    client = net.client(server)
    for number in range(1, 30):
        server.game_state_store.push_update(GameStateUpdate(0, n=number))
        time.sleep(0.002)
    client.wait_until(lambda state: shows(state, n=29), timeout=10.0)
    with client.access_game_state() as state:
        assert len(state.blob) == 2 * 1024 * 1024


def test_a_new_client_receives_a_large_state_beside_one_that_has_it(net: Net) -> None:
    server = net.server(GameState(n=0, blob=dict.fromkeys(range(5000), "x" * 50)))
    first = net.client(server)
    first.wait_until(lambda state: shows(state, n=0), timeout=10.0)
    second = net.client(server)
    server.game_state_store.push_update(GameStateUpdate(0, n=1))
    first.wait_until(lambda state: shows(state, n=1), timeout=5.0)
    second.wait_until(lambda state: shows(state, n=1) and len(state.blob) == 5000, timeout=10.0)


def test_the_limit_of_an_event_is_configurable_on_both_sides(net: Net) -> None:
    config = Config(max_event_bytes=5_000, close_linger_s=0.03)
    server = net.server(config=config)
    client = net.client(server, config=config)
    with pytest.raises(MessageTooLargeError, match="5000"):
        client.dispatch_event("LARGE", bytes(6_000))
    with pytest.raises(MessageTooLargeError, match="5000"):
        server.dispatch_event("LARGE", bytes(6_000))
    server.register_event_handler("FITS", got := Recorder())
    client.dispatch_event("FITS", bytes(4_000))
    got.wait()


def test_an_event_over_the_receivers_limit_disturbs_nobody(net: Net) -> None:
    server = net.server(config=Config(max_event_bytes=5_000, close_linger_s=0.03))
    server.register_event_handler("LARGE", got := Recorder())
    server.register_event_handler("SMALL", small := Recorder())
    client = net.client(server, config=FAST)
    client.dispatch_event("LARGE", bytes(20_000))
    client.dispatch_event("SMALL", retries=5)
    small.wait()
    assert is_up(client)
    assert got.calls == []
