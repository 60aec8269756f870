"""What a user sees of a connection, apart from what tests/contract says of it."""

from __future__ import annotations

import pytest

from pygase_gevent import (
    ArgumentError,
    ArgumentTypeError,
    Client,
    ConnectionStatus,
    Disconnect,
    DisconnectReason,
)


def test_status_has_labels_and_values() -> None:
    assert ConnectionStatus.get("Connected") is ConnectionStatus.CONNECTED
    assert ConnectionStatus.get("connecting") == 1
    assert ConnectionStatus.get(0) == "Disconnected"


@pytest.mark.parametrize("unknown", ["Asleep", 7])
def test_an_unknown_status_is_an_error_that_names_it(unknown: str | int) -> None:
    with pytest.raises(ArgumentError, match=repr(unknown)):
        ConnectionStatus.get(unknown)


def test_a_status_of_another_type_is_a_type_error() -> None:
    with pytest.raises(ArgumentTypeError, match="float"):
        ConnectionStatus.get(1.5)  # type: ignore[call-overload]


def test_a_disconnect_reads_as_a_sentence() -> None:
    assert str(Disconnect(DisconnectReason.KICKED, "too loud")) == "kicked: too loud"
    assert str(Disconnect(DisconnectReason.SERVER_FULL, "")) == "server full"


def test_before_the_first_connect_there_is_a_window_on_nothing() -> None:
    connection = Client().connection
    assert connection.status is ConnectionStatus.DISCONNECTED
    assert connection.remote_address is None
    assert connection.session_id is None
    assert connection.disconnect_reason is None
    assert connection.claims == {}
    assert connection.quality == "good"
    assert connection.stats.packets_sent == 0
