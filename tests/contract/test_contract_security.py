"""The public contract: `game`, `key`, tokens, `kick`, `max_clients`; the design's security, from outside."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pygase_gevent import (
    Client,
    ConnectionClosedError,
    ConnectionStatus,
    GameState,
    NoAnswerError,
    Server,
    ServerFullError,
    UnknownClientError,
)
from pygase_gevent.config import Config
from pygase_gevent.tokens import issue_connect_token

from .conftest import Net
from .helpers import (
    FAST,
    KEY,
    OTHER_KEY,
    SHORT,
    NativeThread,
    Recorder,
    Router,
    eventually,
    is_up,
    only_address,
    shows,
)

pytestmark = pytest.mark.crosses_threads


def refused(net: Net, server: Server, **keywords: Any) -> str:
    """The message of a client that gets no answer."""
    client = net.client(server, wait=False, config=SHORT, **keywords)
    with pytest.raises(NoAnswerError) as info:
        client.wait_connected(10.0)
    assert not server.connections
    return str(info.value)


def token_for(server: Server, **keywords: Any) -> bytes:
    keywords.setdefault("key", KEY)
    return issue_connect_token(server_addresses=[("127.0.0.1", server.port)], **keywords)


# --- game and key -----------------------------------------------------------------------------------


def test_game_names_the_application(net: Net) -> None:
    server = net.server(GameState(a=1), game="pong")
    net.client(server, game="pong").wait_until(lambda state: shows(state, a=1), timeout=5.0)


def test_another_game_gets_no_answer(net: Net) -> None:
    assert "wrong game" in refused(net, net.server(game="pong"), game="chess")


def test_a_game_may_be_the_protocol_id_itself(net: Net) -> None:
    server = net.server(game=0x1122334455667788)
    net.client(server, game=0x1122334455667788).disconnect()
    eventually(lambda: not server.connections)
    refused(net, server, game=0x1122334455667789)


def test_a_shared_key_connects(net: Net) -> None:
    net.client(net.server(key=KEY), key=KEY)


@pytest.mark.parametrize(("server_key", "client_key"), [(KEY, OTHER_KEY), (KEY, None), (None, KEY)])
def test_a_wrong_key_gets_no_answer(net: Net, server_key: bytes | None, client_key: bytes | None) -> None:
    assert "wrong key" in refused(net, net.server(key=server_key), key=client_key)


def test_without_a_key_the_mode_is_open(net: Net) -> None:
    net.client(net.server(), key=bytes(32))
    net.client(net.server(key=bytes(32)))


def test_open_mode_beyond_loopback_logs_a_warning(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    server = net.idle_server()
    server.run_in_thread(hostname="0.0.0.0")
    (warning,) = [record for record in caplog.records if "open mode" in record.getMessage()]
    assert warning.levelno == logging.WARNING
    assert "key" in warning.getMessage()


def test_neither_loopback_nor_a_key_logs_a_warning(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    net.server()
    net.idle_server(key=KEY).run_in_thread(hostname="0.0.0.0")
    assert "open mode" not in caplog.text


# --- tokens -----------------------------------------------------------------------------------------


def test_a_client_with_a_token_needs_no_key(net: Net) -> None:
    server = net.server(GameState(a=1), key=KEY)
    client = net.connect(Client(config=FAST), server, token=token_for(server))
    client.wait_until(lambda state: shows(state, a=1), timeout=5.0)


def test_a_token_is_2048_bytes() -> None:
    token = issue_connect_token(key=KEY, server_addresses=[("127.0.0.1", 4000)])
    assert isinstance(token, bytes)
    assert len(token) == 2048


def test_a_token_of_another_key_gets_no_answer(net: Net) -> None:
    server = net.server(key=KEY)
    client = Client(config=SHORT)
    net.connect(client, server, token=token_for(server, key=OTHER_KEY), wait=False)
    with pytest.raises(NoAnswerError):
        client.wait_connected(10.0)


def test_a_token_is_good_for_one_connection(net: Net) -> None:
    server = net.server(key=KEY)
    token = token_for(server)
    first = net.connect(Client(config=FAST), server, token=token)
    second = net.connect(Client(config=SHORT), server, token=token, wait=False)
    with pytest.raises(NoAnswerError):
        second.wait_connected(10.0)
    assert is_up(first)
    assert len(server.connections) == 1


def test_public_addresses_are_what_tokens_are_checked_against_where_given(net: Net) -> None:
    server = net.server(key=KEY, public_addresses=[("203.0.113.7", 4000)])
    wrong = Client(config=SHORT)
    net.connect(wrong, server, token=token_for(server), wait=False)
    with pytest.raises(NoAnswerError):
        wrong.wait_connected(10.0)
    token = issue_connect_token(key=KEY, server_addresses=[("203.0.113.7", 4000)])
    net.connect(Client(config=FAST), server, token=token)


def test_without_public_addresses_a_token_may_name_any_address(net: Net) -> None:
    server = net.server(key=KEY)
    token = issue_connect_token(key=KEY, server_addresses=[("203.0.113.7", 4000)])
    net.connect(Client(config=FAST), server, token=token)


def test_a_session_of_a_token_resumes_without_a_new_token(net: Net) -> None:
    server = net.server(key=KEY)
    client = net.connect(Client(config=FAST), server, token=token_for(server, claims={"name": "ada"}))
    name = only_address(server)
    port = server.port
    server.shutdown()
    eventually(lambda: not is_up(client))
    server.run_in_thread(port)
    eventually(lambda: is_up(client))
    assert server.connections[name].claims == {"name": "ada"}


# --- what travels is encrypted ----------------------------------------------------------------------


@pytest.fixture
def tapped(net: Net) -> Iterator[tuple[Server, Client, Router]]:
    server = net.server(GameState(secret="the treasure is under the oak"), key=KEY)
    tap = Router(server.port)
    net.at_end(tap.close)
    yield server, net.client(tap.ports[0], key=KEY), tap


def test_no_word_of_state_or_events_is_readable_on_the_wire(tapped: tuple[Server, Client, Router]) -> None:
    server, client, tap = tapped
    server.register_event_handler("PASSWORD", got := Recorder())
    client.dispatch_event("PASSWORD", "correct horse", retries=5)
    got.wait()
    client.wait_until(lambda state: hasattr(state, "secret"), timeout=5.0)
    assert tap.datagrams
    for word in (b"treasure", b"PASSWORD", b"correct horse", b"secret"):
        assert not any(word in datagram for datagram in list(tap.datagrams))


def test_a_replayed_or_altered_datagram_changes_nothing(tapped: tuple[Server, Client, Router]) -> None:
    server, client, tap = tapped
    server.register_event_handler("PAY", got := Recorder())
    acked = Recorder()
    client.dispatch_event("PAY", retries=5, ack_callback=acked)
    acked.wait()
    name = only_address(server)
    recorded = list(tap.datagrams)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for datagram in recorded:
            altered = bytes([*datagram[:-1], datagram[-1] ^ 1])
            for copy in (datagram, altered):
                stranger.sendto(copy, ("127.0.0.1", server.port))
                tap.send_as_client(copy)
    client.dispatch_event("PAY", retries=5, ack_callback=acked)
    acked.wait(2)
    got.wait(2)
    assert len(got.calls) == 2
    assert list(server.connections) == [name]
    assert server.connections[name].status == ConnectionStatus.CONNECTED
    assert is_up(client)


# --- kick and max_clients ---------------------------------------------------------------------------


def test_a_kicked_client_is_told_why_and_the_connection_is_freed(net: Net) -> None:
    server = net.server()
    client = net.client(server)
    server.kick(only_address(server), "no cheating")
    eventually(lambda: not server.connections)
    eventually(lambda: client.connection.status == ConnectionStatus.DISCONNECTED)
    assert client.connection.disconnect_reason.text == "no cheating"


def test_a_kicked_client_does_not_come_back_by_itself(net: Net) -> None:
    server = net.server()
    client = Client(config=FAST)
    thread = NativeThread(client.connect, server.port)
    client.wait_connected(5.0)
    server.kick(only_address(server), "no cheating")
    with pytest.raises(ConnectionClosedError, match="no cheating"):
        thread.wait()
    assert not server.connections


def test_the_others_go_on_after_a_kick(net: Net) -> None:
    server = net.server()
    net.client(server)
    name = only_address(server)
    other = net.client(server)
    server.kick(name, "no cheating")
    server.register_event_handler("PING", got := Recorder())
    other.dispatch_event("PING", retries=5)
    got.wait()
    assert is_up(other)


def test_an_unknown_client_cannot_be_kicked(net: Net) -> None:
    with pytest.raises(UnknownClientError, match="12345"):
        net.server().kick(("127.0.0.1", 12345), "who?")


def test_a_handler_may_kick_its_own_client(net: Net) -> None:
    server = net.server()
    server.register_event_handler("CHEAT", lambda client_address: server.kick(client_address, "no cheating"))
    client = net.client(server)
    client.dispatch_event("CHEAT", retries=5)
    eventually(lambda: client.connection.disconnect_reason)
    assert client.connection.disconnect_reason.text == "no cheating"


def test_max_clients_is_the_number_of_seats_and_a_denied_client_is_told_why(net: Net) -> None:
    server = net.server(config=Config(max_clients=2, close_linger_s=0.03))
    first = net.client(server)
    net.client(server)
    eventually(lambda: len(server.connections) == 2)
    late = net.client(server, wait=False)
    with pytest.raises(ServerFullError, match="full"):
        late.wait_connected(5.0)
    assert late.connection.status == ConnectionStatus.DISCONNECTED
    assert late.connection.disconnect_reason.reason.name == "SERVER_FULL"
    first.disconnect()
    eventually(lambda: len(server.connections) == 1)
    net.client(server)


def test_the_seat_of_a_session_that_is_away_is_kept(net: Net) -> None:
    server = net.server(config=Config(max_clients=1, close_linger_s=0.03))
    client = net.client(server)
    name = only_address(server)
    port = server.port
    server.shutdown()
    eventually(lambda: not is_up(client))
    server.run_in_thread(port)
    late = net.client(server, wait=False)
    with pytest.raises(ServerFullError):
        late.wait_connected(5.0)
    eventually(lambda: is_up(client))
    assert list(server.connections) == [name]
