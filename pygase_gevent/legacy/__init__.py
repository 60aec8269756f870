"""PyGaSe 0.3 as its programs know it, on this library: what `import pygase` gives after `patch_pygase`.

The modules have PyGaSe's names and hold all of its public names. `docs/migration.md` lists what
differs. New programs have no use for this: they import from `pygase_gevent`.
"""

from pygase_gevent.legacy.backend import Backend, GameStateMachine, GameStateStore, Server
from pygase_gevent.legacy.client import Client
from pygase_gevent.legacy.gamestate import GameState
from pygase_gevent.legacy.utils import get_available_ip_addresses

__all__ = [
    "Backend",
    "Client",
    "GameState",
    "GameStateMachine",
    "GameStateStore",
    "Server",
    "get_available_ip_addresses",
]
