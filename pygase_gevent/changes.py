"""Changes to a tree of dicts, as plain dicts: what a game state update is made of.

A change at a key is a dict (merge it into the dict that stands there), `DELETE` (remove the key), or
any other value (put it there); `Replace` puts a dict there whole. Only dicts merge: a list is a value.
Nothing here changes what it was given; results share all parts that stay as they were.
"""

from __future__ import annotations

from typing import Any, Final

from pygase_gevent.codec import DELETE, Replace

Tree = dict[Any, Any]

_SCALARS: Final = frozenset((float, int, str, bool, bytes))


def apply_changes(base: Tree, changes: Tree) -> Tree:
    """Return `base` with `changes` applied; `base` itself where they change nothing.

    What differs is compared strictly by type: `1`, `1.0` and `True` are three values.
    """
    result = base
    for key, change in changes.items():
        standing = base.get(key, DELETE)
        kind = type(change)
        value: Any = change
        if kind is type(standing) and kind in _SCALARS:  # nearly always
            if standing == change:
                continue
        elif isinstance(change, dict):
            value = apply_changes(standing if isinstance(standing, dict) else {}, change)
            if value is standing:
                continue
        elif change is DELETE:
            if standing is not DELETE:
                if result is base:
                    result = dict(base)
                del result[key]
            continue
        else:
            if isinstance(change, Replace):
                value = change.value
            if _is_same(standing, value):
                continue
        if result is base:
            result = dict(base)
        result[key] = value
    return result


def reduce_changes(base: Tree, changes: Tree) -> tuple[Tree, Tree]:
    """Do as `apply_changes` does, and return also the part of `changes` that changed something.

    That part does to `base` exactly what `changes` does; to another tree it may do less.
    """
    result = base
    effective: Tree = {}
    for key, change in changes.items():
        if change is DELETE:
            if key not in base:
                continue
            if result is base:
                result = dict(base)
            del result[key]
            effective[key] = change
            continue
        standing = base.get(key, DELETE)
        effect = change
        value: Any
        if isinstance(change, dict):
            inner = standing if isinstance(standing, dict) else {}
            value, effect = reduce_changes(inner, change)
            if value is standing:
                continue
            if value is inner:  # nothing but deletions, or nothing at all, where no dict stood
                value, effect = {}, {}
        else:
            value = change.value if isinstance(change, Replace) else change
            if _is_same(standing, value):
                continue
        if result is base:
            result = dict(base)
        result[key] = value
        effective[key] = effect
    return result, effective


def combine_changes(first: Tree, second: Tree) -> Tree:
    """Return changes that do in one step what `first` and then `second` do, to any state.

    Where `second` goes into a dict that `first` has deleted or put there whole, the result has to
    replace what the state has at that place, which a `Replace` mark says.
    """
    combined = dict(first)
    for key, later in second.items():
        if isinstance(later, dict) and key in first:
            earlier = first[key]
            if isinstance(earlier, dict):
                combined[key] = combine_changes(earlier, later)
            else:
                standing = earlier.value if isinstance(earlier, Replace) else earlier
                combined[key] = Replace(apply_changes(standing if isinstance(standing, dict) else {}, later))
        else:
            combined[key] = later
    return combined


def combine_all(parts: list[Tree]) -> Tree:
    """Return changes that do in one step what all of these do, one after the other.

    As `combine_changes` does with two, but what grows is not copied for each of many.
    """
    combined: Tree = {}
    for part in parts:
        _combine_into(combined, part)
    return combined


def _combine_into(combined: Tree, second: Tree) -> None:
    """Combine in place. `combined` and the dicts in it that are merges are nobody else's."""
    for key, later in second.items():
        if not isinstance(later, dict):
            combined[key] = later
        elif key not in combined:
            combined[key] = _copy_merges(later)
        else:
            earlier = combined[key]
            if isinstance(earlier, dict):
                _combine_into(earlier, later)
            else:
                standing = earlier.value if isinstance(earlier, Replace) else earlier
                combined[key] = Replace(apply_changes(standing if isinstance(standing, dict) else {}, later))


def _copy_merges(changes: Tree) -> Tree:
    return {
        key: _copy_merges(change) if isinstance(change, dict) else change for key, change in changes.items()
    }


def _is_same(one: Any, other: Any) -> bool:
    """Equality that tells `1`, `1.0` and `True` apart, at any depth."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is list:
        return len(one) == len(other) and all(map(_is_same, one, other))
    if kind is dict:
        return len(one) == len(other) and all(
            key in other and _is_same(value, other[key]) for key, value in one.items()
        )
    return bool(one == other)
