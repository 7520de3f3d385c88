"""Ratios against named peers: ``python -m pointops.bench``."""
