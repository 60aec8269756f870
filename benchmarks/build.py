"""Builds the load generator of `benchmarks/load` with the machine's C compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.processes import Unavailable

SOURCES = Path(__file__).resolve().parent / "load"
OUTPUT = Path(__file__).resolve().parent / ".build" / "load"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")


def load_program(output: Path = OUTPUT) -> str:
    """The load generator's path; compiled if a source is newer.

    Raises:
        Unavailable: there is no compiler, or libcrypto's headers are missing.
    """
    sources = sorted(SOURCES.glob("*.[ch]"))
    if output.exists() and output.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return str(output)
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Unavailable("the load generator needs a C compiler (apt-get install gcc)")
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(f".{os.getpid()}")
    command = [
        compiler,
        *FLAGS,
        "-o",
        str(partial),
        *(str(s) for s in sources if s.suffix == ".c"),
        "-lcrypto",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise Unavailable(
            f"the load generator needs a C compiler, and {compiler} is none: {error}"
        ) from error
    if done.returncode:
        if "openssl/" in done.stderr:
            raise Unavailable("the load generator needs OpenSSL's headers (apt-get install libssl-dev)")
        raise Unavailable(f"the load generator does not compile: {done.stderr.strip()}")
    partial.rename(output)
    return str(output)
