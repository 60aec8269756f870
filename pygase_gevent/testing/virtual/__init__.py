"""Whole games in virtual time: `network.py` is what users see of it.

* `loop.py`, `watchers.py`: gevent's loop with a clock that jumps;
* `environment.py`: what `pygase_gevent` takes clock, chance, sockets and threads from there;
* `wires.py`: its sockets and lines;
* `stdlib.py`: `time`, `threading` and `random` in it;
* `network.py`: a world from its beginning to its end.
"""
