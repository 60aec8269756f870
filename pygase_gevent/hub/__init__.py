"""All that knows gevent: hubs in native threads, bridges between them, the UDP socket, the clock."""
