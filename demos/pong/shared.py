"""What server and clients of pong must agree on."""

from pygase_gevent import Delivery

GAME = "pygase_gevent demo: pong"
STEP_S = 1 / 60

DELIVERIES = {
    "JOIN": Delivery.RELIABLE,  # client to server: name, is_bot, is_watching
    "YOU_ARE": Delivery.RELIABLE,  # server to client: player id
    "AIM": Delivery.SEQUENCED,  # client to server: y; only the newest counts
}
