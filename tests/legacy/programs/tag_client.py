"""A game of tag, a player. Written as for PyGaSe 0.3; nothing here knows of pygase_gevent."""

import sys

import pygame
import pygame.locals
from pygase import Client

FIELD = (320, 240)
SPEED = 0.4  # pixels per millisecond


class TagClient(Client):
    def __init__(self):
        super().__init__()
        self.player_id = None
        self.caught = []
        self.register_event_handler("WELCOME", self.on_welcome)
        self.register_event_handler("CAUGHT", self.on_caught)

    def on_welcome(self, player_id):
        self.player_id = player_id

    def on_caught(self, hunter_id, player_id):
        self.caught.append((hunter_id, player_id))


client = TagClient()


def press(keys):
    """What fingers would do: hold down exactly these keys."""
    for key in keys - pressed:
        pygame.event.post(pygame.event.Event(pygame.locals.KEYDOWN, key=key))
    for key in pressed - keys:
        pygame.event.post(pygame.event.Event(pygame.locals.KEYUP, key=key))


def keys_towards(position, target):
    keys = set()
    if target[0] - position[0] > 5:
        keys.add(pygame.locals.K_RIGHT)
    elif position[0] - target[0] > 5:
        keys.add(pygame.locals.K_LEFT)
    if target[1] - position[1] > 5:
        keys.add(pygame.locals.K_DOWN)
    elif position[1] - target[1] > 5:
        keys.add(pygame.locals.K_UP)
    return keys


if __name__ == "__main__":
    client.connect_in_thread(hostname="localhost", port=int(sys.argv[1]))
    client.dispatch_event("JOIN", input("Your name: "), retries=20)
    while client.player_id is None:
        pass
    print(f"\nplaying as {client.player_id}", flush=True)
    client.try_to(lambda game_state: game_state.players[client.player_id], timeout=30)

    pygame.init()
    screen = pygame.display.set_mode(FIELD)
    clock = pygame.time.Clock()
    pressed = set()
    frames = 0
    is_running = True
    while is_running:
        dt = clock.tick(50)
        frames += 1
        screen.fill((0, 0, 0))
        for event in pygame.event.get():
            if event.type == pygame.locals.KEYDOWN:
                pressed.add(event.key)
            if event.type == pygame.locals.KEYUP:
                pressed.discard(event.key)
        dx = SPEED * dt * ((pygame.locals.K_RIGHT in pressed) - (pygame.locals.K_LEFT in pressed))
        dy = SPEED * dt * ((pygame.locals.K_DOWN in pressed) - (pygame.locals.K_UP in pressed))
        with client.access_game_state() as game_state:
            me = game_state.players[client.player_id]
            # Where I am is known here first: show it at once, whatever the server says later.
            me["position"] = [
                min(max(me["position"][0] + dx, 0), FIELD[0]),
                min(max(me["position"][1] + dy, 0), FIELD[1]),
            ]
            if dx or dy:
                client.dispatch_event(
                    event_type="MOVE", player_id=client.player_id, new_position=tuple(me["position"])
                )
            for player_id, player in game_state.players.items():
                colour = (255, 50, 50) if player_id == game_state.it else (50, 255, 50)
                pygame.draw.circle(screen, colour, [int(each) for each in player["position"]], 7)
                # Who is it runs after the other one, who stands still.
                if player_id != client.player_id and game_state.it == client.player_id:
                    press(keys_towards(me["position"], player["position"]))
            if game_state.it != client.player_id:
                press(set())
            if game_state.is_over:
                is_running = False
        pygame.display.flip()
    pygame.quit()

    while len(client.caught) < 2:
        pass
    assert client.caught == [(0, 1), (1, 0)], client.caught
    with client.access_game_state() as game_state:
        assert game_state.catches == 2
        assert {player["name"] for player in game_state.players.values()} == {"Anna", "Ben"}
    print(f"over after {frames} frames", flush=True)
    if client.player_id == 0:
        # Only the first player has the right to.
        input()
        client.disconnect(shutdown_server=True)
    else:
        client.disconnect()
