"""What Tab proposes: commands, rooms and names."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from demos.chat import rules
from demos.chat.client import ChatClient
from demos.chat.commands import HELP

TAKES_ROOM = ("/join", "/who", "/leave")


class ChatCompleter(Completer):
    """Completes the word before the cursor.

    Args:
        client: knows who is there, and where.
    """

    def __init__(self, client: ChatClient) -> None:
        self._client = client

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        *before, word = document.text_before_cursor.split(" ")
        if not word and not before:
            return
        for proposal, meta in self._proposals(before, word):
            if proposal.casefold().startswith(word.casefold()):
                yield Completion(proposal, -len(word), display_meta=meta)

    def _proposals(self, before: list[str], word: str) -> Iterable[tuple[str, str]]:
        users = self._client.users()
        if not before and word.startswith("/"):
            return [(usage.partition(" ")[0] + " " * (" " in usage), text) for usage, text in HELP.items()]
        if before and before[0] in TAKES_ROOM:
            return [(rules.clean(room), f"{count} in it") for room, count in _rooms(users)]
        if before and before[0].startswith("/") and (before[0] != "/msg" or len(before) > 1) and not word:
            return []
        names = sorted(rules.clean(user["name"]) for user in users.values())
        if before == ["/msg"]:
            return [(f"{name} ", "") for name in names]
        return [(name if before else f"{name}: ", "") for name in names] if word else []


def _rooms(users: rules.Users) -> list[tuple[str, int]]:
    return sorted(rules.rooms_with_people(users).items())
