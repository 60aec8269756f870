"""What stands in PyGaSe's states and events, as this library's trees of values, and back.

PyGaSe took any hashable key in a dict, this library takes `str` and `int`: any other key travels as a
marked text. PyGaSe's states are changed in place, this library's are not: what changed is found by
comparing.
"""

from __future__ import annotations

from typing import Any

from pygase_gevent.codec import DELETE, decode, pack
from pygase_gevent.config import Config
from pygase_gevent.errors import DecodeError

Tree = dict[Any, Any]

TO_DELETE: bytes = bytes.fromhex("d281e5ba")
"""PyGaSe's mark: as a value in an update, it removes its key."""

_KEY_MARK = "\0pygase:"
_CONFIG = Config()
_ABSENT = object()


def to_wire(value: Any) -> Any:
    """Copy a tree of PyGaSe's into one of this library's; what cannot travel is left for it to refuse."""
    if isinstance(value, dict):
        # A copy is made in one go: another thread may be changing a PyGaSe state.
        return {_key_to_wire(key): to_wire(item) for key, item in dict(value).items()}
    if isinstance(value, (list, tuple)):
        return [to_wire(item) for item in value]
    if isinstance(value, int) and type(value) is not bool:
        return int(value)
    if isinstance(value, float):
        return float(value)
    return value


def from_wire(value: Any) -> Any:
    """Copy a tree of this library's into one that a PyGaSe program may change."""
    if isinstance(value, dict):
        return {_key_from_wire(key): from_wire(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_wire(item) for item in value]
    return TO_DELETE if value is DELETE else value


def difference(old: Tree, new: Tree) -> Tree:
    """The changes that lead from one tree of this library's to another."""
    changes: Tree = {key: DELETE for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key, _ABSENT)
        if isinstance(value, dict) and isinstance(before, dict):
            inner = difference(before, value)
            if inner:
                changes[key] = inner
        elif type(before) is not type(value) or before != value:
            changes[key] = value
    return changes


def carry_over(target: Tree, old: Tree, new: Tree) -> None:
    """Make in `target`, PyGaSe's, the changes that lead from `old` to `new`, this library's.

    What `old` and `new` share is left as it is in `target`, whatever a program made of it.
    """
    for wire_key in old.keys() - new.keys():
        target.pop(_key_from_wire(wire_key), None)
    for wire_key, value in new.items():
        before = old.get(wire_key, _ABSENT)
        if before is value:
            continue
        key = _key_from_wire(wire_key)
        standing = target.get(key)
        if isinstance(value, dict) and isinstance(before, dict) and isinstance(standing, dict):
            carry_over(standing, before, value)
        elif type(before) is not type(value) or before != value:
            target[key] = from_wire(value)


def merge_in(tree: Tree, changes: Tree, *, delete: bool) -> None:
    """Apply PyGaSe's changes in place: dicts merge, all else replaces.

    Args:
        tree: what is changed.
        changes: new values by key.
        delete: whether `TO_DELETE` removes its key; else it is kept, as in a sum of updates.
    """
    for key, value in list(changes.items()):
        if delete and (value is DELETE or (isinstance(value, bytes) and value == TO_DELETE)):
            tree.pop(key, None)
        elif isinstance(value, dict):
            if not isinstance(tree.get(key), dict):
                tree[key] = {}
            merge_in(tree[key], value, delete=delete)
        else:
            tree[key] = value


def _key_to_wire(key: Any) -> Any:
    if type(key) is int or (type(key) is str and not key.startswith(_KEY_MARK)):
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        return int(key)
    return _KEY_MARK + pack(to_wire(key)).hex()


def _key_from_wire(key: Any) -> Any:
    if not isinstance(key, str) or not key.startswith(_KEY_MARK):
        return key
    try:
        value = _as_key(decode(bytes.fromhex(key[len(_KEY_MARK) :]), config=_CONFIG))
        hash(value)
    except (DecodeError, ValueError, TypeError):
        return key
    return value


def _as_key(value: Any) -> Any:
    return tuple(map(_as_key, value)) if isinstance(value, list) else value
