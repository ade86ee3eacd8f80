"""Speed and memory against PyTorch in one run: `python -m benchmarks.run` (see README.md).

Nothing here is imported by the package, and nothing here is installed with it.
"""
