"""The options of `python -m demos.pong`."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path

from demos.pong.shared import DEFAULT_PORT
from demos.processes import ENDS_WITH_PARENT, parse_address, parse_port
from pygase_gevent.testing import LinkOptions

PROGRAM = "demos.pong"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m {PROGRAM}",
        description="Pong over the network. Without options: a server, your window, and a bot to play "
        "against until somebody joins. Without a screen: bots against each other.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--join", metavar="HOST:PORT", type=parse_address, help="play on a running server")
    where.add_argument(
        "--host",
        nargs="?",
        const="0.0.0.0",
        metavar="ADDRESS",
        help="run only the server, on this address of the machine (default: on all of them)",
    )
    parser.add_argument(
        "--port",
        type=parse_port,
        help=f"the server's port (default: {DEFAULT_PORT} with --host, else any free one)",
    )
    parser.add_argument("--name", default=_user(), help="your name (default: %(default)s)")
    parser.add_argument("--bots", action="store_true", help="let a bot play for you")
    parser.add_argument("--spectate", action="store_true", help="only watch")
    parser.add_argument(
        "--view",
        choices=("window", "terminal", "headless"),
        help="default: a window where there is a screen, or else the terminal",
    )
    parser.add_argument("--size", type=_size, default=(960, 540), metavar="WxH", help="of the window")
    parser.add_argument("--muted", action="store_true", help="start without sound (m changes it)")
    parser.add_argument(
        "--lossy",
        type=parse_line,
        metavar="LOSS,DELAY,JITTER",
        help="play over a bad line: 10%%,80ms,20ms loses a tenth of the datagrams and delays each, each way",
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="where the server keeps the match, for a restart"
    )
    parser.add_argument("--seconds", type=float, help="end after so long (default: never; headless: 10)")
    parser.add_argument("--report", action="store_true", help="say at the end how smooth the window was")
    parser.add_argument("--server", action="store_true", help=argparse.SUPPRESS)  # as `Children` starts it
    parser.add_argument(ENDS_WITH_PARENT, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def parse_line(text: str) -> LinkOptions:
    """`"10%,80ms,20ms"`: loss, delay each way, jitter; what is left out is zero."""
    loss, delay, jitter = (*(part.strip() for part in text.split(",")), "0ms", "0ms")[:3]
    is_complete = loss.endswith("%") and delay.endswith("ms") and jitter.endswith("ms")
    try:
        if text.count(",") > 2 or not is_complete:
            raise ValueError(text)
        loss_share, delay_s, jitter_s = (
            float(loss[:-1]) / 100,
            float(delay[:-2]) / 1000,
            float(jitter[:-2]) / 1000,
        )
        return LinkOptions(loss=loss_share, delay_s=delay_s, jitter_s=jitter_s)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a line such as 10%,80ms,20ms") from None


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not width.isdecimal() or not height.isdecimal() or min(int(width), int(height)) < 160:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 960x540")
    return int(width), int(height)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return "player"
