"""Ways to show a network every point of a room: passes over the voxels, and overlapping crops of a pass.

Source: POSTECH-CVLab/point-transformer, tool/test.py and util/voxelize.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mm3d_benchmarks.loading.crops import voxel_groups

INITIAL_POTENTIAL = 1e-3  # breadth of the random start values; POSTECH-CVLab/point-transformer, tool/test.py


def voxel_passes(coord: np.ndarray, voxel: float) -> Iterator[np.ndarray]:
    """As many passes as the fullest voxel has points; pass i takes point i mod count of every voxel.

    Args:
        coord: (N, 3) metres.
        voxel: metres.

    Yields:
        (V,) rows, one for each occupied voxel. Every row occurs at least once.
    """
    order, starts, counts = voxel_groups(coord, voxel)
    for number in range(int(counts.max())):
        yield order[starts + number % counts]


def potential_crops(coord: np.ndarray, max_points: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Crops of ``max_points`` points that together cover all of them; one crop when they are few enough.

    Every point has a potential, at first a little noise. The point of least potential becomes the center of the next
    crop, its nearest points; their potential rises by (1 - d / d_max)^2, with d their squared distance from the center.

    Args:
        coord: (N, 3) metres.
        max_points: points of a crop.
        random: of the start values.

    Yields:
        Rows of each crop, nearest to the center first when there is more than one crop.
    """
    count = len(coord)
    if count <= max_points:
        yield np.arange(count)
        return
    potential = random.random(count) * INITIAL_POTENTIAL
    missing = np.ones(count, dtype=bool)
    while missing.any():
        center = potential.argmin()
        distance = ((coord - coord[center]) ** 2).sum(axis=1)
        distance[center] = -1  # first among identical points, so that every crop covers its own center
        nearest = np.argpartition(distance, max_points - 1)[:max_points]
        nearest = nearest[np.argsort(distance[nearest], kind="stable")]
        reach = max(distance[nearest[-1]], np.finfo(np.float32).tiny)
        potential[nearest] += (1 - distance[nearest].clip(0) / reach) ** 2
        missing[nearest] = False
        yield nearest
