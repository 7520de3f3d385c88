"""VoteNet's ``pointnet2_utils``: the functions that its modules call, with gradients.

Source: facebookresearch/votenet, pointnet2/pointnet2_utils.py (MIT; H3DNet's is the same); nothing copied. Only the
names and the order of arguments differ from :mod:`pointops.compat.pointnet2_ext`, and distances are square roots.
"""

from __future__ import annotations

from torch import Tensor

from pointops._distance import root
from pointops.compat import pointnet2_ext
from pointops.compat.pointnet2_ext import three_interpolate

__all__ = [
    "ball_query",
    "furthest_point_sample",
    "gather_operation",
    "grouping_operation",
    "three_interpolate",
    "three_nn",
]


def furthest_point_sample(xyz: Tensor, npoint: int) -> Tensor:
    """(B, N, 3) -> (B, npoint) int32 rows within each cloud."""
    return pointnet2_ext.furthest_point_sampling(xyz, npoint)


def gather_operation(features: Tensor, idx: Tensor) -> Tensor:
    """(B, C, N) and (B, M) -> (B, C, M). Gradient to ``features``."""
    return pointnet2_ext.gather_points(features, idx)


def grouping_operation(features: Tensor, idx: Tensor) -> Tensor:
    """(B, C, N) and (B, M, K) -> (B, C, M, K). Gradient to ``features``."""
    return pointnet2_ext.group_points(features, idx)


def three_nn(unknown: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (B, N, 3) and int32 rows (B, N, 3) of the three of ``known`` nearest to each of ``unknown``."""
    distance2, idx = pointnet2_ext.three_nn(unknown, known)
    return root(distance2), idx


def ball_query(radius: float, nsample: int, xyz: Tensor, new_xyz: Tensor) -> Tensor:
    """Points of ``xyz`` (B, N, 3) around ``new_xyz`` (B, M, 3): (B, M, nsample) int32 rows."""
    return pointnet2_ext.ball_query(new_xyz, xyz, radius, nsample)
