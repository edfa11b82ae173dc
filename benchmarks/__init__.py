"""Our figures beside those of other schedulers, measured in the same way on the same machine: `python -m benchmarks`.

Nothing imports this package. What each row means and how it is measured: docs/benchmarks.md.
"""
