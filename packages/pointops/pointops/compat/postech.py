"""POSTECH's ``pointops``: the functions of lib/pointops/functions/pointops.py under its names, in its argument order.

Source: POSTECH-CVLab/point-transformer (no license file: nothing copied); MM-3DScene and many forks use the same file.
What a scene of fewer points than neighbors gets is POSTECH's too: its first point, at distance 1e5. Packed batches,
rows, types and errors are those of :mod:`pointops`.
"""

from __future__ import annotations

from torch import Tensor

from pointops.aggregation import aggregation
from pointops.gather import gather_rows
from pointops.grouping import grouping as grouping_of_rows
from pointops.grouping import grouping2
from pointops.interpolation import EPSILON, interpolate
from pointops.knn import knn_query
from pointops.sampling import farthest_point_sampling
from pointops.subtraction import subtraction

__all__ = [
    "aggregation",
    "furthestsampling",
    "grouping",
    "interpolation",
    "interpolation2",
    "knnquery",
    "queryandgroup",
    "subtraction",
]


def furthestsampling(xyz: Tensor, offset: Tensor, new_offset: Tensor) -> Tensor:
    """(M,) int32 rows; see :func:`pointops.farthest_point_sampling`."""
    return farthest_point_sampling(xyz, offset, new_offset)


def knnquery(
    nsample: int, xyz: Tensor, new_xyz: Tensor | None, offset: Tensor, new_offset: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The ``nsample`` points of ``xyz`` (N, 3) nearest to each of ``new_xyz`` (M, 3; None: ``xyz``), nearest first.

    Returns:
        idx: (M, nsample) int32 rows; a missing neighbor is the scene's first row (-1 in a scene without points).
        dist: (M, nsample) float32 distances, square root taken; 1e5 for a missing neighbor.

    Raises:
        ValueError: as :func:`pointops.knn_query`, or ``new_xyz`` without ``new_offset``.
    """
    if new_xyz is None:
        new_xyz, new_offset = xyz, offset if new_offset is None else new_offset
    if new_offset is None:
        raise ValueError("new_offset must be given with new_xyz")
    return knn_query(nsample, xyz, offset, new_xyz, new_offset, missing="first_point")


def grouping(input: Tensor, idx: Tensor) -> Tensor:
    """input[idx]: (N, C) and (M, nsample) rows -> (M, nsample, C). Gradient to ``input``."""
    return grouping2(input, idx)


def queryandgroup(
    nsample: int,
    xyz: Tensor,
    new_xyz: Tensor | None,
    feat: Tensor,
    idx: Tensor | None,
    offset: Tensor,
    new_offset: Tensor | None,
    use_xyz: bool = True,
) -> Tensor:
    """Neighbors' coordinates relative to ``new_xyz`` (if ``use_xyz``) and their features.

    Args:
        nsample: neighbors, searched by :func:`knnquery` unless ``idx`` (M, nsample) is given.
        feat: (N, C) features of ``xyz`` (N, 3).

    Returns:
        (M, nsample, 3 + C) or (M, nsample, C). Gradients to ``feat``, ``xyz`` and ``new_xyz``.
    """
    if idx is None:
        idx, _ = knnquery(nsample, xyz, new_xyz, offset, new_offset)
    return grouping_of_rows(idx, feat, xyz, new_xyz, with_xyz=use_xyz)


def interpolation(xyz: Tensor, new_xyz: Tensor, feat: Tensor, offset: Tensor, new_offset: Tensor, k: int = 3) -> Tensor:
    """Features (N, C) of ``xyz`` carried over to ``new_xyz``: (M, C). Gradient to ``feat``.

    Unlike :func:`pointops.interpolation`, a source that a small scene does not have counts: it is the scene's first
    point at distance 1e5.
    """
    idx, distance = knnquery(k, xyz, new_xyz, offset, new_offset)
    closeness = 1.0 / (distance + EPSILON)
    return interpolate(feat, idx, closeness / closeness.sum(1, keepdim=True))


interpolation2 = interpolation  # the same values by a fused kernel


def rows_of(value: Tensor, index: Tensor) -> Tensor:
    """value[index] of an (N, H, D) tensor: (M,) rows -> (M, H, D)."""
    return gather_rows(value.flatten(1), index).view(index.shape[0], *value.shape[1:])
