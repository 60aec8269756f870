"""One acceptance program in every kind of process: patched or not, in every thread, on either side."""
