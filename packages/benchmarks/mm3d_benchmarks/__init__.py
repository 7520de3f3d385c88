"""Data sets, metrics, protocols, runs and reports of the benchmark suite."""
