"""What a server publishes reaches every client, also while the content stays the same; in virtual time."""

from __future__ import annotations

import time

from pygase_gevent import Client, GameState, GameStateStore, GameStateUpdate, Server
from pygase_gevent.testing import LinkOptions, VirtualNetwork
from pygase_gevent.testing.plugin import LossyLink


def time_order_of(client: Client) -> int:
    with client.access_game_state() as game_state:
        return game_state.time_order


def publish(store: GameStateStore, seconds: float, **changes: object) -> None:
    """Publishes the same at 50 Hz."""
    for _ in range(round(50 * seconds)):
        store.push_update(GameStateUpdate(0, **changes))
        time.sleep(0.02)


def test_what_stays_the_same_is_not_sent_but_its_time_order_follows(
    virtual_network: VirtualNetwork, lossy_link: LossyLink
) -> None:
    store = GameStateStore(GameState(x=1))
    server = Server(store)
    server.run_in_thread()
    clients = [Client() for _ in range(3)]
    for client in clients:
        client.connect_in_thread(lossy_link(server.port or 0, loss=0.0).port)
        client.wait_connected()
    publish(store, 2, x=2)
    before = virtual_network.datagrams
    publish(store, 10, x=2)
    assert (virtual_network.datagrams - before) / 10 / len(clients) < 20  # keep-alives and their answers
    for client in clients:
        assert store.get_game_state().time_order - time_order_of(client) < 50  # a second


def test_a_change_gets_through_whatever_was_lost_around_it(virtual_network: VirtualNetwork) -> None:
    store = GameStateStore(GameState(x=0))
    server = Server(store)
    server.run_in_thread()
    lines = [virtual_network.link(server.port or 0, up=LinkOptions(delay_s=0.03)) for _ in range(3)]
    clients = [Client() for _ in lines]
    for client, line in zip(clients, lines, strict=True):
        client.connect_in_thread(line.port)
        client.wait_connected()
    for round_, line in enumerate(lines * 2, start=1):
        publish(store, 1, x=round_ - 1)
        line.partition()
        publish(store, 1, x=round_)
        line.heal()
        started = virtual_network.now
        for client in clients:
            client.wait_until(lambda game_state, x=round_: game_state.x == x, timeout=2)  # type: ignore[misc]
        assert virtual_network.now - started < 1.5
