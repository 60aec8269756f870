"""A program on the stand-in for PyGaSe and one on the library itself understand each other."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pygase_gevent import Backend, Client, GameState
from tests.conftest import eventually

LIMIT_S = 30.0

OLD_SERVER = """
import sys
from pygase import Backend, GameState

def on_hit(damage, game_state, client_address, **kwargs):
    backend.server.dispatch_event("OUCH", damage, target_client=client_address)
    game_state.hp -= damage
    return {"hp": game_state.hp}

backend = Backend(GameState(hp=100), lambda game_state, dt: {}, {"HIT": on_hit})
backend.game_state_machine.run_game_loop_in_thread()
thread = backend.server.run_in_thread(0, "localhost", backend.game_state_machine)
print(backend.server.port, flush=True)
thread.join()
backend.game_state_machine.stop()
"""

OLD_CLIENT = """
import sys
from pygase import Client

client = Client()
ouches = []
client.register_event_handler("OUCH", ouches.append)
client.connect_in_thread(int(sys.argv[1]))
client.try_to(lambda game_state: game_state.hp == 100 or None, timeout=30)
client.dispatch_event("HIT", 7, retries=5)
client.wait_until(lambda game_state: game_state.hp == 93, timeout=30)
while not ouches:
    pass
print(ouches)
client.disconnect()
"""


@contextmanager
def running(folder: Path, program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """An old program in a process that ends with this block, and is killed if it takes too long."""
    path = folder / "old_program.py"
    path.write_text(program)
    command = [sys.executable, "-m", "pygase_gevent.monkey", str(path), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    limit = threading.Timer(LIMIT_S, process.kill)  # its pipe ends, too: reading from it cannot hang
    limit.start()
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()  # the limit holds here as well
            limit.cancel()


def test_a_client_of_today_on_an_old_server(tmp_path: Path) -> None:
    with running(tmp_path, OLD_SERVER) as server:
        assert server.stdout is not None
        client, ouches = Client(), list[int]()
        client.register_event_handler("OUCH", ouches.append)
        client.connect_in_thread(int(server.stdout.readline()))
        try:
            client.wait_connected(LIMIT_S)
            client.dispatch_event("HIT", 7, retries=5)
            client.try_to(
                lambda state: state.hp == 93 or None, LIMIT_S
            )  # its state may come after "connected"
            eventually(lambda: ouches == [7], LIMIT_S)
        finally:
            client.disconnect(shutdown_server=True)
        assert server.wait(LIMIT_S) == 0


def test_an_old_client_on_a_server_of_today(tmp_path: Path) -> None:
    def on_hit(damage: int, game_state: GameState, client_address: tuple[str, int]) -> dict[str, int]:
        backend.server.dispatch_event("OUCH", damage, target_client=client_address)
        return {"hp": game_state.hp - damage}

    backend = Backend(GameState(hp=100), lambda game_state, dt: {}, {"HIT": on_hit})
    backend.run_in_thread()
    try:
        with running(tmp_path, OLD_CLIENT, str(backend.server.port)) as client:
            assert client.stdout is not None
            assert client.stdout.read() == "[7]\n"
            assert client.wait(LIMIT_S) == 0
    finally:
        backend.shutdown()
