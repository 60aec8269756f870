"""What gevent 26.9 does where hubs meet native threads, and that users of this library never see it.

what was probed -> what holds here, and where it is tested

* a patched `threading.Lock` shared by native threads hangs -> those of `locks.py` do not: here
* ... and so do the locks in `logging` -> it gets native ones: test_hub_patching.py
* `Thread.start` with the native starter hangs when patched -> a `HubThread` starts: test_hub_thread.py
* first hubs made at once deadlock in the import system -> they do not: here, test_hub_thread.py
* waiting on an Event that another thread sets raises LoopExit -> a `Signal` waits: here, test_hub_signal.py
* sending to a destroyed loop raises ValueError -> `NotRunningError`: here, test_hub_bridge.py
* hub threads that are no daemons do not hold the interpreter -> they do: test_exit.py, test_hub_thread.py
* a live dict iterated across threads raises -> `connections` is replaced on change: here
* a hub that ever ran holds itself alive after `destroy` -> it is let go: test_hub_thread.py
"""

from __future__ import annotations

import pytest
from conftest import RunScript

pytestmark = pytest.mark.crosses_threads


def test_native_threads_and_greenlets_may_contend_for_a_lock(run_script: RunScript) -> None:
    result = run_script(
        """
        import sys; sys.path.insert(0, "tests")
        import gevent
        from native import run_natively
        from pygase_gevent.locks import allocate_lock, allocate_rlock
        sys.setswitchinterval(1e-6)
        counts = {}
        def count(lock, name):
            for _ in range(5000):
                with lock:
                    counts[name] = counts.get(name, 0) + 1
        for lock in (allocate_lock(), allocate_rlock()):
            others = [run_natively(count, lock, id(lock)) for _ in range(3)]
            gevent.joinall([gevent.spawn(count, lock, id(lock)) for _ in range(3)], raise_error=True)
            for other in others:
                other.wait(20)
        print(list(counts.values()))
        """
    )
    assert (result.stderr, result.stdout, result.returncode) == ("", "[30000, 30000]\n", 0)


def test_many_may_be_the_first_at_once(run_script: RunScript) -> None:
    """Native threads start servers and clients, each the first hub of its thread, in a fresh process."""
    result = run_script(
        """
        import faulthandler, sys; sys.path.insert(0, "tests")
        faulthandler.dump_traceback_later(25, exit=True)  # who hangs shows where
        from native import native_lock, run_natively
        from pygase_gevent import *
        sys.setswitchinterval(1e-6)
        def live(number):
            server = Server(GameStateStore(GameState(number=number)))
            server.register_event_handler("NUMBER", lambda: number)
            client = Client()
            client.connect_in_thread(server.run_in_thread() and server.port)
            client.wait_connected(20)
            client.wait_until(lambda state: getattr(state, "number", None) == number, timeout=20)
            answer = client.call("NUMBER", timeout=20)
            client.disconnect()
            server.shutdown()
            return answer
        lives = [run_natively(live, number) for number in range(6)]
        print([life.wait(30) for life in lives])
        """
    )
    assert (result.stderr, result.stdout, result.returncode) == ("", "[0, 1, 2, 3, 4, 5]\n", 0)


def test_who_waits_for_another_thread_with_nothing_else_to_do_is_woken(run_script: RunScript) -> None:
    """No greenlet, timer or socket in the hub of the main thread: gevent would call that LoopExit."""
    result = run_script(
        """
        import gevent
        from pygase_gevent import *
        gevent.get_hub()
        store = GameStateStore(GameState(a=0))
        server = Server(store)
        server.register_event_handler("SLOWLY", lambda: gevent.sleep(0.1) or "done")
        thread = server.run_in_thread()
        client = Client()
        client.connect_in_thread(server.port)
        client.wait_connected(None)
        client.wait_until(lambda state: state.time_order >= 0, timeout=None)
        print(client.call("SLOWLY", timeout=None))
        gevent.spawn_later(0, lambda: None)
        print(gevent.spawn(client.call, "SLOWLY", timeout=None).get())
        client.disconnect()
        server.shutdown()
        thread.join()
        """
    )
    assert (result.stderr, result.stdout, result.returncode) == ("", "done\ndone\n", 0)


def test_a_hub_that_was_destroyed_is_a_server_that_does_not_run(run_script: RunScript) -> None:
    """A thread that ends its hub itself, as some frameworks do after each job."""
    result = run_script(
        """
        import gevent, logging, os, sys
        logging.disable()
        from gevent import monkey
        from pygase_gevent import *
        start = monkey.get_original("_thread", "start_new_thread")
        sleep = monkey.get_original("time", "sleep")
        server = Server(GameStateStore())
        def job():
            serving = gevent.spawn(server.run)
            gevent.sleep(0.1)
            gevent.get_hub().destroy(destroy_loop=True)
        client = Client()
        start(job, ())
        while server.port is None:
            sleep(0.01)
        client.connect_in_thread(server.port)
        client.wait_connected()
        (name,) = server.connections
        sleep(0.5)
        for function in (lambda: server.kick(name), lambda: server.call(name, "X", timeout=0.2)):
            try:
                function()
            except (NotRunningError, CallTimeoutError) as error:
                print(type(error).__name__)
        server.dispatch_event("X")
        sys.stdout.flush()
        os._exit(0)  # the exit would wait for the end of that run
        """
    )
    assert result.stdout == "NotRunningError\nCallTimeoutError\n"
    assert "Traceback" not in result.stderr


def test_connections_may_be_iterated_while_they_change(run_script: RunScript) -> None:
    result = run_script(
        """
        import sys; sys.path.insert(0, "tests")
        from native import run_natively
        from pygase_gevent import *
        from pygase_gevent.config import Config
        sys.setswitchinterval(1e-6)
        config = Config(close_linger_s=0.01)
        server = Server(GameStateStore(), config=config)
        server.run_in_thread()
        is_over = False
        def iterate():
            seen = 0
            while not is_over:
                for name, connection in server.connections.items():
                    seen += name == connection.client_address
                connection = None
            return seen
        readers = [run_natively(iterate) for _ in range(2)]
        for _ in range(15):
            client = Client(config=config)
            client.connect_in_thread(server.port)
            client.wait_connected()
            client.disconnect()
        is_over = True
        print(all(reader.wait(10) > 0 for reader in readers))
        server.shutdown()
        """
    )
    assert (result.stderr, result.stdout, result.returncode) == ("", "True\n", 0)
