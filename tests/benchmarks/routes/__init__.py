"""Parts of ``tests/benchmarks/accuracy.py``: networks with their data, chips, the vendors' own routes, and what is counted."""
