"""What precision the numbers of a state have: declared, checked, rounded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from pygase_gevent import (
    ANY,
    TO_DELETE,
    ArgumentError,
    ArgumentTypeError,
    Backend,
    Client,
    Fixed,
    Float32,
    GameState,
    GameStateStore,
    GameStateUpdate,
    Int8,
    Int16,
    Int32,
    SerializationError,
    UInt8,
    UInt16,
    UInt32,
)
from pygase_gevent.codec import Replace
from pygase_gevent.testing import VirtualNetwork

SCHEMA = {
    "entities": {ANY: {"x": Fixed(0.02, 0, 1000), "y": Float32(), "hp": UInt8()}, "boss": {"hp": UInt32()}},
    "speed": Float32(),
}


def test_numbers_are_rounded_where_the_store_keeps_them() -> None:
    entities = {1: {"x": 5.013, "y": 0.1, "hp": 7, "name": "Ann"}, "boss": {"hp": 2**32 - 1, "x": 0.1}}
    store = GameStateStore(GameState(entities=entities, other=0.1), state_schema=SCHEMA)
    state = store.get_game_state()
    assert state.entities[1] == {"x": 251 * 0.02, "y": 0.10000000149011612, "hp": 7, "name": "Ann"}
    assert state.entities["boss"] == {"hp": 2**32 - 1, "x": 0.1}
    assert (entities[1]["x"], state.other) == (5.013, 0.1)
    store.push_update(GameStateUpdate(0, entities={1: {"x": 1000}, 2: Replace({"y": 3})}, speed=2))
    state = store.get_game_state()
    assert state.entities[1]["x"] == pytest.approx(1000)
    assert type(state.entities[1]["x"]) is type(state.speed) is type(state.entities[2]["y"]) is float
    store.push_update(GameStateUpdate(0, entities={1: {"x": TO_DELETE}, 2: TO_DELETE, "boss": TO_DELETE}))
    assert store.get_game_state().entities == {1: {"y": 0.10000000149011612, "hp": 7, "name": "Ann"}}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"entities": {5: {"x": 1000.5}}},
            r"entities\[5\]\['x'\].*Fixed\(0.02, 0.0, 1000.0\).*from 0.0 to 1000.0",
        ),
        ({"entities": {5: {"x": math.nan}}}, "from 0.0 to 1000.0"),
        ({"entities": {5: {"hp": 256}}}, "UInt8.*from 0 to 255, not 256"),
        ({"entities": {5: {"hp": 1.0}}}, "an int, not float"),
        ({"entities": {5: {"hp": True}}}, "an int, not bool"),
        ({"entities": {5: {"y": "far"}}}, "a number, not str"),
        ({"entities": {5: {"y": 1e39}}}, "3.4e38"),
        ({"entities": {5: None}}, r"entities\[5\].*a dict, not NoneType"),
        ({"entities": []}, "entities.*a dict, not list"),
        ({"speed": {}}, "a number, not dict"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_push(changes: dict[str, Any], text: str) -> None:
    store = GameStateStore(GameState(entities={}), state_schema=SCHEMA)
    with pytest.raises(SerializationError, match=text):
        store.push_update(GameStateUpdate(0, **changes))
    assert store.get_game_state().time_order == 0
    with pytest.raises(SerializationError, match=text):
        GameStateStore(GameState(**changes), state_schema=SCHEMA)


@pytest.mark.parametrize(
    ("schema", "error", "text"),
    [
        ([], ArgumentTypeError, "state_schema must be a dict"),
        ({"x": 5}, ArgumentTypeError, r"state_schema\['x'\] must be a dict or a number such as Float32"),
        ({"x": Float32}, ArgumentTypeError, r"write Float32\(\)"),
        ({"x": {"\ud800": Float32()}}, ArgumentError, "lone surrogate"),
        ({ANY: Float32()}, ArgumentTypeError, "names of type str"),
        ({"x": {1.5: Float32()}}, ArgumentTypeError, "keys are str, int or ANY"),
        ({"x": {True: Float32()}}, ArgumentTypeError, "keys are str, int or ANY"),
    ],
)
def test_what_is_no_schema_is_refused(schema: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        GameStateStore(state_schema=schema)
    endless: dict[str, Any] = {}
    endless["x"] = endless
    with pytest.raises(ArgumentError, match="contain itself"):
        GameStateStore(state_schema=endless)


@pytest.mark.parametrize(
    "arguments",
    [
        (0.01, 1e15, 1e15 + 100),
        (0, 0, 1),
        (-1, 0, 1),
        (1, 5, 5),
        (1, 0, math.inf),
        (math.nan, 0, 1),
        (1e-9, 0, 1000),
    ],
)
def test_precisions_that_cannot_be_are_refused(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(ArgumentError, match="Fixed"):
        Fixed(*arguments)
    with pytest.raises(ArgumentTypeError, match="Fixed: step must be a number"):
        Fixed("1", 0, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "lowest", "highest"),
    [
        (Int8(), -128, 127),
        (Int16(), -(2**15), 2**15 - 1),
        (Int32(), -(2**31), 2**31 - 1),
        (UInt8(), 0, 255),
        (UInt16(), 0, 2**16 - 1),
        (UInt32(), 0, 2**32 - 1),
        (Fixed(1, -5, 250), -5, 250),
        (Fixed(0.1, 0, 0.3), 0.0, 0.3),
    ],
)
def test_ranges(number: Any, lowest: float, highest: float) -> None:
    assert number.round(lowest) == lowest
    assert number.round(highest) == pytest.approx(highest)
    assert number.round(number.round(highest)) == number.round(highest)
    for beyond in (lowest - 1, highest + 1):
        with pytest.raises(ValueError, match="from"):
            number.round(beyond)


def test_a_zero_has_the_sign_that_clients_give_it() -> None:
    store = GameStateStore(GameState(x=-0.0, y=-0.0), state_schema={"x": Fixed(0.5, -1, 1), "y": Float32()})
    state = store.get_game_state()
    assert (str(state.x), str(state.y)) == ("0.0", "-0.0")


def test_clients_hold_what_the_server_holds(virtual_network: VirtualNetwork) -> None:
    def time_step(game_state: GameState, dt: float) -> dict[str, Any]:
        tick = game_state.tick + 1
        moved = {number: {"x": tick * 0.7 % 1000, "y": tick / 3} for number in range(tick % 7)}
        return {"tick": tick, "entities": {**moved, "boss": {"hp": tick}}}

    backend = Backend(GameState(tick=0, entities={}), time_step, state_schema=SCHEMA)
    backend.run_in_thread("localhost", 0)
    client = Client()
    client.connect_in_thread(backend.server.port or 0)
    client.wait_until(lambda game_state: getattr(game_state, "tick", 0) > 100, timeout=10)
    backend.game_state_machine.stop()
    newest = backend.game_state_store.get_game_state()
    client.wait_until(lambda game_state: game_state.time_order >= newest.time_order, timeout=5)
    with client.access_game_state() as game_state:
        assert game_state.to_dict() == backend.game_state_store.get_game_state().to_dict()
    client.disconnect()
    backend.shutdown()


def test_the_example_of_the_document_works() -> None:
    text = (Path(__file__).parents[1] / "docs" / "precision.md").read_text("utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"time_step": lambda game_state, dt: {}}
    exec(code, names)
    store = names["backend"].game_state_store
    store.push_update(GameStateUpdate(0, players={1: {"x": 3.009, "hp": 9}}))
    assert store.get_game_state().players[1]["x"] == 150 * 0.02


def test_fixed_precision_takes_as_few_bytes_as_its_range_needs() -> None:
    formats = [Fixed(1, 0, 255), Fixed(1, 0, 256), Fixed(0.02, 0, 1000), Fixed(0.01, 0, 1000)]
    assert [number.field[1] for number in formats] == ["B", "H", "H", "I"]
