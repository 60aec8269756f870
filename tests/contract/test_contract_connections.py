"""The public contract, *Connections*."""

from __future__ import annotations

from typing import Any

import pytest

from pygase_gevent import Client, ConnectionStatus, Delivery, GameState
from pygase_gevent.config import Config
from pygase_gevent.tokens import issue_connect_token

from .conftest import Net
from .helpers import FAST, KEY, Recorder, eventually, only_address

pytestmark = pytest.mark.crosses_threads


def both(net: Net) -> tuple[Any, Any]:
    """The two sides' views of one connection."""
    server = net.server(GameState(a=1))
    client = net.client(server)
    return server.connections[only_address(server)], client.connection


def test_remote_address_is_where_the_other_side_is(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    name = only_address(server)
    assert server.connections[name].remote_address == name
    assert client.connection.remote_address == ("127.0.0.1", server.port)


def test_status_says_whether_it_stands(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    connection = server.connections[only_address(server)]
    assert client.connection.status == connection.status == ConnectionStatus.CONNECTED
    client.disconnect()
    assert client.connection.status == ConnectionStatus.DISCONNECTED
    eventually(lambda: connection.status == ConnectionStatus.DISCONNECTED)


def test_the_status_has_pygases_labels() -> None:
    for label, value in (("Disconnected", 0), ("Connected", None), ("Connecting", None)):
        status = ConnectionStatus.get(label)
        assert status == ConnectionStatus[label.upper()]
        assert ConnectionStatus.get(status) == label
        if value is not None:
            assert status == value


def test_latency_is_the_smoothed_round_trip_in_seconds(net: Net) -> None:
    for connection in both(net):
        eventually(lambda connection=connection: 0.0 < connection.latency < 0.25)


def test_quality_is_good_on_a_good_line(net: Net) -> None:
    for connection in both(net):
        eventually(lambda connection=connection: connection.quality == "good")


def test_quality_is_bad_above_the_limits_of_the_config(net: Net) -> None:
    config = Config(bad_latency_s=1e-9, close_linger_s=0.03)
    client = net.client(net.server(), config=config)
    eventually(lambda: client.connection.quality == "bad")


def test_stats_count_packets_and_bytes_each_way(net: Net) -> None:
    for connection in both(net):
        eventually(lambda connection=connection: connection.stats.packets_received > 0)
        stats = connection.stats
        assert stats.packets_sent > 0
        assert stats.bytes_sent > 0
        assert stats.bytes_received > 0


def test_stats_have_loss_jitter_resends_and_drops_by_reason(net: Net) -> None:
    for connection in both(net):
        stats = connection.stats
        assert 0.0 <= stats.loss <= 1.0
        assert 0.0 <= stats.jitter_s < 1.0
        assert stats.resends >= 0
        assert all(isinstance(reason, str) and count > 0 for reason, count in stats.drops.items())


def test_session_id_is_the_same_on_both_sides(net: Net) -> None:
    here, there = both(net)
    assert here.session_id == there.session_id
    assert isinstance(here.session_id, bytes)


def test_claims_are_what_the_token_said(net: Net) -> None:
    claims = {"name": "ada", "level": 7}
    server = net.server(key=KEY)
    token = issue_connect_token(key=KEY, server_addresses=[("127.0.0.1", server.port)], claims=claims)
    client = Client(config=FAST)
    net.connect(client, server, token=token)
    assert server.connections[only_address(server)].claims == claims
    assert client.connection.claims == claims


def test_without_a_token_there_are_no_claims(net: Net) -> None:
    for connection in both(net):
        assert connection.claims == {}


def test_disconnect_reason_is_none_while_it_lives_then_a_value_and_a_text(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    name = only_address(server)
    connection = server.connections[name]
    assert connection.disconnect_reason is None
    assert client.connection.disconnect_reason is None
    server.kick(name, "no cheating")
    eventually(lambda: client.connection.disconnect_reason)
    for view in (connection, client.connection):
        reason, text = view.disconnect_reason
        assert (reason.name, text) == ("KICKED", "no cheating")


def test_a_goodbye_is_a_reason_on_both_sides(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    connection = server.connections[only_address(server)]
    client.disconnect()
    eventually(lambda: connection.disconnect_reason)
    assert connection.disconnect_reason[0].name == "GOODBYE"
    assert client.connection.disconnect_reason[0].name == "GOODBYE"


def test_a_connection_may_be_read_from_any_thread_also_after_its_end(net: Net) -> None:
    server = net.server(deliveries={"NEWS": Delivery.RELIABLE})
    client = net.client(server)
    client.register_event_handler("NEWS", got := Recorder())
    server.dispatch_event("NEWS")
    got.wait()
    connection = server.connections[only_address(server)]
    client.disconnect()
    eventually(lambda: not server.connections)
    for view in (connection, client.connection):
        assert view.stats.packets_sent > 0
        assert view.quality in ("good", "bad")
        assert view.latency >= 0.0
