"""Benchmarks: figures with a floor measured in the same run, as JSON lines or a table."""
