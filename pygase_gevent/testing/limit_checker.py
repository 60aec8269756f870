"""The checker of limits: no queue, buffer, cache or table is larger than the limit that it has.

It walks through everything that a core or session holds. Whoever adds a container says in limit_table.py
what bounds it (a test asks for it).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import Any

from pygase_gevent.config import Config
from pygase_gevent.testing.checker import Checker
from pygase_gevent.testing.limit_table import LIMITS
from pygase_gevent.testing.world import World

LOOK_INTO = 3
"""Elements of a container that are looked into in turn."""
UNKNOWN_LIMIT = 4096
"""For a container that the table does not know."""
_CONTAINERS = (list, dict, set, deque)


class WithinLimits(Checker):
    """No queue, buffer or memory beyond its limit.

    Args:
        world: whose hosts are looked at.
        every: looks that are made, of those asked for.
    """

    def __init__(self, world: World, every: int = 5) -> None:
        self._world = world
        self._every = every
        self._looks = 0
        self.largest: dict[str, int] = {}

    def look(self) -> None:
        self._looks += 1
        if self._looks % self._every:
            return
        server = self._world.server
        self._check(server.core, server.config)
        for client in self._world.clients:
            if not client.is_dead:
                self._check(client.core, client.config)

    def _check(self, core: object, config: Config) -> None:
        for name, size in containers(core):
            if size > self.largest.get(name, -1):
                self.largest[name] = size
                limit = LIMITS.get(name, _unknown)(config)
                if size > limit:
                    self.fail(f"{name} holds {size}, and its limit is {limit}")


def _unknown(config: Config) -> int:
    return UNKNOWN_LIMIT


def containers(root: object) -> Iterator[tuple[str, int]]:
    """Each container that an object holds, directly or not, by `Class.attribute`, and its size."""
    seen: set[int] = set()
    todo: list[object] = [root]
    while todo:
        owner = todo.pop()
        if id(owner) in seen:
            continue
        seen.add(id(owner))
        for name, value in _attributes(owner):
            if isinstance(value, _CONTAINERS):
                yield f"{type(owner).__name__.removeprefix('Tapped')}.{name}", len(value)
                todo.extend(_inner(value))
            elif _is_ours(value):
                todo.append(value)


def _attributes(owner: object) -> Iterator[tuple[str, object]]:
    yield from getattr(owner, "__dict__", {}).items()
    kind: Any = type(owner)
    for name in _slots(kind):
        if hasattr(owner, name):
            yield name, getattr(owner, name)


@cache
def _slots(cls: type) -> tuple[str, ...]:
    names: list[str] = []
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        names += (slots,) if isinstance(slots, str) else slots
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _inner(container: object) -> Iterator[object]:
    values = container.values() if isinstance(container, dict) else container
    assert isinstance(values, (list, set, deque)) or hasattr(values, "__iter__")
    for _, value in zip(range(LOOK_INTO), values, strict=False):
        for part in value if isinstance(value, tuple) else (value,):
            if _is_ours(part):
                yield part


def _is_ours(value: object) -> bool:
    kind: Any = type(value)
    return _is_our_class(kind)


@cache
def _is_our_class(cls: type) -> bool:
    return cls.__module__.startswith(("pygase_gevent.protocol", "pygase_gevent.testing.tap"))
