"""Pong for two over the network, with spectators.

* `rules.py`: the game as pure functions;
* `server.py`: the authoritative game in a `Backend`, 60 steps a second;
* `client.py`: the network side of a player, and a bot;
* `terminal.py`: the curses screen;
* `__main__.py`: the command line, and which processes run.
"""
