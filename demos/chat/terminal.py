"""The user's side of the chat: a prompt on a terminal, lines under a pipe."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable

from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout

from demos.chat.client import ChatClient
from demos.processes import has_terminal

QUIT_TIMEOUT_S = 0.7
PIPE_QUIT_TIMEOUT_S = 5.0


def chat(name: str, host: str, port: int) -> None:
    """Connects, and chats until /quit, the end of input, or the end of the connection."""
    client = ChatClient(name, lambda line: print(line, flush=True))
    try:
        client.connect(host, port)
        if has_terminal():
            _chat_on_terminal(client)
        else:
            _say_all(client, sys.stdin)
            client.quit(PIPE_QUIT_TIMEOUT_S)
    finally:
        client.disconnect()


def _chat_on_terminal(client: ChatClient) -> None:
    # Messages are printed above the prompt; a line typed is erased, since it comes back as a message.
    session: PromptSession[str] = PromptSession("> ", erase_when_done=True)

    def quit_if_over() -> None:
        if client.is_over.is_set():
            session.app.exit(result="/quit")

    def end_prompt() -> None:
        client.is_over.wait()
        if session.app.loop is not None and session.app.is_running:
            session.app.loop.call_soon_threadsafe(quit_if_over)

    threading.Thread(target=end_prompt, daemon=True).start()
    print("Type and press Enter; /help shows the commands.")
    with patch_stdout():
        while not client.is_over.is_set():
            try:
                line = session.prompt(pre_run=quit_if_over)
            except EOFError:
                line = "/quit"
            if line.strip() == "/quit":
                break
            client.say(line)
    client.quit(QUIT_TIMEOUT_S)


def _say_all(client: ChatClient, lines: Iterable[str]) -> None:
    for line in lines:
        if client.is_over.is_set() or line.strip() == "/quit":
            return
        if line.strip():
            client.say(line.rstrip("\n"))
