"""Nearest neighbors between two clouds, both ways, and the Chamfer distance built on them."""

from typing import NamedTuple

import torch
from torch import Tensor

from pointops.knn import knn_query
from pointops.segment import segment_mean


class Nearest(NamedTuple):
    """What :func:`chamfer_nearest` returns.

    Attributes:
        distance2: (N,) float32 squared distance of each point of ``xyz`` to its nearest in ``new_xyz``; differentiable.
        idx: (N,) int32 that row of ``new_xyz``; -1 (distance 0) where the scene has no point there.
        new_distance2: (M,) the same from ``new_xyz`` to ``xyz``.
        new_idx: (M,) int32 row of ``xyz``.
    """

    distance2: Tensor
    idx: Tensor
    new_distance2: Tensor
    new_idx: Tensor


def chamfer_nearest(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor) -> Nearest:
    """For every point its nearest neighbor in the other cloud of the same scene, both ways; ties to the lower row.

    Args:
        xyz: (N, 3) float32.
        offset: (B,) cumulative ends of ``xyz``.
        new_xyz: (M, 3) float32.
        new_offset: (B,) cumulative ends of ``new_xyz``.

    Returns:
        A :class:`Nearest`; gradients of the squared distances flow to both clouds (2 (x - y) and its negative).
    """
    idx = knn_query(1, new_xyz, new_offset, xyz, offset)[0][:, 0]
    new_idx = knn_query(1, xyz, offset, new_xyz, new_offset)[0][:, 0]
    return Nearest(_squared(xyz, new_xyz, idx), idx, _squared(new_xyz, xyz, new_idx), new_idx)


def chamfer_distance(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor, root: bool = True) -> Tensor:
    """(B,) Chamfer distance per scene: half the sum of the two mean nearest distances.

    Args:
        root: mean distances (as MM-3DScene's loss) or, if False, mean squared distances. The gradient of a root at
            distance zero is defined as zero.
    """
    near = chamfer_nearest(xyz, offset, new_xyz, new_offset)
    there, back = (safe_sqrt(d) if root else d for d in (near.distance2, near.new_distance2))
    return (segment_mean(there, offset) + segment_mean(back, new_offset)) / 2


def safe_sqrt(value: Tensor) -> Tensor:
    """Square root whose gradient at zero is zero (torch's is infinite, and infinity times zero is NaN)."""
    zero = value <= 0
    return value.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


def _squared(xyz: Tensor, other: Tensor, idx: Tensor) -> Tensor:
    if other.shape[0] == 0:
        return xyz.sum(1) * 0
    offset = xyz - other.index_select(0, idx.clamp_min(0))
    dx, dy, dz = offset.unbind(1)
    return ((dx * dx + dy * dy) + dz * dz).masked_fill(idx < 0, 0.0)
