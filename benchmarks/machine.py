"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib import metadata

PACKAGES = ("gevent", "greenlet", "msgpack", "cryptography", "PyNaCl")


def description() -> dict[str, str]:
    """By name, as it goes into the table."""
    return {
        "processor": _processor(),
        "cores": f"{os.cpu_count()}; server pinned to one, load generator to another",
        "system": f"{platform.system()} {platform.release()}",
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": f"{platform.python_implementation()} {platform.python_version()}, {_linked()}",
        "packages": ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES),
        "time": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _linked() -> str:
    """How the interpreter is built, which matters as much as much else: calls into a shared library cost."""
    with open("/proc/self/maps") as file:
        is_shared = any("libpython3." in line for line in file)
    return "libpython shared" if is_shared else "in one piece"


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
