"""The life of a session, as the public contract tells it, in virtual time."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from pygase_gevent.config import Config
from pygase_gevent.event import Delivery
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.client_events import ClientPhase, Connected
from pygase_gevent.protocol.identity import Identity, encode_claims, encode_user_data
from pygase_gevent.protocol.netcode import generate_connect_token
from pygase_gevent.protocol.netcode.packet import PacketType
from pygase_gevent.protocol.reasons import DisconnectReason
from pygase_gevent.testing.link import LinkOptions
from tests.core_world import KEY, SERVER_ADDRESS, CoreWorld, VirtualClient, closed_reason


def connected(client: VirtualClient) -> bool:
    return client.core.phase is ClientPhase.CONNECTED


def joined_world(seed: int = 1, **options: object) -> tuple[CoreWorld, VirtualClient]:
    world = CoreWorld(seed, **options)  # type: ignore[arg-type]
    world.server.start()
    client = world.add_client()
    assert world.run(10, lambda: connected(client))
    world.run(0.5)
    return world, client


def resuming_world(**options: object) -> tuple[CoreWorld, VirtualClient]:
    """A joined client whose lines are cut, and that has begun to resume."""
    world, client = joined_world(**options)
    world.cut()
    assert world.run(5, lambda: client.core.phase is ClientPhase.RESUMING)
    return world, client


def make_token(
    world: CoreWorld,
    *,
    expire_seconds: int = 30,
    timeout_seconds: int = 5,
    claims: dict[str, object] | None = None,
    user_data: bytes | None = None,
    server_address: Address = SERVER_ADDRESS,
) -> bytes:
    if user_data is None:
        user_data = encode_user_data(Identity(claims=encode_claims(claims, world.config)))
    return generate_connect_token(
        private_key=KEY,
        protocol_id=world.protocol_id,
        client_id=world.random.getrandbits(64),
        server_addresses=[server_address],
        user_data=user_data,
        unix_time=world.unix_time,
        expire_seconds=expire_seconds,
        timeout_seconds=timeout_seconds,
        entropy=world.random.randbytes,
    ).to_bytes()


def test_a_client_connects_and_both_sides_exchange_messages() -> None:
    world, client = joined_world()
    peer = world.peer(client)
    assert peer.name == client.address
    for i in range(20):
        world.send_from(client, b"up%d" % i)
        world.send_to(peer, b"down%d" % i)
    world.run(1)
    assert world.server_received[peer.name] == [b"up%d" % i for i in range(20)]
    assert world.received_by(client) == [b"down%d" % i for i in range(20)]
    assert world.names() == ["PeerJoined"]
    assert world.names_of(client) == ["Connected"]


def test_messages_of_before_the_first_connection_are_kept() -> None:
    world = CoreWorld()
    client = world.add_client()
    world.send_from(client, b"early")
    world.run(3)
    assert not connected(client)
    world.server.start()
    assert world.run(10, lambda: connected(client))
    world.run(0.5)
    assert world.server_received[client.address] == [b"early"]


def test_no_answer_ends_the_attempt_after_the_window() -> None:
    world = CoreWorld()
    client = world.add_client()
    assert world.run(60, lambda: client.core.phase is ClientPhase.CLOSED)
    assert closed_reason(world, client) is DisconnectReason.NO_ANSWER
    assert 30 <= world.now - 1000 <= 31


def test_wrong_key_is_no_answer_and_the_server_counts_it() -> None:
    world = CoreWorld()
    world.server.start()
    client = world.add_client(key=bytes(32))
    assert world.run(60, lambda: client.core.phase is ClientPhase.CLOSED)
    assert closed_reason(world, client) is DisconnectReason.NO_ANSWER
    assert sum(world.server.core.netcode_drops.values()) > 100
    assert world.names() == []


def test_goodbye_of_the_client_frees_the_seat_at_once() -> None:
    world, client = joined_world()
    client.disconnect()
    world.run(0.05)
    assert world.names() == ["PeerJoined", "PeerLeft"]
    assert not world.server.core.sessions
    world.run(0.5)
    assert closed_reason(world, client) is DisconnectReason.GOODBYE


def test_goodbye_may_ask_for_a_shutdown() -> None:
    world, client = joined_world()
    client.disconnect(shutdown_server=True)
    world.run(0.5)
    assert world.names() == ["PeerJoined", "ShutdownRequested", "PeerLeft"]


def test_goodbye_arrives_on_a_lossy_line() -> None:
    heard = 0
    for seed in range(20):
        world, client = joined_world(seed, line=LinkOptions(delay_s=0.01, loss=0.2))
        client.disconnect()
        world.run(0.5)
        heard += world.names()[-1] == "PeerLeft"
    assert heard >= 19  # each of several sends would have to be lost


def test_a_goodbye_before_the_welcome_is_heard_too() -> None:
    """The server has resumed the session; the client, which does not know yet, leaves."""
    world, client = joined_world(line=LinkOptions(delay_s=0.05))
    world.cut()
    world.run(3)
    world.cut(False)
    assert world.run(5, lambda: "PeerResumed" in world.names())
    assert client.core.phase is ClientPhase.RESUMING
    client.disconnect()
    world.run(0.5)
    assert world.names() == ["PeerJoined", "PeerResumed", "PeerLeft"]


def test_a_goodbye_that_crosses_the_servers_shutdown_is_a_goodbye() -> None:
    world, client = joined_world()
    client.disconnect()
    world.server.stop()
    world.run(0.5)
    assert closed_reason(world, client) is DisconnectReason.GOODBYE


def test_kick_tells_the_client_why() -> None:
    world, client = joined_world()
    peer = world.peer(client)
    world.server.kick(peer, "too loud")
    assert not world.server.core.sessions
    world.run(0.5)
    assert closed_reason(world, client) is DisconnectReason.KICKED
    assert client.core.disconnect_text == "too loud"
    assert peer.disconnect_reason is DisconnectReason.KICKED
    assert world.names() == ["PeerJoined", "PeerLeft"]


def test_a_full_server_says_so_and_has_room_again_after_a_goodbye() -> None:
    world, client = joined_world(config=Config(max_clients=1))
    late = world.add_client()
    assert world.run(10, lambda: late.core.phase is ClientPhase.CLOSED)
    assert closed_reason(world, late) is DisconnectReason.SERVER_FULL
    client.disconnect()
    world.run(1)
    third = world.add_client()
    assert world.run(10, lambda: connected(third))


def test_three_seconds_of_silence_resume_the_session() -> None:
    world, client = joined_world()
    peer, session_id, name = world.peer(client), client.core.session_id, client.address
    world.cut()
    for i in range(5):
        world.send_from(client, b"up%d" % i)
        world.send_to(peer, b"down%d" % i)
    world.run(3)
    assert client.core.phase is ClientPhase.RESUMING
    world.cut(False)
    assert world.run(5, lambda: connected(client))
    world.run(1)
    assert world.names_of(client) == ["Connected", "Dropped", "Resumed"]
    assert world.names() == ["PeerJoined", "PeerResumed"]
    assert client.core.session_id == session_id
    assert peer.name == name
    assert peer.remote_address == client.address != name
    assert world.server_received[name] == [b"up%d" % i for i in range(5)]
    assert world.received_by(client) == [b"down%d" % i for i in range(5)]


def test_ten_seconds_of_silence_drop_and_resume_it() -> None:
    world, client = joined_world()
    world.cut()
    world.run(10)
    assert world.names() == ["PeerJoined", "PeerDropped"]
    world.send_from(client, b"while away")
    world.cut(False)
    assert world.run(5, lambda: connected(client))
    world.run(1)
    assert world.names() == ["PeerJoined", "PeerDropped", "PeerResumed"]
    assert world.names_of(client) == ["Connected", "Dropped", "Resumed"]
    assert next(iter(world.server_received.values())) == [b"while away"]


def test_forty_seconds_of_silence_end_it_on_both_sides() -> None:
    world, client = joined_world()
    peer = world.peer(client)
    world.cut()
    world.run(41)
    assert world.names() == ["PeerJoined", "PeerDropped", "PeerLeft"]
    assert world.names_of(client) == ["Connected", "Dropped", "Closed"]
    assert closed_reason(world, client) is DisconnectReason.TIMED_OUT
    assert peer.disconnect_reason is DisconnectReason.TIMED_OUT
    assert not world.server.core.sessions
    assert not world.server.core.by_name


@pytest.mark.parametrize("window_s", [5.0, 6.5, 30.0])
def test_a_client_gives_up_within_a_second_of_the_window(window_s: float) -> None:
    # An attempt that began within the window used to be brought to its end, up to 5 s later.
    world, client = joined_world(config=Config(resume_window_s=window_s))
    world.cut()
    cut_at = world.now
    assert world.run(60, lambda: client.is_over)
    assert world.now - cut_at <= world.config.timeout_s + window_s + 1.0


def test_many_drops_in_a_row_are_all_resumed() -> None:
    world, client = joined_world(3, line=LinkOptions(loss=0.1, delay_s=0.05, jitter_s=0.02))
    session_id = client.core.session_id
    name = world.peer(client).name
    for i in range(12):
        world.send_from(client, b"%d" % i)
        world.cut()
        world.run(2.1 + world.random.random() * 8)
        world.cut(False)
        assert world.run(20, lambda: connected(client)), i
        world.run(world.random.random() * 0.2)
    world.run(3)
    assert client.core.session_id == session_id
    assert world.server_received[name] == [b"%d" % i for i in range(12)]


def test_an_attempt_that_moves_on_is_not_given_up_for_the_next() -> None:
    # Its response used to reach the server after the client had turned to its next ticket, which the
    # server then refused for 5 s: it had a connection with that address already.
    world, client = resuming_world(line=LinkOptions(delay_s=0.2))
    world.run(world.config.handshake_attempt_s - 0.6)
    world.cut(False)
    assert world.run(1.5, lambda: client.is_connected)
    assert world.names() == ["PeerJoined", "PeerDropped", "PeerResumed"]


def resumes_within(world: CoreWorld, client: VirtualClient, seconds: float) -> bool:
    return world.run(seconds, lambda: client.core.phase is ClientPhase.CONNECTED)


def test_a_nat_rebind_in_the_middle_of_a_handshake_costs_a_second() -> None:
    # The ticket in use used to be bound to the address that was no more, for 5 s.
    world, client = resuming_world()
    world.line_of(client).cut(up=False, down=True)
    world.run(0.5)
    client.rebind()
    world.cut(False)
    assert resumes_within(world, client, world.config.resume_attempt_s + 0.5)


def test_a_nat_rebind_after_every_ticket_was_shown_costs_nothing() -> None:
    world, client = resuming_world()
    world.line_of(client).cut(up=False, down=True)
    world.run(10.0)
    client.rebind()
    world.cut(False)
    assert resumes_within(world, client, 0.5)


@pytest.mark.parametrize("round_trip_s", [1.04, 1.6, 3.0])
def test_a_line_that_became_slow_is_resumed_over(round_trip_s: float) -> None:
    # Its tickets used to be changed each second, and every challenge came for the one before.
    world, client = resuming_world()
    world.line_of(client).set_options(LinkOptions(delay_s=round_trip_s / 2))
    world.cut(False)
    # Three tickets for a second each, then one that is waited for: request, response, welcome.
    assert resumes_within(world, client, 4.0 + 3 * round_trip_s)


def test_a_server_restarted_in_the_middle_of_a_handshake_costs_a_second() -> None:
    # Its challenge is nothing to the new run, and used to be answered for 5 s.
    world, client = resuming_world()
    world.cut(False)
    assert world.run(1, lambda: world.sent_by(client)[-1][0] & 0xF == PacketType.RESPONSE)
    world.cut()
    world.server.stop()
    world.run(0.3)
    world.cut(False)
    world.server.start()
    assert resumes_within(world, client, world.config.resume_attempt_s + 0.5)


def test_another_source_port_is_a_resume() -> None:
    world, client = joined_world()
    peer, name = world.peer(client), client.address
    client.rebind()
    world.send_from(client, b"after the rebind")
    assert world.run(10, lambda: "Resumed" in world.names_of(client))
    world.run(0.5)
    assert peer.name == name
    assert peer.remote_address == client.address
    assert world.server_received[name] == [b"after the rebind"]


def test_a_shut_down_server_that_runs_again_remembers() -> None:
    world, client = joined_world()
    session_id, name = client.core.session_id, client.address
    world.server.stop()
    world.run(0.1)
    assert client.core.phase is ClientPhase.RESUMING  # told at once
    world.send_from(client, b"while down")
    world.run(10)
    assert list(world.server.core.sessions) == [session_id]
    world.server.start()
    assert world.run(10, lambda: connected(client))
    world.run(0.5)
    assert client.core.session_id == session_id
    assert world.names_of(client) == ["Connected", "Dropped", "Resumed"]
    assert world.names() == ["PeerJoined", "PeerResumed"]
    assert world.server_received[name] == [b"while down"]


def test_a_shutdown_in_the_middle_of_a_handshake_does_not_spend_the_ticket() -> None:
    # The request was taken and its challenge lost: the server used to refuse the ticket in its next run.
    world, client = resuming_world()
    world.line_of(client).cut(up=False, down=True)
    world.run(0.3)
    world.server.stop()
    world.run(0.2)
    world.cut(False)
    world.server.start()
    assert world.run(0.5, lambda: connected(client))


def test_clocks_stand_still_while_the_server_is_down() -> None:
    world, client = joined_world()
    client.die()
    world.run(10)
    world.server.stop()
    world.run(500)
    world.server.start()
    world.run(20)
    assert world.names() == ["PeerJoined", "PeerDropped"]
    world.run(15)
    assert world.names() == ["PeerJoined", "PeerDropped", "PeerLeft"]


def test_a_server_that_stays_away_is_given_up() -> None:
    world, client = joined_world()
    world.server.stop()
    assert world.run(60, lambda: client.core.phase is ClientPhase.CLOSED)
    assert closed_reason(world, client) is DisconnectReason.SHUTDOWN


def test_a_new_process_takes_the_ticket_as_a_new_session() -> None:
    world, client = joined_world()
    old = client.core.session_id
    world.replace_server()
    for i in range(4):
        world.send_from(client, b"lost %d" % i)
    world.run(1)
    world.server.start()
    assert world.run(20, lambda: connected(client) and client.core.session_id != old)
    world.run(0.5)
    assert world.names() == ["PeerJoined", "PeerJoined"]
    assert world.server_received == {}
    news = [event for event in world.events_of(client) if isinstance(event, Connected)]
    assert [event.discarded for event in news] == [0, 4]
    assert client.core.discarded_messages == 4
    world.send_from(client, b"new")
    world.run(0.5)
    assert list(world.server_received.values()) == [[b"new"]]


def test_a_newcomer_at_a_dropped_sessions_name_makes_it_leave() -> None:
    world, client = joined_world()
    first = world.peer(client)
    client.die()
    world.run(6)
    assert world.names() == ["PeerJoined", "PeerDropped"]
    newcomer = world.add_client(host=client.host, port=first.name[1])
    assert world.run(10, lambda: connected(newcomer))
    assert world.names() == ["PeerJoined", "PeerDropped", "PeerLeft", "PeerJoined"]
    assert first.disconnect_reason is DisconnectReason.REPLACED


def test_a_newcomer_at_a_live_sessions_name_is_closed_with_the_reason() -> None:
    world, client = joined_world()
    name = client.address
    client.rebind()
    assert world.run(10, lambda: "Resumed" in world.names_of(client))
    world.run(6)
    newcomer = world.add_client(host=client.host, port=name[1])
    assert world.run(10, lambda: newcomer.core.phase is ClientPhase.CLOSED)
    assert closed_reason(world, newcomer) is DisconnectReason.NAME_TAKEN
    assert connected(client)


def test_a_token_brings_its_claims_to_both_sides() -> None:
    world = CoreWorld()
    world.server.start()
    client = world.add_client(key=bytes(32), token=make_token(world, claims={"user": 42}))
    assert world.run(10, lambda: connected(client))
    assert world.peer(client).claims == {"user": 42}
    assert client.core.claims == {"user": 42}


def test_a_client_with_a_token_resumes_by_tickets() -> None:
    world = CoreWorld()
    world.server.start()
    client = world.add_client(key=bytes(32), token=make_token(world, claims={"user": 1}))
    assert world.run(10, lambda: connected(client))
    world.run(1)
    for _ in range(3):
        world.cut()
        world.run(7)
        world.cut(False)
        assert world.run(10, lambda: connected(client))
        world.run(1)
    assert world.peer(client).claims == {"user": 1}
    assert world.names() == ["PeerJoined"] + ["PeerDropped", "PeerResumed"] * 3


def test_a_token_is_accepted_once() -> None:
    world = CoreWorld()
    world.server.start()
    token = make_token(world)
    first = world.add_client(token=token)
    assert world.run(10, lambda: connected(first))
    second = world.add_client(token=token)
    world.run(20)
    assert not connected(second)
    first.disconnect()
    world.run(20)
    assert not connected(second)


@pytest.mark.parametrize(
    ("token", "message"),
    [(b"x" * 2048, "not a netcode"), (b"", "not a netcode"), (bytes(2048), "not a netcode")],
)
def test_a_token_that_is_none_is_refused_at_the_call(token: bytes, message: str) -> None:
    world = CoreWorld()
    with pytest.raises(ValueError, match=message):
        world.add_client(token=token)


def test_an_expired_token_is_refused_at_the_call() -> None:
    world = CoreWorld()
    token = make_token(world, expire_seconds=5)
    world.run(10)
    with pytest.raises(ValueError, match="expired"):
        world.add_client(token=token)


def test_a_recorded_conversation_replayed_changes_nothing() -> None:
    world, client = joined_world()
    for i in range(10):
        world.send_from(client, b"%d" % i)
        world.run(0.1)
    recorded = list(world.sent_by(client))
    name = client.address
    before = list(world.server_received[name])
    for source in (name, ("10.9.9.9", 1)):
        for data in recorded:
            world.inject(data, source)
    world.run(1)
    assert world.server_received[name] == before
    assert world.names() == ["PeerJoined"]
    assert connected(client)
    client.disconnect()
    world.run(1)
    for source in (name, ("10.9.9.9", 1)):
        for data in recorded:
            world.inject(data, source)
    world.run(1)
    assert world.names() == ["PeerJoined", "PeerLeft"]


def test_junk_is_counted_and_disturbs_nobody() -> None:
    world, client = joined_world()
    counted = sum(world.server.core.netcode_drops.values())
    for i in range(2000):
        size = world.random.randrange(0, 1300)
        source = client.address if i % 2 else ("10.9.9.9", i + 1)
        world.inject(world.random.randbytes(size), source)
    for data in world.sent_by(client)[:50]:
        flipped = bytearray(data)
        flipped[world.random.randrange(len(data))] ^= 1 << world.random.randrange(8)
        world.inject(bytes(flipped), client.address)
    assert sum(world.server.core.netcode_drops.values()) - counted >= 2000
    world.send_from(client, b"still here", Delivery.RELIABLE)
    world.run(1)
    assert world.server_received[client.address] == [b"still here"]
    assert world.names() == ["PeerJoined"]


def test_the_same_seed_gives_the_same_bytes() -> None:
    def trace() -> list[bytes]:
        world, client = joined_world(5, line=LinkOptions(loss=0.1, delay_s=0.03, jitter_s=0.02))
        for i in range(30):
            world.send_from(client, b"%d" % i)
            world.run(0.05)
        return world.sent_by(client)

    assert trace() == trace()


def test_claims_are_handed_on_as_they_came() -> None:
    """Packed as 32-bit floats they fit into a token; encoded anew they would not fit into a welcome."""
    claims = msgpack.packb({"f": [1.5] * 38}, use_single_float=True)
    world = CoreWorld()
    world.server.start()
    token = make_token(world, user_data=encode_user_data(Identity(claims=claims)))
    client = world.add_client(token=token)
    assert world.run(10, lambda: connected(client))
    assert client.core.claims == world.peer(client).claims == {"f": [1.5] * 38}


def a_ticket(
    world: CoreWorld,
    *,
    secret: bytes = b"s" * 16,
    instance: bytes = b"i" * 8,
    age_s: int = 0,
    server_address: Address = SERVER_ADDRESS,
) -> bytes:
    """A connect token as a server process makes it for its sessions to resume with."""
    identity = Identity(secret, instance, issued_at=world.unix_time - age_s)
    return make_token(world, user_data=encode_user_data(identity), server_address=server_address)


def test_a_ticket_of_another_process_begins_one_session_and_not_two() -> None:
    world = CoreWorld()
    world.server.start()
    first = world.add_client(token=a_ticket(world))
    assert world.run(10, lambda: connected(first))
    second = world.add_client(token=a_ticket(world))
    world.run(10)
    assert closed_reason(world, second) is DisconnectReason.SESSION_ENDED
    assert connected(first)


@pytest.mark.parametrize(
    "ticket",
    [{"server_address": ("10.0.0.2", 8080)}, {"age_s": 200}, {"age_s": -200}],
    ids=["of another address", "of long ago", "of a time to come"],
)
def test_a_ticket_is_nothing_to_a_process_that_does_not_replace_its_issuer(ticket: dict[str, Any]) -> None:
    world = CoreWorld()
    world.server.start()
    client = world.add_client(token=a_ticket(world, **ticket))
    world.run(10)
    assert closed_reason(world, client) is DisconnectReason.SESSION_ENDED


def test_tickets_are_renewed_while_connected() -> None:
    world, client = joined_world()
    world.run(2 * world.config.ticket_lifetime_s)
    world.replace_server()
    world.server.start()
    assert world.run(20, lambda: connected(client) and world.peer_of(client) is not None)
    assert world.names_of(client) == ["Connected", "Dropped", "Connected"]


def test_the_public_session_id_resumes_nothing() -> None:
    world, client = joined_world()
    peer = world.peer(client)
    thief = world.add_client(token=a_ticket(world, secret=peer.session_id, age_s=200))
    world.run(10)
    assert closed_reason(world, thief) is DisconnectReason.SESSION_ENDED
    assert connected(client)
    assert world.names() == ["PeerJoined"]


def test_a_plain_netcode_client_that_goes_silent_gives_its_seat_back() -> None:
    world = CoreWorld(config=Config(max_clients=1))
    world.server.start()
    plain = world.add_client(token=make_token(world, user_data=bytes(256), timeout_seconds=-1))
    world.run(1)
    plain.die()
    world.run(10)
    client = world.add_client()
    assert world.run(10, lambda: connected(client))
