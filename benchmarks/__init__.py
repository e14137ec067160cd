"""Speed and memory of the product, measured: `python -m benchmarks` prints one table."""
