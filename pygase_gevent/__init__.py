"""Multiplayer networking for games in plain, synchronous Python, on gevent."""
