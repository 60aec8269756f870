"""States, updates and their algebra, and the store."""

import copy
import functools
import operator
import pickle
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pygase_gevent.changes import apply_changes, combine_all, combine_changes, reduce_changes
from pygase_gevent.codec import Replace
from pygase_gevent.config import Config
from pygase_gevent.errors import ArgumentError, ArgumentTypeError, MessageTooLargeError, SerializationError
from pygase_gevent.gamestate import TO_DELETE, GameState, GameStateStore, GameStateUpdate, GameStatus

reproducible = settings(deadline=None, derandomize=True, max_examples=200)

# Few keys and few values, so that changes meet: made, changed in type, deleted, and made anew.
keys = st.sampled_from(["a", "b", 1])
leaves = st.sampled_from([0, False, 1, 1.0, True, "x", None]) | st.lists(st.integers(0, 1), max_size=2)
contents = st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8)
trees = st.dictionaries(keys, contents, max_size=3)
change_values = st.recursive(
    leaves | st.just(TO_DELETE) | st.builds(Replace, contents),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
changes = st.dictionaries(keys, change_values, max_size=3)
named_changes = st.dictionaries(st.sampled_from(["a", "b"]), change_values, max_size=2)


def picture(value):
    """A tree as a value that tells `1`, `1.0` and `True` apart, and that later changes cannot reach."""
    if isinstance(value, dict):
        return {key: picture(item) for key, item in value.items()}
    if isinstance(value, list):
        return [picture(item) for item in value]
    if isinstance(value, Replace):
        return Replace, picture(value.value)
    return type(value), value


def holds_mark(value):
    if isinstance(value, dict):
        return any(map(holds_mark, value.values()))
    return value is TO_DELETE or isinstance(value, Replace)


@reproducible
@given(trees, changes, changes)
def test_a_combination_does_what_its_parts_do_one_after_the_other(tree, first, second):
    before = picture(tree), picture(first), picture(second)
    one_by_one = apply_changes(apply_changes(tree, first), second)
    at_once = apply_changes(tree, combine_changes(first, second))
    assert picture(at_once) == picture(one_by_one)
    assert not holds_mark(at_once)
    assert (picture(tree), picture(first), picture(second)) == before


@reproducible
@given(changes, changes, changes)
def test_combining_is_associative(first, second, third):
    left = combine_changes(combine_changes(first, second), third)
    right = combine_changes(first, combine_changes(second, third))
    assert picture(left) == picture(right)


@reproducible
@given(st.lists(changes, max_size=5))
def test_all_combined_at_once_is_the_same_as_two_and_two(parts):
    before = picture(parts)
    expected = {}
    for part in parts:
        expected = combine_changes(expected, part)
    combined = combine_all(parts)
    assert picture(combined) == picture(expected)
    assert list(combined) == list(expected)
    assert picture(parts) == before


@given(trees, changes)
def test_the_effective_part_does_the_same_and_nothing_means_the_same_object(tree, change):
    result, effective = reduce_changes(tree, change)
    assert picture(result) == picture(apply_changes(tree, effective))
    assert (result is tree) == (picture(result) == picture(tree)) == (effective == {})
    again, nothing = reduce_changes(result, change)
    assert again is result or not holds_mark(again)
    assert picture(again) == picture(result)
    assert nothing == {}


@reproducible
@given(trees, st.lists(changes, max_size=6), st.data())
def test_effective_parts_lead_from_any_state_to_any_later_one(tree, pushed, data):
    states, parts = [tree], []
    for change in pushed:
        result, effective = reduce_changes(states[-1], change)
        states.append(result)
        parts.append(effective)
    start = data.draw(st.integers(0, len(pushed)))
    merged = {}
    for part in parts[start:]:
        merged = combine_changes(merged, part)
    assert picture(apply_changes(states[start], merged)) == picture(states[-1])


@reproducible
@given(st.lists(named_changes, max_size=8), st.data())
def test_a_store_s_merges_lead_from_any_cached_state_to_any_later_one(pushed, data):
    store = GameStateStore(config=Config(update_cache_size=5))
    states = [store.get_game_state()]
    pictures = [picture(states[0].to_dict())]
    for change in pushed:
        store.push_update(GameStateUpdate(0, **change))
        states.append(store.get_game_state())
        pictures.append(picture(states[-1].to_dict()))
    assert [picture(state.to_dict()) for state in states] == pictures
    for _ in range(4):
        newest = data.draw(st.integers(0, len(pushed)))
        base = data.draw(st.integers(0, newest))
        update = store.merged_update(base, newest)
        if base < len(pushed) - 5 or (base == newest and newest < len(pushed) - 5):
            assert update is None
        elif update is not None:
            assert update.time_order == newest
            assert picture(apply_changes(states[base].to_dict(), update.to_dict())) == pictures[newest]
        else:
            assert base == newest


@reproducible
@given(
    st.integers(0, 6),
    named_changes,
    st.lists(
        st.tuples(st.integers(0, 6), named_changes), min_size=1, max_size=5, unique_by=lambda part: part[0]
    ),
    st.data(),
)
def test_a_combined_update_does_to_a_state_of_any_time_order_what_its_parts_do(start, first, parts, data):
    state = GameState(start) + GameStateUpdate(start + 1, **first)
    updates = [GameStateUpdate(time_order, **change) for time_order, change in parts]
    one_by_one = functools.reduce(operator.add, sorted(updates), state)
    while len(updates) > 1:  # in any order, and grouped in any way
        update = updates.pop(data.draw(st.integers(0, len(updates) - 1)))
        place = data.draw(st.integers(0, len(updates) - 1))
        updates[place] = updates[place] + update
    combined = updates[0]
    for same in (combined, sum([combined]), copy.deepcopy(combined), pickle.loads(pickle.dumps(combined))):
        at_once = state + same
        assert at_once.time_order == one_by_one.time_order
        assert picture(at_once.to_dict()) == picture(one_by_one.to_dict())


def test_a_state_between_the_parts_of_a_combined_update_gets_the_newer_ones_only():
    combined = GameStateUpdate(3, x=1) + GameStateUpdate(5, y=1)
    assert GameState(4, x=0, y=0) + combined == GameState(5, x=0, y=1)
    assert GameState(2, x=0, y=0) + combined == GameState(5, x=1, y=1)
    assert GameState(5, x=0, y=0) + combined == GameState(5, x=0, y=0)


def test_parts_of_the_same_time_order_count_as_one():
    combined = GameStateUpdate(3, x=1) + GameStateUpdate(3, x=2, y=2)
    assert GameState(2) + combined == GameState(3, x=2, y=2)
    assert GameState(3) + combined == GameState(3)


def test_a_combined_update_that_is_assigned_to_is_one_of_its_own():
    first = GameStateUpdate(3, x=1)
    combined = first + GameStateUpdate(5, y=1)
    first.x = 9
    assert GameState(2) + combined == GameState(5, x=1, y=1)
    combined.x = 7
    assert GameState(4) + combined == GameState(5, x=7, y=1)


def test_unchanged_parts_are_shared():
    state = GameState(players={1: {"x": 0}, 2: {"x": 5}}, level={"walls": [1, 2]})
    moved = state + GameStateUpdate(1, players={1: {"x": 1}})
    assert moved.players == {1: {"x": 1}, 2: {"x": 5}}
    assert state.players == {1: {"x": 0}, 2: {"x": 5}}
    assert moved.players[2] is state.players[2]
    assert moved.level is state.level


def test_a_key_deleted_and_made_anew_holds_nothing_of_the_old():
    state = GameState(player={"x": 1, "shield": True})
    combined = GameStateUpdate(1, player=TO_DELETE) + GameStateUpdate(2, player={"x": 0})
    assert (state + combined).player == {"x": 0}
    assert (GameState(player={"shield": True}) + combined).player == {"x": 0}


def test_updates_are_combined_by_time_order_and_sum_works():
    first, second, third = (GameStateUpdate(i, x=i, **{f"k{i}": i}) for i in (1, 2, 3))
    assert second + first == first + second == GameStateUpdate(2, x=2, k1=1, k2=2)
    assert sum([first, second, third]) == GameStateUpdate(3, x=3, k1=1, k2=2, k3=3)
    assert sum([first, second], GameState(y=0)).to_dict() == {
        "game_status": 0,
        "y": 0,
        "x": 2,
        "k1": 1,
        "k2": 2,
    }
    assert first == GameStateUpdate(1, x=1, k1=1)
    with pytest.raises(TypeError):
        1 + first
    with pytest.raises(TypeError):
        first + "x"


def test_an_older_or_equal_update_never_overwrites():
    state = GameState(5, x=1)
    for time_order in (4, 5):
        same = state + GameStateUpdate(time_order, x=2)
        assert same == state
        assert same is not state
    state += GameStateUpdate(6, x=2)
    assert (state.time_order, state.x) == (6, 2)


def test_adding_makes_a_new_state_that_may_be_assigned():
    original = state = GameState(x=1)
    state += GameStateUpdate(1, x=2)
    state.x = 3
    state.y = 4
    assert (original.x, state.x, state.y) == (1, 3, 4)
    store = GameStateStore(GameState(x=1))
    changed = store.get_game_state() + GameStateUpdate(1)
    changed.x = 2
    assert store.get_game_state().x == 1


def test_states_are_ordered_by_time_order_and_equal_by_content():
    assert GameState(1) < GameState(2) <= GameState(2, x=1) > GameState(1)
    assert GameState(2) >= GameStateUpdate(1)
    assert GameState(1, x=[1]) == GameState(1, x=[1])
    assert GameState(1, x=1) != GameState(2, x=1)
    assert GameState(1, x=1) != GameState(1, x=2)
    assert GameState(1) != GameStateUpdate(1)
    assert GameState() != {}
    with pytest.raises(TypeError):
        GameState() < 1  # noqa: B015


def test_attributes_come_and_go_by_name():
    state = GameState(time_order=3, x=1)
    assert state.is_paused()
    state.game_status = GameStatus.ACTIVE
    assert not state.is_paused()
    del state.x
    for thing in (state, GameStateUpdate(1)):
        with pytest.raises(AttributeError, match="no attribute 'x'"):
            thing.x  # noqa: B018
    assert not hasattr(state, "x")
    assert repr(GameState(2, y=[1])) == "GameState(2, game_status=<GameStatus.PAUSED: 0>, y=[1])"


@pytest.mark.parametrize("name", ["is_paused", "to_dict", "copy_of", "__class__", "_time_order"])
def test_an_attribute_cannot_take_a_name_of_the_library_s(name):
    for act in (
        lambda: GameState(**{name: 1}),
        lambda: GameStateUpdate(1, **{name: 1}),
        lambda: setattr(GameState(), name, 1),
    ):
        with pytest.raises(ArgumentError, match=f"'{name}' belongs to the library"):
            act()


def test_bad_time_orders_and_statuses_are_refused():
    with pytest.raises(ArgumentTypeError, match="time_order is an int, not str"):
        GameState("1")
    with pytest.raises(ArgumentError, match="must not be negative"):
        GameStateUpdate(-1)
    with pytest.raises(ArgumentError, match="game_status must be a GameStatus, not 7"):
        GameState(game_status=7)
    store = GameStateStore()
    for status in (7, TO_DELETE, None, True, "Active"):
        with pytest.raises(ArgumentError, match="game_status must be a GameStatus"):
            store.push_update(GameStateUpdate(1, game_status=status))
    assert store.get_game_state().time_order == 0


def test_game_status_names_as_in_pygase():
    assert GameStatus.get("Paused") == 0
    assert GameStatus.get("Active") is GameStatus.ACTIVE
    assert GameStatus.get(1) == "Active"
    with pytest.raises(ArgumentError):
        GameStatus.get("Ended")
    with pytest.raises(ArgumentError):
        GameStatus.get(2)
    with pytest.raises(TypeError):
        GameStatus.get(None)


def test_a_state_handed_out_is_for_reading_and_a_copy_of_it_is_not():
    store = GameStateStore(GameState(ball={"x": 1}))
    store.push_update(GameStateUpdate(0, y=1))
    for thing in (store.get_game_state(), store.get_update_cache()[0]):
        with pytest.raises(AttributeError, match="handed out by the library and is for reading"):
            thing.y = 5
        with pytest.raises(AttributeError, match="for reading"):
            del thing.y
        with pytest.raises(AttributeError, match="for reading"):
            thing.time_order = 7
    for mine in (
        copy.deepcopy(store.get_game_state()),
        pickle.loads(pickle.dumps(store.get_game_state())),
    ):
        assert mine == store.get_game_state()
        mine.y = 5
        mine.ball["x"] = 2
    assert store.get_game_state().ball == {"x": 1}


def test_a_store_copies_what_it_is_given():
    players = {1: {"items": ["sword"]}}
    state = GameState(players=players)
    store = GameStateStore(state)
    update = GameStateUpdate(1, players={2: {"items": players[1]["items"]}}, where=(1, 2))
    store.push_update(update)
    players[1]["items"].append("bow")
    update.players[2] = None
    state.x = 1
    assert store.get_game_state().to_dict() == {
        "game_status": 0,
        "players": {1: {"items": ["sword"]}, 2: {"items": ["sword"]}},
        "where": [1, 2],
    }


def test_a_state_handed_out_never_changes():
    store = GameStateStore(GameState(a={"b": {"c": 1}}))
    before = store.get_game_state()
    store.push_update(GameStateUpdate(0, a={"b": {"c": 2}}, d=1))
    assert before == GameState(a={"b": {"c": 1}})
    assert store.get_game_state() == GameState(1, a={"b": {"c": 2}}, d=1)


def test_every_push_gets_the_next_time_order():
    store = GameStateStore(GameState(time_order=7))
    for claimed in (0, 99, 8):
        store.push_update(GameStateUpdate(claimed, x=claimed))
    assert store.get_game_state() == GameState(10, x=8)
    assert store.get_update_cache() == [
        GameStateUpdate(8, x=0),
        GameStateUpdate(9, x=99),
        GameStateUpdate(10, x=8),
    ]


def test_an_update_that_changes_nothing_shares_the_content():
    store = GameStateStore(GameState(a={"b": [1, {"c": 2}]}))
    before, version = store.snapshot
    store.push_update(GameStateUpdate(0, a={"b": [1, {"c": 2}]}, gone=TO_DELETE))
    after, same_version = store.snapshot
    assert (after.time_order, same_version) == (1, version)
    assert after.a is before.a
    assert store.merged_update(0, 1) == GameStateUpdate(1)
    store.push_update(GameStateUpdate(0, a={"b": [1, {"c": 2.0}]}))
    assert store.snapshot[1] > version


def test_the_cache_is_bounded_and_says_so():
    store = GameStateStore(config=Config(update_cache_size=3))
    assert store.merged_update(0, 0) == GameStateUpdate(0)
    for i in range(1, 6):
        store.push_update(GameStateUpdate(0, **{f"x{i}": i}))
    assert [update.time_order for update in store.get_update_cache()] == [3, 4, 5]
    assert store.merged_update(2, 5) == GameStateUpdate(5, x3=3, x4=4, x5=5)
    assert store.merged_update(3, 5) == GameStateUpdate(5, x4=4, x5=5)
    assert store.merged_update(2, 4) == GameStateUpdate(4, x3=3, x4=4)
    assert store.merged_update(5, 5) == GameStateUpdate(5)
    assert store.merged_update(1, 5) is None
    assert store.merged_update(5, 6) is None


def test_subscribers_hear_of_each_push_and_one_that_raises_harms_nobody(caplog):
    store = GameStateStore()
    seen = []

    def see():
        seen.append(store.get_game_state().time_order)

    def fail():
        raise ZeroDivisionError

    store.subscribe(fail)
    store.subscribe(see)
    store.push_update(GameStateUpdate(0))
    store.unsubscribe(see)
    store.unsubscribe(see)
    store.push_update(GameStateUpdate(0))
    assert seen == [1]
    assert "a subscriber of the game state store raised" in caplog.text


def test_bad_arguments_are_refused_and_change_nothing():
    with pytest.raises(ArgumentTypeError, match="initial_game_state must be a GameState, not dict"):
        GameStateStore({})
    with pytest.raises(SerializationError, match="players: object of type set cannot travel"):
        GameStateStore(GameState(players=set()))
    store = GameStateStore()
    with pytest.raises(ArgumentTypeError, match="a store takes a GameStateUpdate, not dict"):
        store.push_update({})
    with pytest.raises(SerializationError, match=r"players\[3\]\.name: object of type set cannot travel"):
        store.push_update(GameStateUpdate(1, players={3: {"name": set()}}))
    assert store.get_game_state() == GameState()


def test_a_state_over_the_limit_is_refused_at_the_push():
    config = Config(max_state_bytes=10_000)
    with pytest.raises(MessageTooLargeError, match=r"would have 10\d{3} bytes, and .* is 10000"):
        GameStateStore(GameState(x=b"x" * 10_000), config=config)
    store = GameStateStore(GameState(x=b"x" * 9000), config=config)
    for i in range(20):  # replaced, not piled up
        store.push_update(GameStateUpdate(0, x=bytes([i]) * 9000))
    with pytest.raises(MessageTooLargeError):
        store.push_update(GameStateUpdate(0, y=b"y" * 2000))
    assert not hasattr(store.get_game_state(), "y")
    assert store.get_game_state().time_order == 20
    store.push_update(GameStateUpdate(0, x=TO_DELETE))
    store.push_update(GameStateUpdate(0, y=b"y" * 2000))
    assert store.get_game_state().time_order == 22


def test_pushes_from_many_threads_all_count():
    store = GameStateStore()

    def push(name):
        for i in range(200):
            store.push_update(GameStateUpdate(0, **{name: i, "log": {f"{name}{i}": True}}))

    threads = [threading.Thread(target=push, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    state = store.get_game_state()
    assert state.time_order == 800
    assert len(state.log) == 800
    assert [update.time_order for update in store.get_update_cache()] == list(range(545, 801))
