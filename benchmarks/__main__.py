"""`python -m benchmarks`: see README.md beside this file."""

from benchmarks.command import main

main()
