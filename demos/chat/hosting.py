"""The server on this machine: a process of its own, which outlives who started it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from demos.chat.client import ChatClient
from demos.places import state_file
from demos.processes import parse_address, reachable

IDLE_S = 10.0
"""Long enough to leave and come back; what was said is in the transcript anyway."""
LOOK_S = 2.0
LISTENING = "listening on "


class LocalServer:
    """Sees to it that there is a server on this machine while somebody here wants to chat.

    Args:
        host: what it listens on.
        port: where; if that is taken, then by the server that is looked for.
        transcript: file of what was said.
        idle_s: it ends after so long without anybody.
    """

    def __init__(self, host: str, port: int, transcript: Path | None, idle_s: float) -> None:
        self.address = (reachable(host), port)
        self._command = [sys.executable, "-m", "demos.chat", "--server", "--idle", str(idle_s)]
        self._command += ["--host", host, "--port", str(port), "--transcript", str(transcript or "")]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> bool:
        """Starts it if there is none; whether it was started."""
        if self._process is not None and self._process.poll() is None:
            return False
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # neither Ctrl-C nor the end of this terminal is meant for it
            creationflags=getattr(subprocess, "DETACHED_PROCESS", 0),  # the same on Windows
        )
        assert self._process.stdout is not None
        with self._process.stdout as output:
            line = output.readline()
        if not line.startswith(LISTENING):
            return False
        self.address = (self.address[0], parse_address(line.removeprefix(LISTENING).strip())[1])
        return True

    def keep_up(self, client: ChatClient) -> None:
        """From now on starts it again whenever the client lost it and it is gone."""
        threading.Thread(target=self._keep_up, args=(client,), daemon=True).start()

    def _keep_up(self, client: ChatClient) -> None:
        while not client.is_over.wait(LOOK_S):
            if client.is_looking_for_server:
                self.start()


def default_transcript(port: int) -> Path | None:
    """Where programs keep such things; none for a port that nobody could name twice."""
    return state_file("pygase_gevent_chat", f"{port}.jsonl") if port else None
