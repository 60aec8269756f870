"""An enemy who staggers towards the players. Written as for PyGaSe 0.3, of which it only knows."""

import asyncio
import logging
import math
import sys

from pygase import Backend, GameState
from pygase.connection import ConnectionStatus
from pygase.gamestate import TO_DELETE

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
logging.getLogger("PyGaSe").setLevel(logging.WARNING)

enemy_hp = 60


def time_step(game_state, dt):
    game_state.age += dt  # in place, as many of us did
    if game_state.hp <= 0 or not game_state.fighters:
        return {}
    targets = [fighter["position"] for fighter in game_state.fighters.values()]
    nearest = min(targets, key=lambda position: abs(position - game_state.position))
    step = max(min(nearest - game_state.position, 1.0), -1.0) * dt
    return {"position": game_state.position + step + 0.02 * math.sin(7 * game_state.age)}


backend = Backend(
    initial_game_state=GameState(position=0.0, hp=enemy_hp, age=0.0, fighters={}, ready=0, last_blow=None),
    time_step_function=time_step,
)


def on_enter(name, position, game_state, client_address, **kwargs):
    print(f"{name} enters", flush=True)
    # The whole dict, changed and returned. Fighters go by their address.
    fighters = game_state.fighters
    fighters[client_address] = {"name": name, "position": position, "blows": 0}
    return {"fighters": fighters}


def on_ready(game_state, **kwargs):
    return {"ready": game_state.ready + 1}


async def on_attack(attack_position, client_address, game_state, **kwargs):
    await asyncio.sleep(0.01)  # the sword takes its time
    fighter = game_state.fighters[client_address]
    if game_state.hp <= 0 or abs(attack_position - game_state.position) > 0.5:
        backend.server.dispatch_event("FEEDBACK", "Missed.", target_client=client_address, retries=3)
        return {"fighters": {client_address: {"blows": fighter["blows"] + 1}}}
    backend.server.dispatch_event("FEEDBACK", "Hit!", target_client=client_address, retries=3)
    return {
        "hp": game_state.hp - 10,
        "last_blow": (fighter["name"], attack_position),
        "fighters": {client_address: {"blows": fighter["blows"] + 1}},
    }


def on_leave(game_state, client_address, **kwargs):
    print(f"{game_state.fighters[client_address]['name']} leaves", flush=True)
    return {"fighters": {client_address: TO_DELETE}}


handlers = {"ENTER": on_enter, "READY": on_ready, "ATTACK": on_attack, "LEAVE": on_leave}
for event_type, handler in handlers.items():
    backend.game_state_machine.register_event_handler(event_type, handler)

# The server has a handler of its own, besides those of the game.
questions = []
backend.server.register_event_handler(
    "WHO_IS_HOST",
    lambda client_address: (
        questions.append(client_address),
        backend.server.dispatch_event(
            "HOST", client_address == backend.server.host_client, target_client=client_address, retries=3
        ),
    ),
)

if __name__ == "__main__":
    backend.run("localhost", int(sys.argv[1]))
    state = backend.game_state_store.get_game_state()
    assert state.hp <= 0
    assert state.fighters == {}, state.fighters
    assert isinstance(state.last_blow, tuple), state.last_blow
    assert state.age > 0
    assert len(questions) == len(backend.server.connections) == 2
    for connection in backend.server.connections.values():
        assert ConnectionStatus.get(connection.status) in ("Connected", "Disconnected")
    print(f"{state.last_blow[0]} has beaten the enemy", flush=True)
