"""A client inside a web worker, in the shape of gunicorn's gevent worker."""

from __future__ import annotations

import signal
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from .game import Game
from .support import Program, eventually


@pytest.mark.parametrize("how", ["preload", "lazy"])
def test_requests_of_a_gevent_worker_call_the_game(how: str) -> None:
    game = Game()
    game.server.register_event_handler("ECHO", lambda value: value)
    thread = game.run_in_thread()
    with Program("worker", game.server.port, how) as worker:
        http_port = int(worker.wait_line("listening"))

        def get(number: int) -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/{number}", timeout=20) as response:
                return response.read().decode().split()[0]

        with ThreadPoolExecutor(20) as pool:
            assert list(pool.map(get, range(100))) == [str(number) for number in range(100)]
        assert len(game.server.connections) == 1
        worker.send_signal(signal.SIGTERM)
        assert worker.wait_line("status") == "0"
        assert worker.wait_end() == 0
        assert "worker ended" in worker.lines
        assert worker.errors == ""
        eventually(lambda: not game.server.connections)  # the worker said goodbye
        assert [name for name, _ in game.hooks] == ["join", "leave"]
    game.backend.shutdown()
    thread.join(30)
