"""`HubThread`: a hub in a native thread; start, join, end, exit and fork, patched or not."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import gevent
import gevent.event
import pytest
from gevent import monkey
from native import native_lock, run_natively

from pygase_gevent.config import Config
from pygase_gevent.errors import NotRunningError
from pygase_gevent.hub.bridge import Bridge
from pygase_gevent.hub.signal import Outcome, hub_of_this_thread
from pygase_gevent.hub.thread import HubThread

LIMIT_S = 10.0
crosses_threads = pytest.mark.crosses_threads


def make(target, **keywords) -> HubThread:
    return HubThread(target, **({"name": "hub", "daemon": True} | keywords))


@crosses_threads
def test_it_is_native_and_a_thread_for_everybody() -> None:
    seen: dict[str, object] = {}

    def look() -> None:
        gevent.sleep(0.001)
        seen["hub"] = hub_of_this_thread()
        seen["current"] = threading.current_thread()
        seen["native_id"] = threading.get_native_id()
        seen["listed"] = thread in threading.enumerate()

    thread = make(look, name="game")
    assert isinstance(thread, threading.Thread)
    assert (thread.name, thread.daemon, thread.ident, thread.native_id) == ("game", True, None, None)
    assert not thread.is_alive()
    thread.start()
    assert thread.ident
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert seen["native_id"] == thread.native_id != threading.get_native_id()
    assert seen["hub"] is not gevent.get_hub()
    if not monkey.is_module_patched("threading"):  # where it is, each greenlet is a thread of its own
        assert seen["current"] is thread
        assert seen["listed"]
    assert thread not in threading.enumerate()
    assert "stopped" in repr(thread)


@crosses_threads
def test_greenlets_run_while_the_thread_computes_and_is_joined() -> None:
    turns: list[int] = []
    stop = native_lock()
    stop.acquire()

    def compute() -> None:
        while not stop.acquire(False):
            sum(range(1000))

    thread = make(compute)
    thread.start()

    def tick() -> None:
        for _ in range(20):
            turns.append(1)
            gevent.sleep(0.001)
        stop.release()

    ticking = gevent.spawn(tick)
    thread.join(LIMIT_S)
    assert len(turns) == 20
    assert not thread.is_alive()
    ticking.get()


@crosses_threads
def test_join_waits_no_longer_than_its_timeout() -> None:
    outcome: Outcome[None] = Outcome()
    thread = make(outcome.wait)
    thread.start()
    thread.join(0.01)
    thread.join(timeout=0)
    thread.join(-1)
    assert thread.is_alive()
    joining = [run_natively(thread.join), run_natively(thread.join, LIMIT_S)]
    greenlet = gevent.spawn(thread.join)
    outcome.set_result(None)
    thread.join()
    thread.join()
    for other in joining:
        other.wait(LIMIT_S)
    greenlet.get(timeout=LIMIT_S)
    assert not thread.is_alive()


@crosses_threads
def test_misuse_is_refused_as_python_does() -> None:
    error: Outcome[str] = Outcome()

    def join_itself() -> None:
        try:
            thread.join()
        except RuntimeError as own_error:
            error.set_result(str(own_error))

    thread = make(join_itself)
    with pytest.raises(RuntimeError, match="before it is started"):
        thread.join()
    thread.daemon = False
    thread.start()
    with pytest.raises(RuntimeError, match="only be started once"):
        thread.start()
    with pytest.raises(RuntimeError, match="daemon"):
        thread.daemon = True
    assert error.wait(LIMIT_S) == "cannot join current thread"
    thread.join(LIMIT_S)


@crosses_threads
def test_an_error_before_it_is_ready_goes_to_who_waits() -> None:
    def fail() -> None:
        raise OSError("port taken")

    ready: Outcome[int] = Outcome()
    thread = make(fail, ready=ready)
    thread.start()
    with pytest.raises(OSError, match="port taken"):
        ready.wait(LIMIT_S)
    thread.join(LIMIT_S)

    ready = Outcome()
    make(lambda: None, name="short", ready=ready).start()
    with pytest.raises(NotRunningError, match="short ended"):
        ready.wait(LIMIT_S)

    ready = Outcome()
    make(lambda: ready.set_result(7), ready=ready).start()
    assert ready.wait(LIMIT_S) == 7


@crosses_threads
def test_a_later_error_is_reported_as_threads_do(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[tuple[object, ...]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append((args.exc_value, args.thread)))
    error = ValueError("late")

    def fail() -> None:
        ready.set_result(None)
        raise error

    ready: Outcome[None] = Outcome()
    thread = make(fail, ready=ready)
    thread.start()
    ready.wait(LIMIT_S)
    thread.join(LIMIT_S)
    assert reported == [(error, thread)]


@crosses_threads
def test_cycles_leave_no_descriptors_threads_or_hubs(no_leaks: None) -> None:
    hubs: list[weakref.ref[object]] = []

    def use_the_hub() -> None:
        hub = gevent.get_hub()
        hubs.append(weakref.ref(hub))
        bridge = Bridge(Config())
        event = gevent.event.Event()
        bridge.post(event.set)
        event.wait()
        gevent.spawn(gevent.sleep, 0).join()
        bridge.close()

    for _ in range(30):
        thread = make(use_the_hub)
        thread.start()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    del thread
    gc.collect()
    assert sum(ref() is not None for ref in hubs) <= 1, (
        "greenlet frees what the last thread left at its leisure"
    )


@crosses_threads
def test_many_first_hubs_at_once(run_script) -> None:
    done = run_script(
        """
        from pygase_gevent.hub.thread import HubThread
        import gevent
        def use():
            hub = gevent.get_hub()
            gevent.sleep(0.01)
            hub.resolver, hub.threadpool
        threads = [HubThread(use, name="first", daemon=True) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join(10)
        print([thread.is_alive() for thread in threads].count(False))
        """
    )
    assert (done.stdout, done.stderr) == ("8\n", "")


@crosses_threads
def test_greenlets_of_ended_threads_are_not_listed_as_threads() -> None:
    before = set(threading.enumerate())
    for _ in range(20):
        thread = make(lambda: gevent.spawn(threading.current_thread).join())
        thread.start()
        thread.join(LIMIT_S)
    gc.collect()
    assert len(set(threading.enumerate()) - before) <= 1


# --- the interpreter's exit -------------------------------------------------------------------------

PREAMBLE = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of every fork beside threads
import gevent, gevent.event
from pygase_gevent.config import Config
from pygase_gevent.hub.bridge import Bridge
from pygase_gevent.hub.signal import Outcome
from pygase_gevent.hub.thread import HubThread
from gevent import monkey
sys.path.insert(0, "tests")
from native import native_sleep
native_fork = monkey.get_original("os", "fork")
native_waitpid = monkey.get_original("os", "waitpid")

def serve(ready):
    event = gevent.event.Event()
    bridge = Bridge(Config())
    ready.set_result((bridge, event))
    event.wait()
    bridge.close()
    os.write(1, b"ended\\n")

def start(daemon, target=None, stop=None, timeout=2.0):
    ready = Outcome()
    def ask():
        bridge, event = ready.wait()
        bridge.post(event.set)
    thread = HubThread(target or (lambda: serve(ready)), name="served", daemon=daemon, stop=stop or ask,
                       ready=ready, exit_timeout_s=timeout)
    thread.start()
    if target is None:
        ready.wait()
    return thread, ask
"""


def script(source: str) -> str:
    return PREAMBLE + source


@crosses_threads
@pytest.mark.parametrize("end", ["", "sys.exit(3)", "gevent.sleep(0.01); sys.exit(3)"])
def test_exit_stops_daemon_hubs_silently(run_script, end: str) -> None:
    done = run_script(script(f"for _ in range(3): start(daemon=True)\n{end}"))
    assert done.stdout == "ended\n" * 3
    assert done.stderr == ""
    assert done.returncode == (3 if end else 0)


@crosses_threads
@pytest.mark.parametrize(
    "body",
    ["while True: sum(range(1000))", "native_sleep(60)", "gevent.sleep(60)"],
)
@pytest.mark.parametrize("in_greenlet", [False, True])
def test_exit_does_not_wait_long_for_a_daemon_that_does_not_listen(
    run_script, body: str, in_greenlet: bool
) -> None:
    source = f"""
def busy():
    {body}
target = (lambda: gevent.spawn(busy).join()) if {in_greenlet} else busy
start(daemon=True, target=target, stop=lambda: None, timeout=0.2)
native_sleep(0.1)
"""
    done = run_script(script(source), timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@crosses_threads
def test_exit_survives_a_stop_that_raises(run_script) -> None:
    done = run_script(script("start(daemon=True, stop=lambda: 1 / 0, timeout=0.1)"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@crosses_threads
def test_exit_waits_for_non_daemon_hubs(run_script) -> None:
    source = """
def later():
    gevent.sleep(0.3)
    ask()
thread, ask = start(daemon=False)
HubThread(later, name="later", daemon=False).start()
print("main is through", flush=True)
"""
    done = run_script(script(source))
    assert (done.returncode, done.stdout, done.stderr) == (0, "main is through\nended\n", "")


# --- fork -------------------------------------------------------------------------------------------


@crosses_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_the_child_has_no_hub_thread_and_the_parents_runs_on(run_script) -> None:
    source = """
from pygase_gevent.hub.process import on_fork, forget_fork
told = []
class Owner:
    def __init__(self, name): self.name = name
    def close(self): told.append(self.name)
kept, forgotten = Owner("kept"), Owner("forgotten")
on_fork(kept.close); on_fork(forgotten.close); forget_fork(forgotten.close)
on_fork(lambda: 1 / 0)
import logging; logging.disable()
thread, ask = start(daemon=True)
child = os.fork()
if child == 0:
    thread.join(10)
    os.write(1, f"child {thread.is_alive()} {told}\\n".encode())
    sys.exit(0)
native_waitpid(child, 0)
print("parent", thread.is_alive(), told, flush=True)
"""
    done = run_script(script(source))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "child False ['kept']\nparent True []\nended\n"


@crosses_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_within_a_hub_thread_leaves_the_child_there(run_script) -> None:
    source = """
def fork():
    gevent.sleep(0.01)
    child = native_fork()  # gevent's, and its waitpid, work in the main thread only
    if child == 0:
        os.write(1, f"child {thread.is_alive()}\\n".encode())
        os._exit(0)
    native_waitpid(child, 0)
    os.write(1, b"parent\\n")
thread = HubThread(fork, name="forks", daemon=True)
thread.start()
thread.join(10)
"""
    done = run_script(script(source))
    assert (done.returncode, done.stdout, done.stderr) == (0, "child True\nparent\n", "")


def test_patching_after_the_start_leaves_a_thread_that_can_be_joined(run_script) -> None:
    source = """
thread, ask = start(daemon=True)
from gevent import monkey
import warnings; warnings.simplefilter("ignore")
monkey.patch_all()
import threading
assert isinstance(thread, threading.Thread)
thread.join(0.05)
print(thread.is_alive(), flush=True)
ask()
thread.join(10)
print(thread.is_alive(), flush=True)
"""
    done = run_script(script(source), patched=False)
    assert (done.stdout, done.returncode) == ("True\nended\nFalse\n", 0)
    assert done.stderr.startswith("gevent.monkey patched `threading` while served ran")
