"""The command line: `python -m pygase_gevent key`, `... token` and `... lossy`."""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import sys
from pathlib import Path

from pygase_gevent.errors import PygaseError
from pygase_gevent.protocol.address import Address
from pygase_gevent.testing import lossy
from pygase_gevent.tokens import issue_connect_token

KEY_VARIABLE = "PYGASE_KEY"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.command == "key":
            print(secrets.token_hex(32))
        elif options.command == "token":
            sys.stdout.write(_token(options) + "\n")
        else:
            lossy.run(options)
    except (PygaseError, OSError, ValueError) as error:
        print(f"{parser.prog} {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pygase_gevent", description="Keys, connect tokens, and bad lines."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("key", help="print a new random key, 64 hex digits")
    token = commands.add_parser(
        "token",
        help="print a connect token, base64",
        description=f"The key is read from --key-file, or from the environment variable {KEY_VARIABLE}; "
        "never from the command line, where other users of the machine could see it.",
    )
    token.add_argument("--key-file", type=Path, help="file with the server's key, 64 hex digits")
    token.add_argument("--game", default="", help="name of the game, as given to the server")
    token.add_argument(
        "--server", action="append", required=True, type=_address, metavar="HOST:PORT",
        help="a server the client may connect to, by IP address; up to 32 times",
    )  # fmt: skip
    token.add_argument("--client-id", type=int, help="64-bit number of the client (default: random)")
    token.add_argument(
        "--claims", type=json.loads, default={}, metavar="JSON", help="what the server is told"
    )
    token.add_argument("--expire", type=int, default=30, metavar="SECONDS", help="good for (default: 30)")
    bad_line = commands.add_parser(
        "lossy",
        help="relay to a server over a bad line",
        description="Clients connect to --listen instead of the server. The line is equally bad both ways.",
    )
    lossy.add_arguments(bad_line, _address)
    return parser


def _token(options: argparse.Namespace) -> str:
    digits = options.key_file.read_text() if options.key_file else os.environ.get(KEY_VARIABLE, "")
    if not digits.strip():
        raise ValueError(
            f"no key: give --key-file, or set {KEY_VARIABLE} (make one: python -m pygase_gevent key)"
        )
    try:
        key = bytes.fromhex(digits.strip())
    except ValueError as error:
        raise ValueError("the key must be 64 hex digits") from error
    token = issue_connect_token(
        key=key,
        game=options.game,
        server_addresses=options.server,
        client_id=options.client_id,
        claims=options.claims,
        expire_s=options.expire,
    )
    return base64.b64encode(token).decode("ascii")


def _address(text: str) -> Address:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


if __name__ == "__main__":
    sys.exit(main())
