"""PyGaSe's data types and its bookkeeping of packages, as its programs and their unit tests use them."""

from __future__ import annotations

import asyncio

import pytest

from pygase_gevent.legacy.connection import (
    PROTOCOL_ID,
    ClientPackage,
    Connection,
    ConnectionStatus,
    DuplicateSequenceError,
    Header,
    Package,
    ProtocolIDMismatchError,
    ServerPackage,
)
from pygase_gevent.legacy.event import Event, UniversalEventHandler
from pygase_gevent.legacy.gamestate import TO_DELETE, GameState, GameStateUpdate, GameStatus
from pygase_gevent.legacy.utils import Comparable, LockedRessource, NamedEnum, Sendable, Sqn

NO_BITS = "0" * 32


class Point(Sendable):
    def __init__(self, x, y) -> None:
        self.x = x
        self.y = y


def test_sendables_travel_with_floats_of_32_bits() -> None:
    point = Point(1, {"a": [None, True, "text", b"bytes", 0.5]})
    assert Point.from_bytes(point.to_bytes()) == point
    assert Point(0, 0.5).to_bytes() == b"\x82\xa1x\x00\xa1y\xca\x3f\x00\x00\x00"
    for data in (b"no sendable", b"", b"\xc1", 7):
        with pytest.raises(TypeError, match=r"^Bytes could no be parsed into Point\.$"):
            Point.from_bytes(data)


def test_comparing_goes_by_class_and_attributes() -> None:
    class Other(Comparable):
        def __init__(self) -> None:
            self.x, self.y = 1, 2

    assert Point(1, 2) == Point(1, 2)
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != Other()
    assert Point(1, 2) != 5


def test_names_and_numbers_share_one_list_as_in_pygase() -> None:
    assert [GameStatus.get(name) for name in ("Paused", "Active")] == [0, 1]
    assert [ConnectionStatus.get(name) for name in ("Disconnected", "Connected", "Connecting")] == [2, 3, 4]
    assert ConnectionStatus.get(3) == "Connected"

    class Colour(NamedEnum):
        pass

    Colour.register("red")
    Colour.register("green")
    Colour.register("red")
    assert Colour.get("green") == Colour.get("red") + 1
    assert Colour.get(Colour.get("red")) == "red"
    for wrong, error in ((None, TypeError), ("blue", ValueError), (10_000, IndexError)):
        with pytest.raises(error):
            Colour.get(wrong)


def test_sequence_numbers_go_around() -> None:
    top = Sqn.get_max_sequence()
    assert top == 65535
    assert (top + 1, top + Sqn(2), Sqn(2) + 65535) == (1, 2, 2)
    assert type(Sqn(1) + 1) is Sqn
    assert (Sqn(5) - Sqn(65530), Sqn(65530) - Sqn(5), Sqn(9) - 4) == (10, -10, 5)
    assert Sqn(5) > Sqn(65500)
    assert Sqn(65500) < Sqn(5)
    assert not Sqn(5) < Sqn(65500)
    assert not Sqn(5) > Sqn(5)
    assert Sqn(None) == 0
    assert Sqn(258).to_sqn_bytes() == b"\x01\x02"
    assert Sqn.from_sqn_bytes(b"\x01\x02") == 258
    with pytest.raises(ValueError, match=r"^value exceeds maximum sequence number$"):
        Sqn(65536)
    with pytest.raises(ValueError, match=r"^sequence numbers must not be negative$"):
        Sqn(1) + -2

    class Long(Sqn):
        pass

    Long.set_bytesize(4)
    assert (Long.get_max_sequence(), len(Long(1).to_sqn_bytes()), Sqn.get_max_sequence()) == (
        2**32 - 1,
        4,
        top,
    )


def test_a_locked_ressource_is_locked_within_its_block() -> None:
    locked = LockedRessource([1])
    with locked as ressource:
        assert ressource is locked.ressource
        assert not locked.lock.acquire(blocking=False)
    assert locked.lock.acquire(blocking=False)


def test_states_and_updates_add_up() -> None:
    state = GameState(3, players={0: {"x": 1}}, round=1)
    assert (state.game_status, state.is_paused()) == (GameStatus.get("Paused"), True)
    same = state
    state += GameStateUpdate(4, players={0: {"y": 2}, 1: {"x": TO_DELETE, "y": 3}}, round=TO_DELETE)
    assert state is same  # in place
    assert (state.time_order, state.players) == (4, {0: {"x": 1, "y": 2}, 1: {"y": 3}})
    assert not hasattr(state, "round")
    state += GameStateUpdate(4, round=9)
    assert not hasattr(state, "round")
    assert GameStateUpdate(5) > state
    assert GameState(65535) < GameStateUpdate(1)

    first, second = GameStateUpdate(1, a={"b": 1}, c=1), GameStateUpdate(2, a={"d": 2}, c=TO_DELETE)
    assert (
        first + second
        == second + first
        == sum([first, second])
        == GameStateUpdate(2, a={"b": 1, "d": 2}, c=TO_DELETE)
    )
    assert first == GameStateUpdate(1, a={"b": 1}, c=1)  # operands stay as they were
    assert GameState.from_bytes(state.to_bytes()) == state
    decoded = GameStateUpdate.from_bytes(second.to_bytes())
    assert decoded == second
    assert type(decoded.time_order) is Sqn
    assert bytes.fromhex("d281e5ba") == TO_DELETE


def test_events_and_who_handles_them() -> None:
    event = Event("MOVE", 1, [2], to={"x": 3})
    assert (event.type, event.handler_args, event.handler_kwargs) == ("MOVE", [1, [2]], {"to": {"x": 3}})
    assert Event.from_bytes(event.to_bytes()) == event
    handlers = UniversalEventHandler()

    async def on_move(*args, **kwargs):
        await asyncio.sleep(0)
        return args, kwargs

    handlers.register_event_handler("MOVE", on_move)
    assert (handlers.has_event_type("MOVE"), handlers.has_event_type("X")) == (True, False)
    assert asyncio.run(handlers.handle(event, dt=4)) == ((1, [2]), {"to": {"x": 3}, "dt": 4})
    with pytest.raises(TypeError, match=r"^'list' object is not callable\.$"):
        handlers.register_event_handler("X", [])


@pytest.mark.parametrize(
    "package",
    [
        Package(Header(1, 2, "10" * 16), [Event("A", 1), Event("B", x=2)]),
        ClientPackage(Header(65535, 0, NO_BITS), 7, [Event("A")]),
        ServerPackage(Header(3, 4, NO_BITS), GameStateUpdate(5, players={1: {"x": 2}}), [Event("A")]),
    ],
)
def test_packages_there_and_back(package: Package) -> None:
    datagram = package.to_datagram()
    assert datagram.startswith(PROTOCOL_ID)
    assert type(package).from_datagram(datagram) == package
    assert package.get_bytesize() == len(datagram)
    with pytest.raises(ProtocolIDMismatchError):
        type(package).from_datagram(datagram[1:])


def test_a_header_byte_by_byte() -> None:
    header = Header(258, 3, "1" + "0" * 30 + "1")
    assert header.to_bytearray() == bytes.fromhex("ffd0fab9 0102 0003 80000001")
    assert header.destructure() == (258, 3, "1" + "0" * 30 + "1")
    assert Header.deconstruct_datagram(bytes(header.to_bytearray()) + b"rest") == (header, b"rest")


def test_a_package_has_room_for_2048_bytes() -> None:
    package = Package(Header(1, 1, NO_BITS))
    package.add_event(Event("X"))
    assert package.events == [Event("X")]
    package.events.clear()
    assert len(package.events) == 1
    package.get_bytesize()
    with pytest.raises(OverflowError, match=r"^Package exceeds the maximum size of 2048 bytes\.$"):
        package.add_event(Event("BIG", bytes(2048)))
    for big in (
        Package(Header(1, 1, NO_BITS), [Event("BIG", bytes(2048))]),
        Package(Header(1, 1, NO_BITS), [Event("BIG", bytes(2**17))]),
        ServerPackage(Header(1, 1, NO_BITS), GameStateUpdate(1, big=bytes(2**17))),
    ):
        with pytest.raises(OverflowError):
            big.to_datagram()


class Wire:
    """A socket of which the other end is a connection."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    async def sendto(self, datagram, address):
        self.datagrams.append(datagram)


def test_two_bare_connections_exchange_events_and_acknowledge_them() -> None:
    here, there = Connection(("there", 1), None), Connection(("here", 1), UniversalEventHandler())
    heard: list[object] = []
    there.event_handler.register_event_handler("X", heard.append)
    acknowledged: list[int] = []

    async def play() -> None:
        up, down = Wire(), Wire()
        for number in range(40):
            here.dispatch_event(Event("X", number), lambda number=number: acknowledged.append(number))
        for _ in range(10):
            await here._send_next_package(up)
            if len(up.datagrams) % 3:  # every third is lost
                await there._recv(Package.from_datagram(up.datagrams[-1]))
            await there._send_next_package(down)
            await here._recv(Package.from_datagram(down.datagrams[-1]))
        while not there._incoming_event_queue.empty():
            await there._handle_next_event()
        with pytest.raises(DuplicateSequenceError):
            await there._recv(Package.from_datagram(up.datagrams[0]))

    asyncio.run(play())
    lost = [*range(10, 15), *range(25, 30)]
    assert heard == acknowledged == [number for number in range(40) if number not in lost]
    assert here.status == there.status == ConnectionStatus.get("Connected")
    assert (here.local_sequence, there.remote_sequence, here.remote_sequence) == (10, 10, 10)
    assert set(here._pending_acks) == {3, 6, 9}
    assert there.ack_bitfield[:9] == "001001001"
