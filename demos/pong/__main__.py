"""The command line of pong: which processes run, and what this one does."""

from __future__ import annotations

import argparse
import errno
import subprocess
import sys
from contextlib import ExitStack

from demos.places import state_file
from demos.pong import rules
from demos.pong.bot import Bot
from demos.pong.network import PongClient
from demos.pong.options import PROGRAM, parse_arguments
from demos.pong.savefile import SaveFile
from demos.pong.server import PongServer
from demos.pong.shared import DEFAULT_PORT, STEP_S
from demos.pong.views import ViewError, choose_view, show
from demos.processes import (
    Children,
    NotStartedError,
    format_address,
    reachable,
    run_program,
    run_server,
)
from pygase_gevent import get_available_ip_addresses
from pygase_gevent.errors import NoAnswerError
from pygase_gevent.testing import Relay

Address = tuple[str, int]


def main() -> int:
    arguments = parse_arguments()
    return run_program("pong", lambda: _run(arguments), ends_with_parent=arguments.with_parent)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.host is not None:
        _serve(arguments)
    elif arguments.join is not None:
        _join(arguments, arguments.join, hint="")
    else:
        _play_here(arguments)


def _serve(arguments: argparse.Namespace) -> None:
    """Only the server; it goes on with the match that its last run saved."""
    port = DEFAULT_PORT if arguments.port is None else arguments.port
    path = arguments.state
    if path is None and port:
        path = state_file("pygase_gevent_pong", f"{port}.json")
    backend = PongServer(SaveFile(path) if path is not None else None).backend
    try:
        run_server(backend, arguments.host, port, interval=STEP_S, announce=_announce)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise NotStartedError(
            f"port {port} is taken: is another game running there? --port chooses another one, "
            f"--join {format_address(reachable(arguments.host), port)} joins that game"
        ) from None


def _announce(host: str, port: int) -> None:
    print(*join_lines(host, port), sep="\n", flush=True)


def join_lines(host: str, port: int) -> list[str]:
    """What somebody else types to play on a server of this machine: a line per address."""
    hosts = [host]
    if host in ("0.0.0.0", "::"):
        found = get_available_ip_addresses()
        hosts = [address for address in found if not address.startswith("127.")] or found
    return [f"to join: python -m {PROGRAM} --join {format_address(each, port)}" for each in hosts]


def _play_here(arguments: argparse.Namespace) -> None:
    """Starts a server process and the bots that are needed, and joins."""
    is_alone = choose_view(arguments.view) == "headless"
    with Children() as children:
        state = [] if arguments.state is None else ["--state", str(arguments.state)]
        host, port = children.start_server(
            PROGRAM, "localhost" if is_alone else "0.0.0.0", arguments.port or 0, *state
        )
        if is_alone:
            _watch_bots(children, reachable(host), port, arguments)
            return
        lines = join_lines(host, port)
        print("A friend on your network can play, too:", *lines, sep="\n", flush=True)
        for name in ("Ada", "Bob") if arguments.spectate else ("Ada",):
            _start_bot(children, reachable(host), port, name, seconds=0)
        _join(arguments, (reachable(host), port), lines[0])


def _join(arguments: argparse.Namespace, address: Address, hint: str) -> None:
    view = choose_view(arguments.view)
    is_bot = arguments.bots or (view == "headless" and not arguments.spectate)
    player = PongClient(arguments.name, is_bot=is_bot, is_watching=arguments.spectate)
    with ExitStack() as stack:
        stack.callback(player.client.disconnect)
        _connect(player, address, arguments, stack)
        show(view, player, hint, Bot() if is_bot else None, arguments)
        print(result_line(player))
        reason = player.client.connection.disconnect_reason
        if reason is not None:
            print(f"the connection is over: {reason}")


def _connect(player: PongClient, address: Address, arguments: argparse.Namespace, stack: ExitStack) -> None:
    """Connects, over a bad line where one is asked for."""
    if arguments.lossy is not None:
        relay = stack.enter_context(Relay(address, up=arguments.lossy))
        host, port = "127.0.0.1", relay.port
    else:
        host, port = address
    try:
        player.connect(host, port)
    except NoAnswerError:
        raise ViewError(
            f"no game answers at {format_address(*address)}: is it running there, and is the address right? "
            f"(python -m {PROGRAM} --host starts one)"
        ) from None


def _watch_bots(children: Children, host: str, port: int, arguments: argparse.Namespace) -> None:
    """Without anything to show: two bots play, and their figures are printed."""
    watcher = PongClient("spectator", is_watching=True)
    seconds = 10.0 if arguments.seconds is None else arguments.seconds
    with ExitStack() as stack:
        stack.callback(watcher.client.disconnect)
        _connect(watcher, (host, port), arguments, stack)
        print(f"pong on {format_address(host, port)}: bots play for {seconds:g} seconds", flush=True)
        for bot in [_start_bot(children, host, port, name, seconds) for name in ("Ada", "Bob")]:
            assert bot.stdout is not None
            print(bot.stdout.read().strip())
        print(result_line(watcher))
        score = watcher.game().score
        print(f"final score: {score['left']} : {score['right']}")


def _start_bot(children: Children, host: str, port: int, name: str, seconds: float) -> subprocess.Popen[str]:
    what = ("--bots", "--view", "headless", "--name", name, "--seconds", str(seconds))
    return children.start(PROGRAM, "--join", format_address(host, port), *what)


def result_line(player: PongClient) -> str:
    """Who played, and on what line."""
    stats, states = player.client.connection.stats, player.client.recent_states()
    elapsed_s = states[-1].server_time - states[0].server_time if len(states) > 1 else 0.0
    rate_hz = (len(states) - 1) / elapsed_s if elapsed_s > 0 else 0.0
    side = rules.side_of(player.game(), player.player_id) or "watching"
    return (
        f"{player.name} ({side}): round trip {stats.round_trip_s * 1000:.1f} ms, loss {stats.loss:.1%}, "
        f"{rate_hz:.1f} updates/s"
    )


if __name__ == "__main__":
    sys.exit(main())
