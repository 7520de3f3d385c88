"""The informative-point statistic of a scene for pictures (Figure 2 of the paper), without torch."""

from __future__ import annotations

import numpy as np

NEIGHBORS = 30  # the point itself included, as in the published program


def local_statistic(coord: np.ndarray, color: np.ndarray | None, neighbors: int = NEIGHBORS) -> np.ndarray:
    """(N,) in [0, 1]: squared differences to the neighbors in space and in color, each scaled to [0, 1], then averaged.

    Args:
        coord: (N, 3) metres.
        color: (N, 3) 0..255, or None: space alone.
    """
    from scipy.spatial import KDTree  # half a second, which most who import this module can spare

    neighbors = min(neighbors, len(coord))
    distance, index = KDTree(coord).query(coord, neighbors)
    terms = [(distance.reshape(len(coord), -1) ** 2).sum(axis=1)]
    if color is not None:
        scaled = color.astype(np.float32) / 255
        contrast = np.zeros(len(coord), np.float32)
        for column in index.reshape(len(coord), -1).T:  # one neighbor at a time: a scan's differences need no gigabyte
            contrast += ((scaled[column] - scaled) ** 2).sum(axis=1)
        terms.append(contrast)
    return np.mean([_unit(term) for term in terms], axis=0)


def heat(value: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 from blue over green and yellow to red, by rank: a few extremes must not leave the rest blue."""
    rank = np.empty(len(value))
    rank[np.argsort(value, kind="stable")] = np.linspace(0, 1, len(value))
    stops = np.array([[38, 60, 170], [30, 150, 180], [90, 190, 80], [240, 210, 60], [215, 40, 30]], float)
    place = rank * (len(stops) - 1)
    low = np.minimum(place.astype(int), len(stops) - 2)
    return (stops[low] + (stops[low + 1] - stops[low]) * (place - low)[:, None]).round().astype(np.uint8)


def _unit(value: np.ndarray) -> np.ndarray:
    low, high = value.min(), value.max()
    return (value - low) / (high - low) if high > low else np.zeros_like(value)
