"""Chat rooms over the network, for terminals and for pipes.

* `rules.py`: names, rooms and who hears what, as a pure state machine;
* `server.py`: those rules in a `Backend`;
* `client.py`: the network side of one user;
* `terminal.py`: the prompt, and line by line under a pipe;
* `__main__.py`: the command line, and which processes run.
"""
