"""The command line of the chat: which processes run, and what this one does."""

from __future__ import annotations

import argparse
import getpass
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from demos.chat.hosting import IDLE_S, LocalServer, default_transcript
from demos.chat.lines import LineByLine
from demos.chat.server import ChatServer
from demos.chat.shared import DEFAULT_PORT, STEP_S
from demos.chat.transcript import check_writable
from demos.processes import format_address, has_terminal, parse_address, parse_port, run_program, run_server
from pygase_gevent import get_available_ip_addresses

if TYPE_CHECKING:
    from demos.chat.screen import ChatScreen

PROGRAM = "demos.chat"


def main() -> int:
    arguments = _parse_arguments()
    if hasattr(signal, "SIGHUP"):  # a closed window is a goodbye
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    return run_program("chat", lambda: _run(arguments), ends_with_parent=False)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.server:
        transcript = _transcript(arguments)
        if transcript is not None:
            check_writable(transcript)
        server = ChatServer(transcript, arguments.idle)
        run_server(server.backend, arguments.host, arguments.port, interval=STEP_S)
    elif arguments.join is not None:
        _view(arguments.name).run(*arguments.join)
    else:
        _chat_here(arguments)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {PROGRAM}",
        description="Chat rooms over the network. Without options: joins the server on this machine, or "
        "starts one, which is a process of its own and ends when nobody is left. Under a pipe: line by line.",
    )
    parser.add_argument("--join", metavar="HOST:PORT", type=parse_address, help="join a running server")
    parser.add_argument("--server", action="store_true", help="run only the server, until Ctrl-C")
    parser.add_argument(
        "--host", default="localhost", help="address the server listens on; 0.0.0.0 for a LAN"
    )
    parser.add_argument(
        "--port", type=parse_port, default=DEFAULT_PORT, help="port of the server (%(default)s)"
    )
    parser.add_argument("--name", default=getpass.getuser(), help="your name (%(default)s)")
    parser.add_argument(
        "--transcript",
        metavar="FILE",
        help="where the server keeps what was said, also for the next one; '' to forget it "
        f"({default_transcript(DEFAULT_PORT)})",
    )
    parser.add_argument(
        "--idle",
        type=float,
        metavar="S",
        help=f"the server ends after so long without anybody ({IDLE_S:g}; with --server: never)",
    )
    return parser.parse_args()


def _chat_here(arguments: argparse.Namespace) -> None:
    server = LocalServer(arguments.host, arguments.port, _transcript(arguments), arguments.idle or IDLE_S)
    hints = []
    if server.start():
        hints.append("the server is a process of its own: it goes on while anybody is there")
        hints.append(f"on this machine others type: python -m {PROGRAM}")
    host, port = server.address
    if arguments.host in ("0.0.0.0", "::"):
        addresses = [ip for ip in get_available_ip_addresses() if not ip.startswith("127.")]
        joins = [f"python -m {PROGRAM} --join {format_address(ip, port)}" for ip in addresses[:2]]
        hints += [f"a friend types: {join}" for join in joins]
    view = _view(arguments.name, *hints)
    server.keep_up(view.client)
    view.run(host, port)


def _view(name: str, *hints: str) -> LineByLine | ChatScreen:
    if not has_terminal():
        return LineByLine(name)
    from demos.chat.screen import ChatScreen  # needs prompt_toolkit, which a pipe can do without

    return ChatScreen(name, *hints)


def _transcript(arguments: argparse.Namespace) -> Path | None:
    if arguments.transcript is None:
        return default_transcript(arguments.port)
    return Path(arguments.transcript) if arguments.transcript else None


if __name__ == "__main__":
    sys.exit(main())
