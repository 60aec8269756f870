"""The exit of the interpreter beside a running server and client: quick, silent, and the peers are told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import RunScript, eventually
from shell_pair import QUICK, Party, party

from pygase_gevent import Client, Config

pytestmark = pytest.mark.crosses_threads

PROGRAM = """
import atexit, sys, threading, time
main_ended = None
def say():
    assert main_ended is None or time.monotonic() - main_ended < 2.0, time.monotonic() - main_ended
    print("exit is done")
atexit.register(say)  # the first one runs last
import gevent
from pygase_gevent import *
from pygase_gevent.config import Config
client = Client(deliveries={"HELLO": Delivery.RELIABLE})
client.connect_in_thread(PORT)
client.wait_connected()
backend = Backend(GameState(steps=0), lambda state, dt: {"steps": state.steps + 1})
backend.run_in_thread()
player = Client()
player.connect_in_thread(backend.server.port)
player.wait_until(lambda state: getattr(state, "steps", 0) > 1, timeout=10)
main_ended = time.monotonic()
"""


@pytest.fixture
def net() -> Iterator[Party]:
    with party() as made:
        yield made


@pytest.mark.parametrize(
    ("end", "code", "last_words"),
    [
        ("", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("gevent.sleep(0.01)", 0, ""),
        ("threading.Thread(target=time.sleep, args=(0.2,)).start()", 0, ""),
        ("client.register_event_handler('HOLD', lambda: gevent.sleep(60)); client.call('HOLD ME')", 1, None),
    ],
)
def test_exit_with_daemon_hubs(
    net: Party, run_script: RunScript, end: str, code: int, last_words: str | None
) -> None:
    server = net.server()
    left: list[str] = []
    server.hooks.on_leave = lambda client: left.append("left")
    result = run_script(PROGRAM.replace("PORT", str(server.port)) + end)
    assert (result.returncode, result.stdout) == (code, "exit is done\n"), result.stderr
    if last_words is not None:
        assert result.stderr.endswith(last_words)
        assert result.stderr.count("Traceback") == (1 if last_words else 0)
    if not last_words and last_words is not None:
        assert result.stderr == ""
    eventually(lambda: left == ["left"])


@pytest.mark.parametrize("how", ["server.run_in_thread(daemon=False)", "backend.run_in_thread(daemon=False)"])
def test_a_thread_that_is_no_daemon_holds_the_interpreter(
    net: Party, run_script: RunScript, how: str
) -> None:
    """Until the last player, who is its host, shuts it down."""
    result = run_script(
        f"""
        import os, sys, threading, gevent
        from pygase_gevent import *
        backend = Backend(GameState(steps=0), lambda state, dt: {{"steps": state.steps + 1}})
        server = backend.server
        thread = {how}
        client = Client()
        def play():
            client.connect_in_thread(server.port)
            client.wait_connected(10)
            gevent.sleep(0.3)
            print("still served:", client.connection.status.name, flush=True)
            client.disconnect(shutdown_server=True)
        from pygase_gevent.hub.thread import HubThread
        HubThread(play, name="plays", daemon=True).start()
        print("main is through", flush=True)
        """
    )
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout == "main is through\nstill served: CONNECTED\n"


def test_a_client_of_a_process_that_is_gone_is_told(net: Party, run_script: RunScript) -> None:
    """The daemon server's exit says so to its clients; that of a killed one does not need to."""
    patient = Config(resume_after_s=60, timeout_s=90, close_linger_s=0.03)  # so that it is not the silence
    client = Client(config=patient)
    dropped: list[bool] = []
    client.on_drop = lambda: dropped.append(True)
    relay = net.server(config=QUICK)
    port = relay.port
    relay.shutdown()
    client.connect_in_thread(port)
    net.at_end(client.disconnect)
    result = run_script(
        f"""
        import gevent
        from pygase_gevent import *
        server = Server(GameStateStore())
        server.run_in_thread({port})
        while not server.connections:
            gevent.sleep(0.01)
        gevent.sleep(0.1)
        """
    )
    assert (result.returncode, result.stderr) == (0, "")
    eventually(lambda: dropped)
