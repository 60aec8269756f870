"""PyGaSe on gevent."""
