"""A server's core with a lying client among its clients, and a client's core with a lying server.

The liar holds the key: its user data, welcomes, tickets and closes are authentic, and whatever it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from pygase_gevent.event import Delivery
from pygase_gevent.protocol.address import Address
from pygase_gevent.protocol.client_core import ClientCore
from pygase_gevent.protocol.client_events import Connected
from pygase_gevent.protocol.frame_writer import encode_close, encode_ticket, encode_welcome
from pygase_gevent.protocol.identity import TICKET_BYTES, Identity, Welcome, encode_user_data
from pygase_gevent.protocol.identity import encode_welcome as encode_welcome_blob
from pygase_gevent.protocol.layout import MessageKind
from pygase_gevent.protocol.netcode import ClientState, NetcodeClient, NetcodeServer, generate_connect_token
from pygase_gevent.protocol.server_core import ServerCore
from tests.fuzz.parts_targets import CONFIG, check_limits
from tests.fuzz.session_target import any_payload
from tests.fuzz.source import Source

KEY = bytes(range(32))
PROTOCOL_ID = 7
UNIX_TIME = 1_700_000_000
SERVER: Address = ("192.0.2.1", 4000)
HONEST: Address = ("198.51.100.1", 5000)
LIAR: Address = ("198.51.100.2", 5001)
MAX_STEPS = 60


def cores(data: bytes) -> None:
    """See the module. The first byte chooses who lies."""
    source = Source(data)
    if source.flag():
        _lying_client(source)
    else:
        _lying_server(source)


def _lying_client(source: Source) -> None:
    entropy = Random(1).randbytes
    names = {"config": CONFIG, "protocol_id": PROTOCOL_ID, "private_key": KEY, "entropy": entropy}
    core = ServerCore(now=0.0, **names)  # type: ignore[arg-type]
    core.start(SERVER, 0.0)
    honest = ClientCore(now=0.0, **names)  # type: ignore[arg-type]
    honest.connect([SERVER], None, 0.0, UNIX_TIME)
    now = 1.0
    _talk(core, honest, now)
    liar = _new_liar(source, entropy, now)
    for _ in range(MAX_STEPS):
        if not source:
            break
        for datagram, _ in liar.datagrams_to_send():
            core.receive_datagram(datagram, LIAR, now, UNIX_TIME)
        choice = source.below(8)
        if choice == 0:
            now += source.number() / 100
        elif choice == 1:
            liar.disconnect(now)
            liar = _new_liar(source, entropy, now)
        elif liar.state is ClientState.CONNECTED:
            liar.send_payload(any_payload(source) or b"\0", now)
        _serve(core, now)
        for datagram, receiver in core.datagrams_to_send():
            if receiver == LIAR:
                liar.receive_datagram(datagram, SERVER, now)
            else:
                honest.receive_datagram(datagram, SERVER, now, UNIX_TIME)
        honest.handle_timer(now, UNIX_TIME)
        for datagram, _ in honest.datagrams_to_send():
            core.receive_datagram(datagram, HONEST, now, UNIX_TIME)
        liar.handle_timer(now)
    check_limits(core)
    _check_honest(core, honest, now)


def _new_liar(source: Source, entropy: Callable[[int], bytes], now: float) -> NetcodeClient:
    if source.flag():
        who = Identity(resume_secret=source.take(16).ljust(16, b"\0"), claims=source.blob(60))
        user_data = encode_user_data(who)
    else:
        user_data = source.blob(255)
    token = generate_connect_token(
        private_key=KEY,
        protocol_id=PROTOCOL_ID,
        client_id=2 + source.number(),
        server_addresses=[SERVER],
        user_data=user_data,
        unix_time=UNIX_TIME,
        expire_seconds=-1,
        timeout_seconds=5,
        entropy=entropy,
    )
    return NetcodeClient(token, config=CONFIG, now=now)


def _serve(core: ServerCore, now: float) -> None:
    """What a server's shell does after each batch of datagrams."""
    core.handle_timer(now, UNIX_TIME)
    for peer in [*core.take_ready(), *core.sessions.values()]:
        while peer.session.next_message() is not None or peer.session.next_call() is not None:
            pass
        while peer.next_event() is not None:
            pass
        core.handle_peer_timer(peer, now)
    while core.next_event() is not None:
        pass


def _talk(core: ServerCore, client: ClientCore, now: float) -> None:
    for _ in range(6):
        client.handle_timer(now, UNIX_TIME)
        for datagram, _ in client.datagrams_to_send():
            core.receive_datagram(datagram, HONEST, now, UNIX_TIME)
        core.handle_timer(now, UNIX_TIME)
        for peer in list(core.sessions.values()):
            core.handle_peer_timer(peer, now)
        for datagram, receiver in core.datagrams_to_send():
            if receiver == HONEST:
                client.receive_datagram(datagram, SERVER, now, UNIX_TIME)


def _check_honest(core: ServerCore, client: ClientCore, now: float) -> None:
    """However long it was away meanwhile, it is heard within the next seconds."""
    client.session.send_message(
        b"honest",
        delivery=Delivery.RELIABLE,
        stream="A",
        retries=0,
        kind=MessageKind.EVENT,
        token=None,
        now=now,
    )
    for _ in range(400):
        now += 0.05
        _talk(core, client, now)
        for peer in core.sessions.values():
            if peer.session_id != client.session_id:
                continue
            while (message := peer.session.next_message()) is not None:
                if message.body == b"honest":
                    return
    raise AssertionError(f"the honest client is not heard, and {client.phase}")


def _lying_server(source: Source) -> None:
    entropy = Random(1).randbytes
    names = {"config": CONFIG, "protocol_id": PROTOCOL_ID, "private_key": KEY, "entropy": entropy}
    server = NetcodeServer(**names)  # type: ignore[arg-type]
    server.start(0.0)
    core = ClientCore(now=0.0, **names)  # type: ignore[arg-type]
    core.connect([SERVER], None, 0.0, UNIX_TIME)
    now = 1.0
    for _ in range(MAX_STEPS):
        if not source:
            break
        for datagram, _ in core.datagrams_to_send():
            server.receive_datagram(datagram, HONEST, now, UNIX_TIME)
        server.handle_timer(now)
        choice = source.below(8)
        peer = server.peers.get(HONEST)
        if choice == 0:
            now += source.number() / 50
        elif choice == 1 and peer is not None and source.below(4) == 0:
            server.disconnect(peer, now)
        elif peer is not None:
            server.send_payload(
                peer, _first_words(source) if choice < 5 else any_payload(source) or b"\0", now
            )
        for datagram, _ in server.datagrams_to_send():
            core.receive_datagram(datagram, SERVER, now, UNIX_TIME)
        _follow(core, now)
    check_limits(core)
    core.disconnect(now)
    for _ in range(4):
        now += CONFIG.close_linger_s
        core.handle_timer(now, UNIX_TIME)
    assert core.next_timer() is None
    _follow(core, now)


def _first_words(source: Source) -> bytes:
    """Welcomes, tickets and closes of the right form."""
    payload = b"\0"
    if source.flag():
        welcome = Welcome(
            resume_secret=source.take(16).ljust(16, b"\0"),
            instance_id=source.take(8).ljust(8, b"\0"),
            resumed=source.flag(),
            timeout_s=source.number(4) / 1000,
            resume_window_s=source.number(4) / 1000,
            claims=source.blob(60) if source.flag() else b"",
            revision=1 + (source.below(8) == 0),
        )
        payload += encode_welcome(encode_welcome_blob(welcome)[:255])
    if source.below(3) == 0:
        payload += encode_close(source.number(), "bye", source.number())
    if source.below(3) == 0:
        ticket = encode_ticket(source.number(), source.take(30).ljust(TICKET_BYTES, b"\0"))
        payload = payload + ticket if len(payload) + len(ticket) <= 1200 else b"\0" + ticket
    return payload


def _follow(core: ClientCore, now: float) -> None:
    """What a client's shell does."""
    core.handle_timer(now, UNIX_TIME)
    core.flush(now)
    session = core.session
    while session.next_message() is not None or session.next_call() is not None:
        pass
    while (event := core.next_event()) is not None:
        if isinstance(event, Connected):
            assert core.session_id
