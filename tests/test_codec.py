"""What travels, what does not, and that no bytes from outside do any harm."""

import copy
import enum
import pickle
import random

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pygase_gevent.codec import DELETE, Replace, copy_value, decode, decode_event, encode, encode_event
from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError, SerializationError

CONFIG = Config()
reproducible = settings(deadline=None, derandomize=True, max_examples=200)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
)
keys = st.text(max_size=4) | st.integers(-(2**63), 2**64 - 1)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


class Team(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HARD = 3


def exact_types(value):
    """A picture of a tree in which `1`, `1.0`, `True` and an enum differ."""
    if isinstance(value, dict):
        return dict, {(type(key), key): exact_types(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [exact_types(item) for item in value]
    return type(value), value


@reproducible
@given(trees)
def test_a_value_arrives_as_it_was(value):
    assert exact_types(decode(encode(value, config=CONFIG), config=CONFIG)) == exact_types(value)


@reproducible
@given(trees)
def test_a_copy_shares_no_container_with_its_source(value):
    before = exact_types(value)
    copied = copy_value(value, config=CONFIG)
    assert exact_types(copied) == before
    if isinstance(copied, list):
        copied.append("changed")
    elif isinstance(copied, dict):
        copied["changed"] = True
    assert exact_types(value) == before


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        (Team.RED, "red"),
        (Level.HARD, 3),
        ({Level.HARD: {Team.RED: 1}}, {3: {"red": 1}}),
        (1.1, 1.1),
    ],
)
def test_values_are_made_plain(given_value, expected):
    copied = copy_value(given_value, config=CONFIG)
    assert exact_types(copied) == exact_types(expected)
    assert exact_types(decode(encode(given_value, config=CONFIG), config=CONFIG)) == exact_types(expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"players": [0, 1, 2, {"name": {1, 2}}]}, "players[3].name: object of type set cannot travel"),
        ({"a b": object()}, "['a b']: object of type object cannot travel"),
        (1 + 2j, "value: object of type complex cannot travel"),
        ({"x": 2**64}, "x: integer outside -2**63 .. 2**64-1"),
        ({"x": {1.5: 0}}, "x: key 1.5 of type float (keys are str or int)"),
        ({True: 0}, "value: key True of type bool (keys are str or int)"),
        ({None: 0}, "value: key None of type NoneType (keys are str or int)"),
        (["\ud800"], "[0]: text with a lone surrogate, which has no UTF-8 form"),
        ({"x": DELETE}, "x: TO_DELETE has a meaning only in the dicts of a state update"),
        ({"x": Replace(1)}, "x: Replace has a meaning only in the dicts of a state update"),
    ],
)
def test_what_cannot_travel_is_named_with_its_place(value, message):
    with pytest.raises(SerializationError) as error:
        encode(value, config=CONFIG)
    assert str(error.value) == message


def test_a_place_starts_with_the_name_given():
    with pytest.raises(SerializationError, match=r"^args\[0\]\.x: object"):
        copy_value([{"x": object()}], config=CONFIG, place="args")


def test_a_tree_that_contains_itself_is_refused():
    tree = []
    tree.append(tree)
    with pytest.raises(SerializationError, match="contain itself"):
        encode(tree, config=CONFIG)


def nested(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


def test_depth_is_bounded_alike_on_both_sides():
    deepest = nested(CONFIG.max_depth)
    assert decode(encode(deepest, config=CONFIG), config=CONFIG) == deepest
    with pytest.raises(SerializationError, match="deeper than 32"):
        encode(nested(CONFIG.max_depth + 1), config=CONFIG)
    roomy = Config(max_depth=40)
    with pytest.raises(DecodeError, match="deep"):
        decode(encode(nested(33), config=roomy), config=CONFIG)


def test_items_are_bounded_alike_on_both_sides():
    small = Config(max_items=10)
    most = [[0] * 8, []]
    assert decode(encode(most, config=small), config=small) == most
    with pytest.raises(SerializationError, match="max_items"):
        encode([[0] * 8, [], []], config=small)
    data = encode([[0] * 8, [], []], config=CONFIG)
    with pytest.raises(DecodeError, match="too many items"):
        decode(data, config=small)
    assert decode(data, config=small, max_items=11) == [[0] * 8, [], []]


def test_marks_travel_where_they_are_asked_for():
    update = {"a": DELETE, "b": {"c": Replace({"d": [1, {"e": 2}]}), 5: DELETE}, "f": Replace(3)}
    data = encode(update, config=CONFIG, marks=True)
    decoded = decode(data, config=CONFIG, marks=True)
    assert decoded == update
    assert decoded["a"] is DELETE
    with pytest.raises(DecodeError):
        decode(data, config=CONFIG)


@pytest.mark.parametrize(
    "value", [{"x": [DELETE]}, {"x": Replace({"y": DELETE})}, {"x": Replace([Replace(1)])}, [{"x": DELETE}]]
)
def test_marks_stand_in_dicts_only(value):
    with pytest.raises(SerializationError, match="only in the dicts of a state update"):
        encode(value, config=CONFIG, marks=True)


def test_delete_is_one_object_also_when_copied():
    assert copy.copy(DELETE) is DELETE
    assert copy.deepcopy({"x": DELETE})["x"] is DELETE
    assert pickle.loads(pickle.dumps(DELETE)) is DELETE
    assert repr(DELETE) == "TO_DELETE"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x02",  # two values
        b"\x92\x01",  # a list cut short
        b"\xdd\xff\xff\xff\xff",  # a list of four thousand million items
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x81\x90\x01",  # a list as a key
        b"\x81\xc3\x01",  # True as a key
        b"\x81\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\x01",  # 1.5 as a key
        b"\xa1\xff",  # no UTF-8
        b"\xd6\xff\x00\x00\x00\x00",  # msgpack's timestamp
        b"\x91\xd6\xff\x00\x00\x00\x00",
        b"\xd4\x07\x00",  # an unknown extension
        b"\xd4\x01\x00",  # DELETE with a body
        b"\x91\xc7\x00\x01",  # DELETE in a list
        b"\x81\x01\xd4\x02\xc1",  # Replace around nothing
        b"\x81\x01\xc7\x03\x02\xc7\x00\x01",  # DELETE inside Replace
        b"\x91" * 5000 + b"\x00",
    ],
)
@pytest.mark.parametrize("marks", [False, True])
def test_bad_bytes_are_a_decode_error(data, marks):
    with pytest.raises(DecodeError):
        decode(data, config=CONFIG, marks=marks)


def test_random_and_damaged_bytes_never_do_anything_else():
    generator = random.Random(1)
    good = encode(
        {"a": DELETE, "b": Replace({"c": [1, 2.5, "x", b"y", None, True]})}, config=CONFIG, marks=True
    )
    for _ in range(5000):
        if generator.random() < 0.5:
            data = generator.randbytes(generator.randrange(40))
        else:
            data = bytearray(good)
            data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
            data = bytes(data[: generator.randrange(1, len(data) + 1)])
        try:
            value = decode(data, config=CONFIG, marks=True)
        except DecodeError:
            continue
        encode(value, config=CONFIG, marks=True)


@reproducible
@given(st.binary(max_size=64))
def test_whatever_decodes_can_be_encoded(data):
    try:
        value = decode(data, config=CONFIG)
    except DecodeError:
        return
    encode(value, config=CONFIG)


SCALARS = [0, 1, 127, 128, 255, 256, 65535, -1, -32, -33, -128, -129, -32768, None, True, False, 0.5, -1e300]


@pytest.mark.parametrize("count", [0, 1, 3, 15])
def test_an_event_with_few_scalars_is_written_and_read_as_msgpack_does_it(count):
    for start in range(len(SCALARS)):
        args = (SCALARS[start:] + SCALARS)[:count]
        data = msgpack.packb(["MOVE", args, {}])
        assert encode_event("MOVE", args, {}, config=Config()) == data
        decoded = decode_event(data, config=Config())
        assert [(type(value), value) for value in decoded[0]] == [(type(value), value) for value in args]
        assert decoded[1] == {}
        for size in range(len(data)):
            with pytest.raises(DecodeError):
                decode_event(data[:size], config=Config())
        with pytest.raises(DecodeError):
            decode_event(data + b"\x80", config=Config())


@pytest.mark.parametrize("value", [65536, -32769, 2**64 - 1, "text", b"bytes", [1], {"a": 1}])
def test_an_event_with_anything_else_among_few_scalars_is_read_as_well(value):
    data = msgpack.packb(["MOVE", [1, value, 2.5], {}])
    assert encode_event("MOVE", [1, value, 2.5], {}, config=Config()) == data
    assert decode_event(data, config=Config()) == ([1, value, 2.5], {})


@pytest.mark.parametrize("event_type", ["", "x" * 31, "x" * 32, "zug", "z\u00fcge"])
def test_an_event_of_any_type_is_written_as_msgpack_does_it(event_type):
    assert encode_event(event_type, [7], {}, config=Config()) == msgpack.packb([event_type, [7], {}])


def test_an_enum_among_few_scalars_travels_as_its_value():
    data = encode_event("MOVE", [Level.HARD, True], {}, config=Config())
    assert exact_types(decode_event(data, config=Config())[0]) == exact_types([3, True])


def test_an_event_has_no_more_items_than_may_be_read():
    config = Config(max_event_items=5)
    encode_event("MOVE", [1, 2], {}, config=config)
    with pytest.raises(SerializationError, match="max_event_items"):
        encode_event("MOVE", [1, 2, 3], {}, config=config)
