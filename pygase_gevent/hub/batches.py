"""Which implementation of batches this installation has: the extension where it was built, else plain Python.

Both do the same (`tests/test_hub_batches.py`); see `plain_batches` for what that is.
"""

from __future__ import annotations

try:
    from pygase_gevent.hub._batches import receive, send
except ImportError:  # not built: see setup.py
    from pygase_gevent.hub.plain_batches import receive, send

__all__ = ["receive", "send"]
