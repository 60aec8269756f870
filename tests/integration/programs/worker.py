"""A web worker that plays along, in the shape of gunicorn's gevent worker: `worker PORT preload|lazy`.

A master binds the listening socket and forks; the worker patches everything, reinitializes its hub
and serves requests in greenlets. With `preload` the application, and the library with it, is imported
in the master, before there is any patching.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any


def make_application(port: int) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """As a module `app.py` would do at its import: the client is connected once per worker."""
    from pygase_gevent import Client

    client = Client()
    client.connect_in_thread(port, "127.0.0.1")

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        client.wait_connected(10)
        path = environ["PATH_INFO"].strip("/")
        answer = client.call("ECHO", path, timeout=10)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{answer} {os.getpid()}".encode()]

    return application


def work(port: int, listener: socket.socket) -> None:
    """The worker, after the fork."""
    import gevent
    from gevent import hub, monkey, pool, pywsgi

    monkey.patch_all()
    hub.reinit()
    server = pywsgi.WSGIServer(listener, make_application(port), spawn=pool.Pool(100), log=None)
    gevent.signal_handler(signal.SIGTERM, server.stop)
    server.serve_forever()
    print("worker ended", flush=True)


def main(port: int, *, preload: bool) -> None:
    if preload:
        import pygase_gevent  # noqa: F401
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    child = os.fork()
    if child == 0:
        work(port, listener)
        sys.exit(0)
    print("listening", listener.getsockname()[1], flush=True)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    _, status = os.waitpid(child, 0)
    print("status", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), preload=sys.argv[2] == "preload")
