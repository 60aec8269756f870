"""Two small games on pygase_gevent: `python -m demos.pong` and `python -m demos.chat`."""
