"""`os.fork` and `multiprocessing` beside a running server and client: the parent's stays the parent's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import IS_PATCHED, RunScript

pytestmark = [
    pytest.mark.crosses_threads,
    pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc"),
]

WORLD = """
import gc, os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of every fork beside threads
from gevent import monkey
from pygase_gevent import *
from pygase_gevent.protocol.netcode.crypto import ChallengeCipher
from pygase_gevent.protocol.netcode.sealing import PacketCipher
from pygase_gevent.protocol.netcode.token import PrivateToken, ConnectToken
fork, waitpid = monkey.get_original("os", "fork"), monkey.get_original("os", "waitpid")
KEY = bytes(range(100, 132))
events = []

def start():
    global server, client, threads
    server = Server(GameStateStore(GameState(a=1)), key=KEY, deliveries={"NEWS": Delivery.RELIABLE_ORDERED})
    client = Client(key=KEY, deliveries={"NEWS": Delivery.RELIABLE_ORDERED})
    server.register_event_handler("ADD", lambda a, b: a + b)
    server.register_event_handler("NEWS", events.append)
    client.register_event_handler("NEWS", events.append)
    threads = [server.run_in_thread(), client.connect_in_thread(server.port)]
    client.wait_connected()
    client.wait_until(lambda state: getattr(state, "a", 0) == 1)

def sockets():
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if name.startswith("socket:"):
            found.add(name)
    return found

def keys():
    "What has session keys, and what has the private key, in this process."
    kinds = (PacketCipher, ChallengeCipher, PrivateToken, ConnectToken)
    ciphers = [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
    # The challenges' cipher of a server that cannot run again has a key of zeros.
    ciphers = [thing for thing in ciphers if not isinstance(thing, ChallengeCipher)]
    owners = [
        type(thing).__module__
        for thing in gc.get_objects()
        if str(type(thing).__module__).startswith("pygase_gevent")
        and KEY in getattr(thing, "__dict__", {}).values()
    ]
    return len(ciphers), owners

def refuses(function, *args):
    try:
        function(*args)
    except NotRunningError as error:
        return "parent process when it forked" in str(error)
    return False

def child_is_clean(parents):
    assert not sockets() & parents, (sockets(), parents)
    assert keys() == (0, []), keys()
    for function in (
        server.shutdown, server.run, server.run_in_thread, client.disconnect, client.wait_connected,
        lambda: client.connect_in_thread(1), lambda: server.dispatch_event("NEWS", 0),
        lambda: client.dispatch_event("NEWS", 0), lambda: client.call("ADD", 1, 2),
        lambda: server.call(("127.0.0.1", 1), "ADD"), lambda: server.kick(("127.0.0.1", 1)),
    ):
        assert refuses(function)
    assert server.port is None and not server.connections
    assert client.connection.status == ConnectionStatus.DISCONNECTED
    assert [thread.is_alive() for thread in threads] == [False, False]
    server.stats, client.connection.stats, client.connection.latency, client.server_time
    with client.access_game_state() as state:
        assert state is not None

def parent_goes_on():
    assert client.call("ADD", 1, 2) == 3
    for number in range(10):
        client.dispatch_event("NEWS", number)
    assert client.call("ADD", 2, 2) == 4
    while events[-10:] != list(range(10)):
        pass_time(0.01)
    assert server.connections and keys()[0] > 0 and keys()[1]
    client.disconnect()
    server.shutdown()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    print("parent done")

def pass_time(seconds):
    monkey.get_original("time", "sleep")(seconds)
"""


def outcome(run_script: RunScript, source: str) -> tuple[int, str, str]:
    result = run_script(WORLD + source)
    return result.returncode, result.stdout, result.stderr


def test_the_child_of_a_fork_holds_no_socket_and_no_key(run_script: RunScript) -> None:
    source = """
start()
parents = sockets()
assert len(parents) >= 2
child = fork()
if child == 0:
    try:
        child_is_clean(parents)
        again = Server(GameStateStore(), key=KEY)  # one's own may run there
        again.run_in_thread()
        other = Client(key=KEY)
        other.connect_in_thread(again.port)
        other.wait_connected()
        other.disconnect()
        again.shutdown()
        os._exit(0)
    except BaseException:
        import traceback; traceback.print_exc()
        os._exit(1)
assert os.waitstatus_to_exitcode(waitpid(child, 0)[1]) == 0
parent_goes_on()
"""
    assert outcome(run_script, source) == (0, "parent done\n", "")


def test_a_fork_right_after_the_start_finds_it_all_the_same(run_script: RunScript) -> None:
    source = """
sys.setswitchinterval(1e-6)
for _ in range(20):
    client = Client(key=KEY)
    thread = client.connect_in_thread(9)
    parents = sockets()
    child = fork()
    if child == 0:
        assert not sockets() & parents and KEY not in vars(client).values(), sockets()
        assert refuses(client.disconnect) and refuses(client.wait_connected)
        os._exit(0)
    assert os.waitstatus_to_exitcode(waitpid(child, 0)[1]) == 0
    client.disconnect()
    thread.join(10)
print("parent done")
"""
    assert outcome(run_script, source) == (0, "parent done\n", "")


def test_a_game_loop_stays_with_the_parent_and_its_state_can_be_used_in_the_child(
    run_script: RunScript,
) -> None:
    source = """
sys.setswitchinterval(1e-6)
store = GameStateStore(GameState(steps=0))
machine = GameStateMachine(store)
machine.time_step = lambda state, dt: {"steps": state.steps + 1}
loop = machine.run_game_loop_in_thread(0.0005)
for _ in range(20):
    before = store.get_game_state().steps
    child = fork()
    if child == 0:
        steps = store.get_game_state().steps
        store.push_update(GameStateUpdate(0, a=1))
        assert store.get_game_state().a == 1
        assert machine.stop() and not loop.is_alive()
        again = machine.run_game_loop_in_thread(0.0005)
        while store.get_game_state().steps < steps + 2:
            pass_time(0.001)
        assert machine.stop(10)
        os._exit(0)
    assert os.waitstatus_to_exitcode(waitpid(child, 0)[1]) == 0
    while store.get_game_state().steps <= before:
        pass_time(0.001)
assert machine.stop(10)
print("parent done")
"""
    assert outcome(run_script, source) == (0, "parent done\n", "")


def test_a_fork_out_of_a_handler_leaves_the_child_without_server_too(run_script: RunScript) -> None:
    source = """
start()
parents = sockets()
def fork_here():
    reading, writing = os.pipe()  # the main thread's hub, under patch_all(), may take the exit code first
    child = fork()
    if child == 0:
        is_right = not sockets() & parents and refuses(server.shutdown)
        os.write(writing, b"right" if is_right else b"wrong")
        os._exit(0)
    return os.read(reading, 5)
server.register_event_handler("FORK", fork_here)
assert client.call("FORK") == b"right"
parent_goes_on()
"""
    assert outcome(run_script, source) == (0, "parent done\n", "")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(tmp_path: Path, method: str) -> None:
    """Workers, as a game starts them for path finding; under patch_all() fork is gevent's."""
    prefix = "from gevent import monkey; monkey.patch_all()\n" if IS_PATCHED else ""
    source = """
import multiprocessing

def work(port, parents, is_fork):
    if is_fork:
        child_is_clean(parents)
    else:  # that began anew
        assert not sockets() & parents
    worker = Client(key=KEY)  # and a client of its own, to the parent's server
    worker.connect_in_thread(port)
    worker.wait_connected()
    assert worker.call("ADD", 20, 22) == 42
    worker.disconnect()
    os.close(os.open(f"worker-{os.getpid()}", os.O_CREAT))

if __name__ == "__main__":
    start()
    method = sys.argv[1]
    context = multiprocessing.get_context(method)
    args = (server.port, sockets(), method == "fork")
    processes = [context.Process(target=work, args=args) for _ in range(2)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + 30
    while sum(name.startswith("worker-") for name in os.listdir()) < 2:
        assert time.monotonic() < deadline, [process.exitcode for process in processes]
        time.sleep(0.01)
    # gevent 26.9 loses the exit of a spawned child wherever another native thread has a hub.
    if method == "fork" or not monkey.is_module_patched("os"):
        for process in processes:
            process.join(30)
            assert process.exitcode == 0, process.exitcode
    parent_goes_on()
    sys.stdout.flush()
    os._exit(0)  # multiprocessing's own exit would wait for that, too
"""
    (tmp_path / "workers.py").write_text(prefix + WORLD + source)
    result = subprocess.run(
        [sys.executable, "workers.py", method], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (result.stderr, result.stdout, result.returncode) == ("", "parent done\n", 0)


def test_the_child_is_not_woken_for_what_has_its_parents_descriptor_now(run_script: RunScript) -> None:
    result = run_script("""
import gevent, os, time
from pygase_gevent import Config
from pygase_gevent.hub.udp import UdpSocket

udp = UdpSocket(bind=("127.0.0.1", 0), config=Config())
gevent.spawn(udp.wait_readable)
gevent.sleep(0.01)
child = os.fork()
if child == 0:
    spent_s = 1.0
    try:
        os.write(os.pipe()[1], b"readable from now on")
        started = time.process_time()
        gevent.sleep(0.4)
        spent_s = time.process_time() - started
    finally:
        os._exit(int(spent_s > 0.2))
os._exit(os.waitpid(child, 0)[1] >> 8)
""")
    assert result.returncode == 0, result.stderr
