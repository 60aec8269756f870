"""The command line of pong: which processes run, and what this one does."""

from __future__ import annotations

import argparse
import getpass
import importlib.util
import subprocess
import sys

from demos.pong import rules
from demos.pong.client import Bot, PongClient
from demos.pong.server import PongServer
from demos.pong.shared import STEP_S
from demos.processes import (
    ENDS_WITH_PARENT,
    Children,
    format_address,
    has_terminal,
    parse_address,
    reachable,
    run_program,
    run_server,
)
from pygase_gevent import get_available_ip_addresses

PROGRAM = "demos.pong"


def main() -> int:
    arguments = _parse_arguments()
    return run_program("pong", lambda: _run(arguments), ends_with_parent=arguments.with_parent)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.server:
        run_server(PongServer().backend, arguments.host, arguments.port, interval=STEP_S)
    elif arguments.join is not None:
        _join(arguments, arguments.join)
    else:
        _play_here(arguments)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {PROGRAM}",
        description="Pong over the network. Without options: a server, you, and a bot to play against "
        "until somebody joins. Without a terminal: bots against each other.",
    )
    parser.add_argument("--join", metavar="HOST:PORT", type=parse_address, help="play on a running server")
    parser.add_argument("--server", action="store_true", help="run only the server")
    parser.add_argument(
        "--host", default="localhost", help="address the server listens on; 0.0.0.0 for a LAN"
    )
    parser.add_argument("--port", type=int, default=0, help="port it listens on (default: any free one)")
    parser.add_argument("--name", default="", help="your name")
    parser.add_argument("--bots", action="store_true", help="let a bot play for you")
    parser.add_argument("--spectate", action="store_true", help="only watch")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="how long bots play without a terminal; 0: no end"
    )
    parser.add_argument(ENDS_WITH_PARENT, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _join(arguments: argparse.Namespace, address: tuple[str, int], hint: str = "") -> None:
    is_bot = arguments.bots or not _has_screen()
    name = arguments.name or ("bot" if is_bot else getpass.getuser())
    player = PongClient(name, is_bot=is_bot, is_watching=arguments.spectate)
    try:
        player.connect(*address)
        if _has_screen():
            from demos.pong import terminal  # imports curses, which Windows lacks

            terminal.play(player, hint, Bot() if is_bot else None)
        else:
            Bot().play(player, arguments.seconds)
        _print_result(player)
    finally:
        player.disconnect()


def _play_here(arguments: argparse.Namespace) -> None:
    """Starts a server process and the bots that are needed, and joins."""
    with Children() as children:
        host, port = children.start_server(PROGRAM, arguments.host, arguments.port)
        if not _has_screen():
            _watch_bots(children, reachable(host), port, arguments.seconds)
            return
        for name in ("Ada", "Bob") if arguments.spectate else ("Ada",):
            _start_bot(children, reachable(host), port, name, seconds=0)
        _join(arguments, (reachable(host), port), _hint(host, port))


def _watch_bots(children: Children, host: str, port: int, seconds: float) -> None:
    watcher = PongClient("spectator", is_watching=True)
    try:
        watcher.connect(host, port)
        print(f"pong on {format_address(host, port)}: bots play for {seconds:g} seconds", flush=True)
        for bot in [_start_bot(children, host, port, name, seconds) for name in ("Ada", "Bob")]:
            assert bot.stdout is not None
            print(bot.stdout.read().strip())
        _print_result(watcher)
        score = watcher.game().score
        print(f"final score: {score['left']} : {score['right']}")
    finally:
        watcher.disconnect()


def _start_bot(children: Children, host: str, port: int, name: str, seconds: float) -> subprocess.Popen[str]:
    address = format_address(host, port)
    return children.start(PROGRAM, "--join", address, "--bots", "--name", name, "--seconds", str(seconds))


def _has_screen() -> bool:
    return has_terminal() and importlib.util.find_spec("_curses") is not None


def _hint(host: str, port: int) -> str:
    if host in ("0.0.0.0", "::"):
        host = next(iter(get_available_ip_addresses()), host)
    return f"to join: python -m {PROGRAM} --join {format_address(host, port)}"


def _print_result(player: PongClient) -> None:
    game = player.game()
    side = rules.side_of(game, player.player_id)
    print(f"{player.name} ({side or 'watching'}): {player.network_line()}")


if __name__ == "__main__":
    sys.exit(main())
