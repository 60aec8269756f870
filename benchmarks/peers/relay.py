"""The bad line of W4, the same for all: the library's relay, which knows UDP alone."""

from __future__ import annotations

import argparse
import sys

from benchmarks.peers import game
from pygase_gevent.testing.link import LinkOptions
from pygase_gevent.testing.relay import Relay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the server's")
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds each way")
    parser.add_argument("--jitter", type=float, default=0.0, help="seconds more or less")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    line = LinkOptions(loss=options.loss, delay_s=options.delay, jitter_s=options.jitter)
    with Relay(("127.0.0.1", options.port), up=line, seed=options.seed) as relay:
        game.say({"port": relay.port})
        sys.stdin.read()


if __name__ == "__main__":
    main()
