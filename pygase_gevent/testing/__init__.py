"""Tools to test games and the library itself over bad networks.

For games: `VirtualNetwork`, in virtual time, and its pytest fixtures (`plugin.py`); `Relay`, in real
time. docs/testing.md is the how-to.
"""

from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.relay import Relay
from pygase_gevent.testing.virtual.loop import DeadlockError, RealTimeLimitError, VirtualTimeError
from pygase_gevent.testing.virtual.network import VirtualNetwork
from pygase_gevent.testing.virtual.wires import VirtualLink

__all__ = [
    "DeadlockError",
    "LinkOptions",
    "RealTimeLimitError",
    "Relay",
    "VirtualLink",
    "VirtualNetwork",
    "VirtualTimeError",
]
