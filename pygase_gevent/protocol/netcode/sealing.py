"""Which implementation of sealing this installation has: the extension where it was built, else plain Python.

Both do the same (`tests/test_netcode_sealing.py`); see `crypto`, `packet` and `replay` for what that is.
"""

from __future__ import annotations

try:
    from pygase_gevent.protocol.netcode._sealing import (
        PacketCipher,
        ReplayWindow,
        read_packet,
        write_packet,
    )
except ImportError:  # not built: see setup.py
    from pygase_gevent.protocol.netcode.crypto import PacketCipher  # type: ignore[assignment]
    from pygase_gevent.protocol.netcode.packet import read_packet, write_packet  # type: ignore[assignment]
    from pygase_gevent.protocol.netcode.replay import ReplayWindow  # type: ignore[assignment]

__all__ = ["PacketCipher", "ReplayWindow", "read_packet", "write_packet"]
