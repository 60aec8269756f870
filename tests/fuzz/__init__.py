"""Fuzzing: every parser, and a session below the decryption.

`targets.py` and its neighbours have one function per parser, which takes bytes and checks what must hold.
The test suite runs them with Hypothesis and with the kept corpus; `python -m tests.fuzz --target NAME
--seconds N` runs one under atheris, `python -m tests.fuzz bombs` measures what decoder bombs cost.
"""
