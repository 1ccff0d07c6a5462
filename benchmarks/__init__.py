"""Speed, by one clock: `python -m benchmarks`."""
