"""Features as colors: their three principal components as red, green and blue, so that what is alike looks alike."""

from __future__ import annotations

import numpy as np

SAMPLE = 100_000  # rows that the components are found from
PIECE = 2**18  # rows colored at a time
CLIP = (1.0, 99.0)  # percentiles that become black and full color
UNKNOWN = 190  # grey of rows without features


def pca_colors(features: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 of (N, C) features; grey where they are not finite.

    The sign of a component is chosen so that its largest weight is positive: equal features give equal colors.
    """
    finite = np.flatnonzero(np.isfinite(features).all(axis=1))
    colors = np.full((len(features), 3), UNKNOWN, np.uint8)
    if not len(finite):
        return colors
    sample = np.asarray(features[finite[:: max(1, len(finite) // SAMPLE)]], np.float64)
    mean = sample.mean(axis=0)
    _, axes = np.linalg.eigh((sample - mean).T @ (sample - mean))
    axes = axes[:, ::-1][:, :3]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    low, high = np.percentile((sample - mean) @ axes, CLIP, axis=0)
    span = np.where(high > low, high - low, 1.0)
    for start in range(0, len(finite), PIECE):
        rows = finite[start : start + PIECE]
        shade = (((np.asarray(features[rows], np.float64) - mean) @ axes - low) / span).clip(0, 1)
        colors[rows, : shade.shape[1]] = (255 * shade).round().astype(np.uint8)
    return colors
