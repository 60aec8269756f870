"""A client that stays until it is told to end: by a signal, or by the server.

python -m tests.integration.programs.client PORT [--in-thread]
"""

from __future__ import annotations

import contextlib
import sys

from pygase_gevent import Client

from ..game import DELIVERIES


def main(port: int, *, in_thread: bool) -> None:
    client = Client(deliveries=DELIVERIES)
    client.register_event_handler("ECHO", lambda value: value)
    client.on_connect = lambda: print("connected")
    client.on_resume = lambda: print("resumed")
    client.on_close = lambda reason: print("closed", reason)
    if in_thread:
        thread = client.connect_in_thread(port, "127.0.0.1")
        with contextlib.suppress(KeyboardInterrupt):
            thread.join()
    else:
        client.connect(port, "127.0.0.1")
    print("ended")


if __name__ == "__main__":
    main(int(sys.argv[1]), in_thread="--in-thread" in sys.argv)
