"""The command line of the chat: which processes run, and what this one does."""

from __future__ import annotations

import argparse
import getpass
import sys

from demos.chat.server import ChatServer
from demos.chat.shared import DEFAULT_PORT, STEP_S
from demos.chat.terminal import chat
from demos.processes import (
    ENDS_WITH_PARENT,
    Children,
    NotStartedError,
    parse_address,
    reachable,
    run_program,
    run_server,
)

PROGRAM = "demos.chat"


def main() -> int:
    arguments = _parse_arguments()
    return run_program("chat", lambda: _run(arguments), ends_with_parent=arguments.with_parent)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.server:
        run_server(ChatServer().backend, arguments.host, arguments.port, interval=STEP_S)
    elif arguments.join is not None:
        chat(arguments.name, *arguments.join)
    else:
        _chat_here(arguments)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {PROGRAM}",
        description="Chat rooms over the network. Without options: joins the server on this machine, "
        "or starts one, which then ends with you.",
    )
    parser.add_argument("--join", metavar="HOST:PORT", type=parse_address, help="join a running server")
    parser.add_argument("--server", action="store_true", help="run only the server")
    parser.add_argument(
        "--host", default="localhost", help="address the server listens on; 0.0.0.0 for a LAN"
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port of the server (%(default)s)")
    parser.add_argument("--name", default=getpass.getuser(), help="your name (%(default)s)")
    parser.add_argument(ENDS_WITH_PARENT, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _chat_here(arguments: argparse.Namespace) -> None:
    with Children() as children:
        try:
            host, port = children.start_server(PROGRAM, arguments.host, arguments.port)
        except NotStartedError:
            host, port = arguments.host, arguments.port  # taken: by the server that we look for
        chat(arguments.name, reachable(host), port)


if __name__ == "__main__":
    sys.exit(main())
