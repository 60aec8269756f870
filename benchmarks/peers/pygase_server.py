"""The game on PyGaSe 0.3, its busy loop mended."""

from __future__ import annotations

import argparse
import threading
import time
from typing import Any

import curio
import pygase
from pygase.gamestate import GameStateUpdate, GameStatus

from benchmarks.peers import game


class MendedMachine(pygase.GameStateMachine):
    """As shipped the loop sleeps for `interval - max(interval, ...)`: never. It takes a whole core."""

    def start(self, interval: float) -> None:
        """In a thread, as its Backend has it."""
        threading.Thread(target=curio.run, args=(self._run, interval), daemon=True).start()

    async def _run(self, interval: float) -> None:
        store = self._game_state_store
        status = GameStatus.get("Active")
        store.push_update(GameStateUpdate(store.get_game_state().time_order + 1, game_status=status))
        next_at = time.monotonic()
        while True:
            next_at += interval
            await curio.sleep(max(0.0, next_at - time.monotonic()))
            state = store.get_game_state()
            changes = self.time_step(state, interval)
            while not self._event_queue.empty():
                event = await self._event_queue.get()
                if self._universal_event_handler.has_event_type(event.type):
                    await self._universal_event_handler.handle(event, game_state=state, dt=interval)
            store.push_update(GameStateUpdate(state.time_order + 1, **changes))


class World:
    def __init__(self) -> None:
        self._referee = game.Referee({"memory": game.memory, "people": lambda: len(self._server.connections)})
        self._tick = 0
        store = pygase.GameStateStore(pygase.GameState(entities=game.entities(), stamp=0))
        self._machine = MendedMachine(store)
        self._machine.time_step = self._time_step
        self._machine.register_event_handler("INPUT", self._input)
        self._server = pygase.Server(store)
        self._server.register_event_handler("E", self._count)
        self._server.register_event_handler("ECHO", self._echo)
        self._server.register_event_handler("LINE", self._line)

    def run(self, port: int) -> None:
        curio.run(self._run, port)

    async def _run(self, port: int) -> None:
        self._machine.start(1 / game.HZ)
        await curio.spawn(self._server.run, port, "127.0.0.1", self._machine)
        while self._server.port is None:
            await curio.sleep(0.01)
        self._referee.ready(self._server.port)
        await curio.run_in_thread(self._referee.serve)

    def _time_step(self, game_state: Any, dt: float) -> dict[str, Any]:
        self._tick += 1
        return {"entities": game.moved(self._tick), "stamp": game.stamp_us()}

    def _input(self, number: int, x: int, y: int, client_address: Any, **kwargs: Any) -> None:
        self._referee.inputs[client_address] += 1

    def _count(self, data: bytes, client_address: Any) -> None:
        self._referee.inputs[client_address] += 1

    def _echo(self, number: int, client_address: Any) -> None:
        self._server.dispatch_event("ECHOED", number, target_client=client_address)

    def _line(self, number: int, sent_us: int, client_address: Any) -> None:
        self._referee.line(number, sent_us)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    World().run(parser.parse_args().port)


if __name__ == "__main__":
    main()
