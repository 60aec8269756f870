"""The public contract, *GameState, GameStateUpdate, GameStateStore*."""

from __future__ import annotations

from typing import Any

import pytest

from pygase_gevent import (
    TO_DELETE,
    GameState,
    GameStateStore,
    GameStateUpdate,
    GameStatus,
    MessageTooLargeError,
)

from .conftest import Net
from .helpers import NativeThread, shows

# --- GameState --------------------------------------------------------------------------------------


def test_a_state_has_time_order_status_and_any_attributes() -> None:
    state = GameState(time_order=3, game_status=GameStatus.ACTIVE, a=1)
    assert (state.time_order, state.game_status, state.a) == (3, GameStatus.ACTIVE, 1)


def test_a_state_is_paused_by_default() -> None:
    assert GameState().time_order == 0
    assert GameState().is_paused()
    assert not GameState(game_status=GameStatus.ACTIVE).is_paused()


def test_the_status_has_pygases_labels() -> None:
    assert GameStatus.get("Paused") == GameStatus.PAUSED == 0
    assert GameStatus.get("Active") == GameStatus.ACTIVE == 1


def test_one_you_made_is_assigned_to_as_you_like() -> None:
    state = GameState(a=1)
    state.a = 2
    state.b = [3]
    assert (state.a, state.b) == (2, [3])


def test_one_the_library_handed_out_is_for_reading() -> None:
    store = GameStateStore(GameState(a=1))
    store.push_update(GameStateUpdate(1, b=2))
    with pytest.raises(AttributeError, match="for reading"):
        store.get_game_state().a = 5


def test_states_are_ordered_by_time_order() -> None:
    assert GameState(time_order=1) < GameState(time_order=2)
    assert GameState(time_order=2) > GameState(time_order=1)


TREE = {
    "nothing": None,
    "yes": True,
    "integer": -(2**63),
    "large": 2**64 - 1,
    "float": 0.1,
    "text": "ä\0中",
    "bytes": b"\0\xff",
    "list": [1, [2.5, None], {"k": []}],
    "tuple": (1, (2, 3)),
    "dict": {1: "int key", "s": {2: {}}, -3: False},
}

AS_ARRIVED = {**TREE, "tuple": [1, [2, 3]]}


@pytest.mark.crosses_threads
def test_attributes_are_any_tree_and_arrive_as_they_are_but_tuples_as_lists(net: Net) -> None:
    server = net.server(GameState(tree=TREE))
    client = net.client(server)
    client.wait_until(lambda state: shows(state, tree=AS_ARRIVED), timeout=5.0)
    with client.access_game_state() as state:
        assert type(state.tree["yes"]) is bool
        assert type(state.tree["float"]) is float


# --- GameStateUpdate --------------------------------------------------------------------------------


def test_dicts_merge_deeply_and_all_else_replaces() -> None:
    state = GameState(d={"a": {"x": 1, "y": 2}}, items=[1, 2], n=1)
    new = state + GameStateUpdate(1, d={"a": {"y": 3, "z": 4}, "b": 5}, items=[3], n={"now": "a dict"})
    assert new.d == {"a": {"x": 1, "y": 3, "z": 4}, "b": 5}
    assert new.items == [3]
    assert new.n == {"now": "a dict"}


def test_to_delete_removes_the_key() -> None:
    new = GameState(a=1, d={"x": 1, 2: 2}) + GameStateUpdate(1, a=TO_DELETE, d={"x": TO_DELETE})
    assert not hasattr(new, "a")
    assert new.d == {2: 2}


def test_update_plus_update_combines() -> None:
    combined = GameStateUpdate(1, a=1, d={"x": 1}) + GameStateUpdate(2, b=2, d={"y": 2})
    assert combined.time_order == 2
    assert shows(GameState() + combined, a=1, b=2, d={"x": 1, "y": 2})


def test_updates_may_be_summed() -> None:
    total = sum([GameStateUpdate(order, **{f"a{order}": order}) for order in (1, 2, 3)])
    assert shows(GameState() + total, a1=1, a2=2, a3=3)


def test_state_plus_update_and_in_place_apply() -> None:
    state = GameState(a=1)
    assert (state + GameStateUpdate(1, a=2)).a == 2
    state += GameStateUpdate(2, a=3)
    assert (state.a, state.time_order) == (3, 2)


def test_older_updates_never_overwrite_newer() -> None:
    assert (GameState(time_order=5, a=5) + GameStateUpdate(4, a=4)).a == 5
    for combined in (
        GameStateUpdate(1, a=1, b=1) + GameStateUpdate(2, a=2),
        GameStateUpdate(2, a=2) + GameStateUpdate(1, a=1, b=1),
    ):
        assert shows(GameState() + combined, a=2, b=1)


def test_adding_never_changes_its_operands_or_the_values_inside_them() -> None:
    inner = {"x": [1]}
    state = GameState(d={"k": {"n": 1}})
    first, second = GameStateUpdate(1, d={"k": inner}), GameStateUpdate(2, d={"k": {"y": 2}})
    combined = first + second
    new = state + combined
    newer = new + GameStateUpdate(3, d={"k": {"z": 3}})
    assert state.d == {"k": {"n": 1}}
    assert first.d == {"k": {"x": [1]}} and inner == {"x": [1]}
    assert second.d == {"k": {"y": 2}}
    assert new.d == {"k": {"n": 1, "x": [1], "y": 2}}
    assert newer.d == {"k": {"n": 1, "x": [1], "y": 2, "z": 3}}


@pytest.mark.parametrize(
    "changes",
    [
        ({"d": TO_DELETE}, {"d": {"new": 1}}),
        ({"d": {"k": TO_DELETE}}, {"d": {"k": {"new": 1}}}),
        ({"d": 1}, {"d": {"new": 1}}),
        ({"d": {"k": 1}}, {"d": {"k": {"new": 1}}}),
        ({"d": {"k": {"x": TO_DELETE}}}, {"d": {"k": TO_DELETE}}, {"d": {"k": {"x": 9}}}),
        ({"d": {"k": {"x": 2}}}, {"d": TO_DELETE}),
    ],
)
def test_a_combined_update_equals_its_parts_one_after_the_other(changes: tuple[dict[str, Any], ...]) -> None:
    start = GameState(d={"k": {"x": 1, "old": True}, "other": 2})
    updates = [GameStateUpdate(order, **change) for order, change in enumerate(changes, start=1)]
    stepwise = start
    for update in updates:
        stepwise = stepwise + update
    combined = updates[0]
    for update in updates[1:]:
        combined = combined + update
    assert getattr(start + combined, "d", None) == getattr(stepwise, "d", None)


# --- GameStateStore ---------------------------------------------------------------------------------


def test_a_store_has_an_empty_state_by_default() -> None:
    assert GameStateStore().get_game_state().time_order == 0


@pytest.mark.parametrize("initial", [{}, 1, GameStateUpdate(1)])
def test_a_store_of_something_else_is_a_type_error(initial: Any) -> None:
    with pytest.raises(TypeError, match="GameState"):
        GameStateStore(initial)


def test_pushed_updates_are_applied_and_stand_in_the_cache() -> None:
    store = GameStateStore(GameState(a=1))
    store.push_update(GameStateUpdate(1, a=2))
    assert store.get_game_state().a == 2
    assert store.get_update_cache()[-1].a == 2
    assert isinstance(store.get_update_cache(), list)


def test_a_pushed_update_is_copied() -> None:
    value = {"x": [1]}
    update = GameStateUpdate(1, d=value)
    store = GameStateStore()
    store.push_update(update)
    value["x"].append(2)
    update.d = None
    assert store.get_game_state().d == {"x": [1]}


def test_the_store_gives_the_next_time_order_whoever_pushes() -> None:
    store = GameStateStore(GameState(n={}))

    def push(thread: int) -> None:
        for number in range(100):
            store.push_update(GameStateUpdate(0, n={f"{thread} {number}": 1}))

    threads = [NativeThread(push, thread) for thread in range(4)]
    for thread in threads:
        thread.wait()
    assert store.get_game_state().time_order == 400
    assert len(store.get_game_state().n) == 400
    orders = [update.time_order for update in store.get_update_cache()]
    assert orders == list(range(orders[0], 401))


def test_what_get_game_state_returned_stays_as_it_was() -> None:
    store = GameStateStore(GameState(d={"x": {"n": 1}}, items=[1]))
    before = store.get_game_state()
    store.push_update(GameStateUpdate(1, d={"x": {"n": 2}}, items=[2], new=1))
    assert shows(before, d={"x": {"n": 1}}, items=[1])
    assert not hasattr(before, "new")
    assert before.time_order == 0


def test_a_new_state_shares_the_unchanged_parts() -> None:
    store = GameStateStore(GameState(large={"a": {"x": 1}, "b": {"y": 1}}, rest=[1, 2]))
    before = store.get_game_state()
    store.push_update(GameStateUpdate(1, large={"a": {"x": 2}}))
    after = store.get_game_state()
    assert after.rest is before.rest
    assert after.large["b"] is before.large["b"]
    assert after.large["a"] is not before.large["a"]


def test_the_initial_state_is_the_stores_own() -> None:
    mine = GameState(d={"x": 1})
    store = GameStateStore(mine)
    mine.d["x"] = 2
    mine.more = 1
    assert store.get_game_state().d == {"x": 1}
    assert not hasattr(store.get_game_state(), "more")


def test_an_update_over_the_state_limit_fails_at_the_call() -> None:
    store = GameStateStore(GameState(a=1))
    with pytest.raises(MessageTooLargeError, match=r"\d"):
        store.push_update(GameStateUpdate(1, a=bytes(17 * 1024 * 1024)))
    assert store.get_game_state().a == 1


@pytest.mark.crosses_threads
def test_a_client_behind_the_cache_gets_the_full_state(net: Net) -> None:
    server = net.server(GameState(n={}))
    client = net.client(server)
    store = server.game_state_store
    for number in range(2000):
        store.push_update(GameStateUpdate(0, n={number: number, number - 50: TO_DELETE}, last=number))
    expected = store.get_game_state().n
    assert len(expected) == 50
    client.wait_until(lambda state: shows(state, last=1999, n=expected), timeout=5.0)
