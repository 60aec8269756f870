"""What server and clients of chat must agree on."""

from pygase_gevent import Delivery

GAME = "pygase_gevent demo: chat"
DEFAULT_PORT = 47_800
STEP_S = 1 / 50

DELIVERIES = {
    # One ordered stream each way: a line, the command after it and the line after that take effect in
    # the order typed, and everybody reads messages and notices in the order the server made them.
    "SAY": Delivery.RELIABLE_ORDERED,  # client to server: what was typed, commands too
    "SHOW": Delivery.RELIABLE_ORDERED,  # server to client: kind ("said", "notice", "bye"), name, text
}
