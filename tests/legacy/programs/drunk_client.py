"""A fighter against the drunken enemy. Written as for PyGaSe 0.3; nothing here knows of pygase_gevent."""

import sys
import time

import pygase
from pygase.connection import ConnectionStatus

port, name, position = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])

client = pygase.Client()
assert client.connection is None
feedback = []
is_host = []


async def on_feedback(text):
    feedback.append(text)


client.register_event_handler("FEEDBACK", on_feedback)
client.register_event_handler("HOST", is_host.append)

thread = client.connect_in_thread(port=port)
while client.connection.status != ConnectionStatus.get("Connected"):
    time.sleep(0.01)
assert ConnectionStatus.get(client.connection.status) == "Connected"
assert client.connection.remote_address == ("localhost", port)

client.dispatch_event("WHO_IS_HOST", retries=10)
client.dispatch_event("ENTER", name, position, retries=10)
client.wait_until(
    lambda game_state: any(fighter["name"] == name for fighter in game_state.fighters.values()), timeout=30
)

# Nobody fights alone, and nobody before the other is ready: whoever wins leaves.
client.wait_until(lambda game_state: len(game_state.fighters) == 2, timeout=30)
client.dispatch_event("READY", retries=10)
client.wait_until(lambda game_state: game_state.ready == 2, timeout=30)

blows = 0
received = []
while True:
    with client.access_game_state() as game_state:
        if game_state.hp <= 0:
            break
        enemy_position = game_state.position
    if abs(enemy_position - position) < 3:
        client.dispatch_event(
            "ATTACK", attack_position=enemy_position, retries=10, ack_callback=lambda: received.append(True)
        )
        blows += 1
        while len(feedback) < blows or len(received) < blows:
            pass
    else:
        time.sleep(0.02)

with client.access_game_state() as game_state:
    me = [address for address, fighter in game_state.fighters.items() if fighter["name"] == name]
    assert len(me) == 1 and isinstance(me[0], tuple), game_state.fighters
    winner = game_state.last_blow[0]
assert len(is_host) == 1
assert blows == len(feedback)
print(f"{winner} has won, {feedback.count('Hit!')} hits of mine, host: {is_host[0]}", flush=True)

left = []
client.dispatch_event("LEAVE", retries=10, ack_callback=lambda: left.append(True))
while not left:
    pass
client.wait_until(lambda game_state: me[0] not in game_state.fighters, timeout=30)
sys.stdin.readline()  # until everybody has left
client.disconnect(shutdown_server=True)
thread.join(30)
assert not thread.is_alive()
