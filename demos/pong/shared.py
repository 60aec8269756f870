"""What server and clients of pong must agree on."""

from pygase_gevent import Delivery

GAME = "pygase_gevent demo: pong 2"
DEFAULT_PORT = 8778
STEP_S = 1 / 60

DELIVERIES = {
    "JOIN": Delivery.RELIABLE,  # client to server: secret, name, is_bot, is_watching
    "YOU_ARE": Delivery.RELIABLE,  # server to client: player id
    "MOVE": Delivery.SEQUENCED,  # client to server: number of the first move, moves; the newest has all
}
