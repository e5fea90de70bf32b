"""Time and memory of the package beside its peers', measured in the same run: ``python -m benchmarks``."""
