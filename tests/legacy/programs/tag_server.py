"""A game of tag, the backend. Written as for PyGaSe 0.3; nothing here knows of pygase_gevent."""

import random
import sys

import pygase

FIELD = (320, 240)
REACH = 14
SAFE_SECONDS = 0.4
CATCHES_TO_WIN = 2

initial_game_state = pygase.GameState(
    players={},  # player id -> what everybody may know of the player
    it=None,  # who has to catch somebody
    safe_for=0.0,  # seconds in which nobody can be caught
    catches=0,
    is_over=False,
)


def time_step(game_state, dt):
    if game_state.it is None or game_state.is_over:
        return {}
    if game_state.safe_for > 0.0:
        return {"safe_for": max(game_state.safe_for - dt, 0.0)}
    hunter = game_state.players[game_state.it]
    for player_id, player in game_state.players.items():
        dx = player["position"][0] - hunter["position"][0]
        dy = player["position"][1] - hunter["position"][1]
        if player_id != game_state.it and dx * dx + dy * dy < REACH * REACH:
            catches = game_state.catches + 1
            print(f"{hunter['name']} catches {player['name']}", flush=True)
            backend.server.dispatch_event("CAUGHT", game_state.it, player_id, retries=5)
            return {
                "it": player_id,
                "safe_for": SAFE_SECONDS,
                "catches": catches,
                "is_over": catches >= CATCHES_TO_WIN,
            }
    return {}


def on_move(player_id, new_position, **kwargs):
    return {"players": {player_id: {"position": new_position}}}


backend = pygase.Backend(initial_game_state, time_step, event_handlers={"MOVE": on_move})


def on_join(name, game_state, client_address, **kwargs):
    player_id = len(game_state.players)
    print(f"{name} joins as {player_id}", flush=True)
    backend.server.dispatch_event("WELCOME", player_id, target_client=client_address, retries=5)
    update = {"players": {player_id: {"name": name, "position": [random.random() * size for size in FIELD]}}}
    if len(game_state.players) == 1:
        # With two of them the game begins.
        update["it"] = 0
        update["safe_for"] = SAFE_SECONDS
    return update


backend.game_state_machine.register_event_handler("JOIN", on_join)

if __name__ == "__main__":
    backend.run(hostname="localhost", port=int(sys.argv[1]))
    state = backend.game_state_store.get_game_state()
    assert state.is_paused()
    assert state.catches == CATCHES_TO_WIN, state.catches
    assert [player["name"] for player in state.players.values()] == ["Anna", "Ben"]
    print(f"over after {state.catches} catches, {state.players[state.it]['name']} is it", flush=True)
