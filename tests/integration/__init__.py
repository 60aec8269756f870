"""The whole library with real sockets on loopback and, where it matters, real processes."""
