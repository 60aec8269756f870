"""`python -m pygase_gevent lossy`: play your own game over a bad line, with figures on the screen."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TextIO

from pygase_gevent.protocol.address import Address
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.relay import Relay

_REPORT_S = 1.0
_HEADER = "  time  clients | up: datagrams/s    lost | down: datagrams/s    lost"
_IN_PLACE = "\r\x1b[2K"  # back to the line's beginning, which is then cleared


def add_arguments(parser: argparse.ArgumentParser, address: Callable[[str], Address]) -> None:
    """The options of the command.

    Args:
        parser: gets them.
        address: reads `HOST:PORT`.
    """
    parser.add_argument(
        "--listen", type=_port, required=True, metavar="PORT", help="UDP port that clients connect to"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for a LAN (default: %(default)s)"
    )
    parser.add_argument("--to", type=address, required=True, metavar="HOST:PORT", help="the server")
    for name, text in (
        ("loss", "share of datagrams that vanish: 5%% or 0.05"),
        ("duplicate", "share that arrives twice"),
        ("reorder", "share that is held back for 20 ms"),
        ("corrupt", "share that arrives with a bit flipped"),
    ):
        parser.add_argument(f"--{name}", type=_share, default=0.0, metavar="SHARE", help=text)
    parser.add_argument("--delay", type=_seconds, default=0.0, metavar="TIME", help="each way: 50ms or 0.05s")
    parser.add_argument(
        "--jitter", type=_seconds, default=0.0, metavar="TIME", help="up to so much more or less"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same line (default: 0)")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), metavar="S", help="end after so long (default: never)"
    )


def run(options: argparse.Namespace, screen: TextIO = sys.stdout) -> None:
    """Relays until Ctrl-C, or until the time is over; prints a line of figures a second.

    Args:
        options: as `add_arguments` defines them.
        screen: where the figures go; on a terminal the line is rewritten in place.

    Raises:
        OSError: the port is taken, or the server's name is unknown.
    """
    line = LinkOptions(
        loss=options.loss,
        delay_s=options.delay,
        jitter_s=options.jitter,
        duplicate=options.duplicate,
        reorder=options.reorder,
        corrupt=options.corrupt,
    )
    with Relay(options.to, up=line, seed=options.seed, port=options.listen, hostname=options.host) as relay:
        print(_describe(relay.port, options), file=screen)
        print(_HEADER, file=screen, flush=True)
        try:
            _report(relay, options.seconds, screen)
        except KeyboardInterrupt:
            pass
        finally:
            if screen.isatty():
                print(file=screen)
            print(f"in all: up {_in_all(relay.up_counts)}; down {_in_all(relay.down_counts)}", file=screen)


def _report(relay: Relay, seconds: float, screen: TextIO) -> None:
    """A line of figures a second; on a terminal always the same line."""
    started = last = time.monotonic()
    up, down = relay.up_counts, relay.down_counts
    in_place = screen.isatty()
    while last - started < seconds:
        time.sleep(min(_REPORT_S, max(0.0, started + seconds - last)))
        now = time.monotonic()
        new_up, new_down = relay.up_counts, relay.down_counts
        elapsed_s = now - last
        text = (
            f"{now - started:4.0f} s {len(relay.clients):8} |{_figures(new_up - up, elapsed_s)} |"
            f"  {_figures(new_down - down, elapsed_s)}"
        )
        print(_IN_PLACE + text if in_place else text, end="" if in_place else "\n", file=screen, flush=True)
        last, up, down = now, new_up, new_down


def _figures(counts: Counter[str], elapsed_s: float) -> str:
    return f"{counts['sent'] / elapsed_s:16.1f} {_lost_share(counts):7.1%}"


def _lost_share(counts: Counter[str]) -> float:
    return (counts["lost"] + counts["queue full"]) / counts["sent"] if counts["sent"] else 0.0


def _in_all(counts: Counter[str]) -> str:
    return f"{counts['sent']} datagrams, {_lost_share(counts):.1%} lost"


def _describe(port: int, options: argparse.Namespace) -> str:
    shares = [(name, getattr(options, name)) for name in ("loss", "duplicate", "reorder", "corrupt")]
    figures = [f"{name} {100 * share:g}%" for name, share in shares if share or name == "loss"]
    figures[1:1] = [f"delay {options.delay * 1000:g} ms", f"jitter {options.jitter * 1000:g} ms"]
    way = f"{_joined((options.host, port))} -> {_joined(options.to)}"
    return f"{way}: {', '.join(figures)}, each way; seed {options.seed}"


def _joined(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 5% or 0.05")
    return share


def _seconds(text: str) -> float:
    number, unit_s = (text[:-2], 0.001) if text.endswith("ms") else (text.removesuffix("s"), 1.0)
    try:
        seconds = float(number) * unit_s
    except ValueError:
        seconds = -1.0
    if number == text and seconds > 0.0:  # 50 of what?
        seconds = -1.0
    if not 0.0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 50ms or 0.05s")
    return seconds
