"""What monkey-patching means for hub threads: logging's locks, and patching that comes too late."""

from __future__ import annotations

import pytest
from conftest import RunScript


def test_threads_and_greenlets_of_a_patched_process_may_log_at_once(run_script: RunScript) -> None:
    """With gevent's locks in `logging` this hangs, or raises LoopExit, within the first second."""
    result = run_script(
        """
        import logging, sys
        import gevent
        from gevent import monkey
        logging.basicConfig(level=logging.INFO, stream=open("/dev/null", "w"))
        logger = logging.getLogger("game")
        sys.setswitchinterval(1e-6)
        from pygase_gevent.hub.thread import HubThread
        def talk():
            for number in range(500):
                logger.info("hello %s", number)
                if number % 10 == 0:
                    gevent.sleep(0)
        def two():
            gevent.joinall([gevent.spawn(talk) for _ in range(2)], raise_error=True)
        threads = [HubThread(two, name="talks", daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        logger.addHandler(logging.StreamHandler(open("/dev/null", "w")))
        two()
        for thread in threads:
            thread.join(20)
        print([thread.is_alive() for thread in threads])
        """,
        patched=True,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "[False, False, False]\n", "")


def test_an_unpatched_process_keeps_its_locks(run_script: RunScript) -> None:
    result = run_script(
        """
        import logging
        before = logging._lock, logging.Handler.createLock
        from pygase_gevent.hub.thread import HubThread
        thread = HubThread(lambda: None, name="short", daemon=True)
        thread.start(); thread.join()
        print(before == (logging._lock, logging.Handler.createLock))
        """,
        patched=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "True\n", "")


@pytest.mark.parametrize(
    "patch", ["patch_all()", "patch_thread()", "patch_socket()", "patch_all(thread=False)"]
)
@pytest.mark.parametrize("is_running", [False, True])
def test_patching_threads_while_one_runs_is_warned_of(
    run_script: RunScript, patch: str, is_running: bool
) -> None:
    result = run_script(
        f"""
        import logging
        logging.basicConfig(format="%(levelname)s %(message)s")
        from pygase_gevent import *
        server = Server(GameStateStore())
        server.run_in_thread()
        if not {is_running}:
            server.shutdown()
            from pygase_gevent.hub import process
            while process.running_threads():
                pass
        from gevent import monkey
        monkey.{patch}
        client = Client()
        if not server.port:
            server.run_in_thread()
        client.connect_in_thread(server.port)
        client.wait_connected()
        server.register_event_handler("ADD", lambda a, b: a + b)
        print(client.call("ADD", 1, 2))
        client.disconnect()
        server.shutdown()
        """,
        patched=False,
    )
    assert (result.returncode, result.stdout) == (0, "3\n"), result.stderr
    if is_running and patch in ("patch_all()", "patch_thread()"):
        assert result.stderr.startswith("WARNING gevent.monkey patched `threading` while pygase-server ran")
        assert result.stderr.count("\n") == 1
    else:
        assert result.stderr == ""
