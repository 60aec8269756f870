"""A netcode server about to stop: who comes meanwhile keeps a token that serves after the next start."""

from __future__ import annotations

from netcode_pair import Wire

from pygase_gevent.protocol.netcode import ClientState, DropReason


def test_a_token_shown_to_a_server_about_to_stop_serves_after_the_next_start() -> None:
    wire = Wire()
    wire.connected(1)
    wire.server.stop_handshakes()
    late = wire.client(number=2)
    wire.carry()
    assert late.state is ClientState.SENDING_CONNECTION_REQUEST
    assert wire.server.drops[DropReason.STOPPING] == 1
    wire.server.stop()
    wire.server.start(wire.now)
    wire.run(0.5)  # the client asks again, with the same token
    assert late.state is ClientState.CONNECTED


def test_who_is_connected_may_speak_until_the_server_stops() -> None:
    wire = Wire()
    client, _ = wire.connected(1)
    wire.server.stop_handshakes()
    client.send_payload(b"a last word", wire.now)
    wire.carry()
    assert [payload for _, _, payload in wire.received] == [b"a last word"]
