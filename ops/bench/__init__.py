"""Benchmarks: `make bench` measures everything in one run and prints one table. Not shipped."""
