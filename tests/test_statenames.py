"""Keys as small numbers and packed records: what travels is shorter, what arrives is the same."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pygase_gevent import ANY, Fixed, Float32, GameState, GameStateStore, GameStateUpdate, Int16, UInt8
from pygase_gevent.codec import DELETE, Packed, Replace, pack
from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError
from pygase_gevent.protocol.records import RecordLayout
from pygase_gevent.protocol.statenames import CannotShorten, KnownNames, StateNames
from pygase_gevent.schema import StateSchema

CONFIG = Config()
RECORD = {"x": Fixed(0.02, 0, 1000), "y": Float32(), "hp": UInt8()}
SCHEMA = StateSchema({"entities": {ANY: RECORD}, "ball": {"x": Float32(), "dx": Int16()}})
NOTHING = StateSchema({})


def told(names: StateNames, count: int | None = None) -> KnownNames:
    """A client that was told of so many entries."""
    known = KnownNames(CONFIG)
    assert known.receive(0, pack(names.entries[:count]))
    return known


def carried(names: StateNames, changes: dict[str, Any], view: int | None = None) -> tuple[int, Any]:
    """How many bytes changes take, and what the client makes of them."""
    view = len(names.entries) if view is None else view
    blob = pack(names.shortened(changes, view))
    return len(blob), told(names, view).decode_changes(blob)


def learned(*keys: str) -> StateNames:
    names = StateNames(NOTHING, CONFIG)
    for _ in range(CONFIG.learned_after):
        names.shortened(dict.fromkeys(keys, 0), 0)
    names.publish(10.0)
    assert names.entries == list(keys)
    return names


def test_keys_that_recur_are_learned_and_take_one_byte() -> None:
    names = learned("players", "position")
    changes = {"players": {7: {"position": 1, "other": 2}, -3: DELETE}}
    size, restored = carried(names, changes)
    assert restored == changes
    assert size < len(pack(changes)) - 12
    assert carried(names, changes, view=1)[1] == changes  # a client that knows less
    assert carried(names, changes, view=0)[1] == changes


def test_names_are_taken_in_at_intervals_and_up_to_a_limit() -> None:
    names = StateNames(NOTHING, Config(max_learned_names=3, learned_after=2))
    for number in range(5):
        for _ in range(2):
            names.shortened({f"key{number}": 0}, 0)
        names.publish(10.0 + number / 10)
    assert names.entries == ["key0"]
    names.publish(12.0)
    assert names.entries == ["key0", "key1", "key2"]
    for _ in range(5):
        names.shortened({"key9": 0}, 0)
    names.publish(20.0)
    assert len(names.entries) == 3


def test_candidates_are_bounded() -> None:
    names = StateNames(NOTHING, Config(max_name_candidates=10, learned_after=2))
    for number in range(1000):
        names.shortened({f"key{number}": 0}, 0)
    names.shortened({"key999": 0}, 0)
    names.publish(10.0)
    assert names.entries == ["key999"]


@pytest.mark.parametrize("key", [-1, -128, -129, -(2**63) + 128, 0, 2**63, 2**64 - 1, "text", "x" * 300])
def test_keys_of_the_application_stay_what_they_are(key: Any) -> None:
    names = learned("a")
    for changes in ({"a": {key: 1}}, {"a": {key: {key: {"a": 5}}}}, {"a": Replace({key: {"a": 1}})}):
        assert carried(names, changes)[1] == changes
    changes = {"entities": {key: {"hp": 5}, -7: {"hp": 3}}}
    assert carried(StateNames(SCHEMA, CONFIG), changes)[1] == changes


def test_a_key_too_low_to_be_moved_is_told() -> None:
    for names in (learned("a"), StateNames(SCHEMA, CONFIG)):
        with pytest.raises(CannotShorten):
            names.shortened({"entities": {-(2**63): {"hp": 1}}}, len(names.entries))


def test_records_of_declared_numbers_take_few_bytes() -> None:
    store = GameStateStore(GameState(entities={}), state_schema={"entities": {ANY: RECORD}})
    names = StateNames(store.schema, CONFIG)
    moved = {number: {"x": number * 37.1, "y": number * 11.7} for number in range(10)}
    store.push_update(GameStateUpdate(0, entities=moved))
    changes = store.get_update_cache()[0].to_dict()
    size, restored = carried(names, changes)
    assert restored == changes
    assert size == 1 + 1 + 3 + 1 + 1 + 1 + 10 * (1 + 2 + 4)
    assert type(restored["entities"][0]["x"]) is float


def test_what_cannot_be_packed_goes_beside_what_can() -> None:
    names = StateNames(SCHEMA, CONFIG)
    changes = {
        "entities": {
            1: {"x": 1.0},
            2: {"x": DELETE},
            3: {"x": 2.0, "name": "Ann"},
            "four": {"hp": 4},
            -5: DELETE,
            -6: {"hp": 1, "z": {-1: {"x": 1}}},
            7: Replace({"hp": 9, -2: 1}),
            -8: {"hp": 3},
            9: {},
        },
        "ball": {"x": 0.5, "dx": -3},
    }
    assert carried(names, changes)[1] == changes
    for mixed in ({"ball": {"x": DELETE}}, {"ball": {"x": 0.5, "spin": 1}}, {"ball": {}}):
        assert carried(names, mixed)[1] == mixed


def test_keys_with_a_declaration_of_their_own_go_beside_the_records() -> None:
    names = StateNames(StateSchema({"e": {ANY: {"hp": UInt8()}, "boss": {"hp": Int16()}}}), CONFIG)
    changes = {"e": {1: {"hp": 5}, "boss": {"hp": 999}, 2: {"hp": 6}}}
    assert carried(names, changes)[1] == changes
    assert carried(names, {"e": {"boss": {"hp": -999}}})[1] == {"e": {"boss": {"hp": -999}}}


def test_many_records_at_once() -> None:
    names = StateNames(SCHEMA, CONFIG)
    for keys in (range(31), range(300), range(70_000), [-1, *range(40)], [str(n) for n in range(40)]):
        changes = {"entities": {key: {"hp": number % 256} for number, key in enumerate(keys)}}
        assert carried(names, changes)[1] == changes


keys = st.one_of(st.integers(-(2**63) + 128, 2**64 - 1), st.integers(-200, 200), st.text(max_size=3))
records = st.dictionaries(
    st.sampled_from(["x", "y", "hp", "name"]),
    st.one_of(st.just(DELETE), st.none(), st.integers(0, 255), st.just(0.5)),
    max_size=4,
)


@given(st.dictionaries(keys, st.one_of(records, st.just(DELETE), st.none()), max_size=6), st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_whatever_changes_arrives_as_it_was(changes: dict[Any, Any], view: int) -> None:
    schema = StateSchema({"entities": {ANY: {"x": Float32(), "y": Float32(), "hp": UInt8()}}})
    names = StateNames(schema, CONFIG)
    for change in changes.values():  # as a store would have refused or rounded it
        if isinstance(change, dict):
            for name, value in list(change.items()):
                if name != "name" and value is not DELETE:
                    change[name] = 0.5 if name in ("x", "y") else 7
    tree = {"entities": changes}
    assert carried(names, tree, min(view, len(names.entries)))[1] == tree


@pytest.mark.parametrize(
    "entries",
    [
        [5],
        [None],
        ["x" * 256],
        [[]],
        [[["x"]]],
        [[["x", 99]]],
        [[["x", 0, 1.0, 1.0]]],
        [[["x", 7]]],
        [[["x", 7, 0.0, 0.0]]],
        [[["x", 7, 0.0, float("inf")]]],
        [[["x", 7, 0, 1.0]]],
        [[["x", 0], ["x", 1]]],
        [[[f"x{n}", 0] for n in range(33)]],
        ["x"] * 129,
        {},
    ],
)
def test_bad_entries_are_refused(entries: Any) -> None:
    known = KnownNames(CONFIG)
    assert not known.receive(0, pack(entries))
    assert not known.receive(1, pack(["gap"]))
    assert not known.receive(0, b"\xc1")
    assert known.receive(0, pack(["a"])) and known.receive(0, pack(["other", "b"]))
    assert known.decode_changes(pack({-1: 1, -2: 2})) == {"a": 1, "b": 2}
    with pytest.raises(DecodeError):
        known.decode_changes(pack({-3: 1}))
    with pytest.raises(DecodeError):
        known.decode_changes(pack({-1: 1, "a": 2}))


def test_damaged_records_never_raise_anything_else() -> None:
    generator = random.Random(3)
    names = StateNames(SCHEMA, CONFIG)
    known = told(names)
    changes = {"entities": {1: {"x": 1.0, "y": 2.0}, -2: {"hp": 3}, "a": {"hp": 4}, 5: DELETE}}
    good = pack(names.shortened({**changes, "ball": {"dx": 1}}, len(names.entries)))
    for _ in range(5000):
        damaged = bytearray(good)
        for _ in range(generator.randrange(1, 4)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        with contextlib.suppress(DecodeError):
            known.decode_changes(bytes(damaged[: generator.randrange(1, len(damaged) + 1)]))


def test_records_do_not_nest() -> None:
    known = told(StateNames(SCHEMA, CONFIG))
    layout = RecordLayout.from_entry([["hp", 4]])
    assert layout.to_entry() == [["hp", 4]]
    blob = b"\x80"
    for _ in range(50):
        blob = pack({1: Packed(3, bytes((0, 0)) + blob)})
    with pytest.raises(DecodeError):
        known.decode_changes(blob)
