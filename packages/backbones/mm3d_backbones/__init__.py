"""Backbones: one architecture, one file."""
