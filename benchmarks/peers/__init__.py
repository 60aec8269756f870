"""The programs that the benchmarks start: servers and load generators, ours and the peers'."""
