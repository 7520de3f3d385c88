"""Overlapping crops of a scan: those of the published voting, and the same for scans of millions of points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mm3d_benchmarks.evaluation.covers import INITIAL_POTENTIAL, potential_crops

LARGE = 300_000  # points from which on a search tree is quicker than the distances to all points


def crops(coord: np.ndarray, max_points: int | None, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of crops that together cover all points, see :func:`mm3d_benchmarks.evaluation.covers.potential_crops`.

    Args:
        coord: (N, 3) metres.
        max_points: points of a crop; None: one crop.
        random: of the start values.
    """
    if max_points is None or len(coord) <= max(max_points, LARGE):
        yield from potential_crops(coord, max_points or len(coord), random)
    else:
        yield from tree_crops(coord, max_points, random)


def tree_crops(coord: np.ndarray, max_points: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """The crops of ``potential_crops``; of points equally far from a center others may belong to its crop."""
    from scipy.spatial import KDTree  # half a second, which a training that only describes its weights can spare

    tree: Any = KDTree(coord)
    potential = random.random(len(coord)) * INITIAL_POTENTIAL
    missing = np.ones(len(coord), dtype=bool)
    left = len(coord)
    while left:
        center = int(potential.argmin())
        away, nearest = tree.query(coord[center], k=max_points)
        if nearest[0] != center:  # identical points: every crop covers its own center
            others = nearest != center
            nearest = np.concatenate([[center], nearest[others]])[:max_points]
            away = np.concatenate([[0.0], away[others]])[:max_points]
        distance = away**2
        reach = max(distance[-1], np.finfo(np.float32).tiny)
        potential[nearest] += (1 - distance / reach) ** 2
        left -= int(missing[nearest].sum())
        missing[nearest] = False
        yield nearest
