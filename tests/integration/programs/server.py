"""A server that plays `Game` until it is told to end: by a signal, or by its host.

python -m tests.integration.programs.server PORT [--in-thread]
"""

from __future__ import annotations

import contextlib
import sys

from ..game import Game


def main(port: int, *, in_thread: bool) -> None:
    game = Game()
    if in_thread:
        thread = game.run_in_thread(port)
        print("listening", game.server.port)
        with contextlib.suppress(KeyboardInterrupt):
            thread.join()
    else:
        game.backend.run("localhost", port)
    print("ended")


if __name__ == "__main__":
    main(int(sys.argv[1]), in_thread="--in-thread" in sys.argv)
