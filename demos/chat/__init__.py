"""Chat rooms over the network, on a full screen and for pipes. See README.md."""
