"""Why a connection ended: one value for both sides, and the code of a close frame."""

from __future__ import annotations

import enum


class DisconnectReason(enum.IntEnum):
    """Why a session ended. The values up to 99 travel in close frames and never change."""

    GOODBYE = 1
    """One side said goodbye: `Client.disconnect`, or the end of its program."""
    KICKED = 2
    """The server's application ended it: `Server.kick`."""
    BANNED = 3
    """Like kicked, and the application means it for good."""
    SHUTDOWN = 4
    """The server was shut down and did not come back within the resume window."""
    NAME_TAKEN = 5
    """A live session already has the client address that this one would be named by."""
    SESSION_ENDED = 6
    """The session to resume is over: it was away for longer than the resume window."""
    PROTOCOL_MISMATCH = 7
    """The two sides speak different revisions of the protocol."""
    REPLACED = 8
    """A new session came from the address of this one while it was dropped."""

    SERVER_FULL = 100
    """netcode's denied: the server has no room."""
    TIMED_OUT = 101
    """Silence, and it did not come back within the resume window."""
    NO_ANSWER = 102
    """Nothing ever came back: wrong key, wrong game, no server, or a firewall."""
    TOKEN_EXPIRED = 103
    """The connect token expired before the connection stood."""
    INVALID_TOKEN = 104
    """The connect token is not one: wrong size, version or content."""

    @classmethod
    def from_code(cls, code: int) -> DisconnectReason:
        """The reason of a close frame's code; codes that this version does not know are a goodbye."""
        try:
            reason = cls(code)
        except ValueError:
            return cls.GOODBYE
        return reason if reason < 100 else cls.GOODBYE
