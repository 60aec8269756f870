"""Pong over the network, in a window or on a terminal. README.md says where to begin.

* `rules.py`: the game as pure functions;
* `server.py`: the authoritative game in a `Backend`; `savefile.py`: the match survives a restart;
* `network.py`: the network side of a player; `bot.py`: one that plays by itself;
* `scene.py`: what is drawn at a moment: prediction and interpolation;
* `window.py`, with `painter.py`, `sprites.py`, `particles.py`, `sound.py`, `panel.py`: the pygame window;
* `terminal.py`: the curses screen; `captions.py`, `meter.py`: the words and figures of both;
* `__main__.py`, `options.py`, `views.py`: the command line, and which processes run.
"""
