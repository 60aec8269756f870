"""Measurements, apart from the tests: `python -m benchmarks.<name>` prints figures and asserts nothing."""
