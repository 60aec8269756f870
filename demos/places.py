"""Where a demo keeps what outlives its processes."""

from __future__ import annotations

import os
from pathlib import Path


def state_file(program: str, name: str) -> Path | None:
    """A file where programs of this user keep such things; None for a user without a home.

    Args:
        program: the directory for all files of one program; whoever writes there makes it, for himself only.
    """
    home = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.local/state"
    home = os.path.expanduser(home)
    return None if home.startswith("~") else Path(home) / program / name
