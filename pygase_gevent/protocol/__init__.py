"""The protocol, without I/O: bytes and the time come in, bytes, events and the next deadline go out."""
