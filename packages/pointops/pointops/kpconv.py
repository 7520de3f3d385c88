"""Kernel point convolution: neighbor lists by radius, and the convolution over them.

Source: KPConv (Thomas et al., ICCV 2019, arXiv:1904.08889) in the rigid, summing form of torch-points3d (BSD; nothing
copied) that Stratified Transformer uses.

    out_i = sum_m [ sum_j max(0, 1 - |p_j - p_i - y_m| / influence) f_j ] W_m

Changed: of too many neighbors the nearest are kept; the release keeps an unseeded random choice in training and the
first in row order in testing (``order="index"``).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pointops import _check
from pointops.ball_query import ball_query
from pointops.grouping import grouping2, relative_coordinates
from pointops.knn import knn_query

BLOCK = 1 << 14  # points whose influences and neighbors' features are in memory at once, in training too


def kpconv_neighbors(nsample: int, radius: float, xyz: Tensor, offset: Tensor, *, order: str = "nearest") -> Tensor:
    """Points of the same scene within ``radius`` (inclusive), the point itself among them.

    Args:
        nsample: most neighbors kept (Stratified Transformer: 34).
        radius: metres.
        xyz: (N, 3) float32.
        offset: (B,) cumulative ends.
        order: ``nearest`` keeps the nearest, ``index`` the first in row order.

    Returns:
        (N, nsample) int32 rows, -1 beyond the neighbors there are.
    """
    _check.choice("order", order, ("nearest", "index"))
    if order == "index":
        return ball_query(nsample, radius, 0.0, xyz, offset, padding="minus_one", inclusive=True)[0]
    index, distance = knn_query(nsample, xyz, offset)
    return index.masked_fill(distance > radius, -1)


def kernel_point_convolution(
    feat: Tensor, xyz: Tensor, index: Tensor, kernel_points: Tensor, weight: Tensor, influence: float
) -> Tensor:
    """The convolution above at every point.

    Args:
        feat: (N, C).
        xyz: (N, 3), metres.
        index: (N, k) int32 rows of neighbors, -1 = missing.
        kernel_points: (K, 3) metres.
        weight: (K, C, D).
        influence: metres from a kernel point at which its influence ends.

    Returns:
        (N, D) in the dtype of ``feat``. Gradients to ``feat`` and ``weight``.

    Raises:
        ValueError: shapes that contradict each other.
    """
    if weight.ndim != 3 or weight.shape[:2] != (kernel_points.shape[0], feat.shape[1]):
        raise ValueError(f"weight must be ({kernel_points.shape[0]}, {feat.shape[1]}, D), not {tuple(weight.shape)}")
    if index.shape[0] != feat.shape[0] or xyz.shape[0] != feat.shape[0]:
        raise ValueError(
            f"feat has {feat.shape[0]} rows, xyz {xyz.shape[0]}, index {index.shape[0]}: one per point is needed"
        )
    parts = []
    for low in range(0, max(1, feat.shape[0]), BLOCK):
        block = (feat, xyz, index[low : low + BLOCK], xyz[low : low + BLOCK], kernel_points, weight, influence)
        if feat.shape[0] > BLOCK and torch.is_grad_enabled():  # made again for the gradient instead of kept
            parts.append(checkpoint(_convolved, *block, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(_convolved(*block))
    return torch.cat(parts)


def kernel_point_convolution_reference(
    feat: Tensor, xyz: Tensor, index: Tensor, kernel_points: Tensor, weight: Tensor, influence: float
) -> Tensor:
    """What ``kernel_point_convolution`` means: point by point, neighbor by neighbor, kernel point by kernel point."""
    out = []
    for i in range(feat.shape[0]):
        total = weight.new_zeros(weight.shape[2])
        for j in (int(row) for row in index[i] if row >= 0):
            for m in range(kernel_points.shape[0]):
                distance = (xyz[j] - xyz[i] - kernel_points[m]).norm()
                total = total + (1 - distance / influence).clamp_min(0) * (feat[j] @ weight[m])
        out.append(total)
    return torch.stack(out)


def _convolved(
    feat: Tensor, xyz: Tensor, index: Tensor, centers: Tensor, kernel_points: Tensor, weight: Tensor, influence: float
) -> Tensor:
    """(n, D) of one block of points."""
    near = _influences(index, xyz, centers, kernel_points, influence)
    sums = torch.bmm(near.to(feat.dtype), grouping2(feat, index))
    return torch.einsum("nkc,kcd->nd", sums, weight.to(feat.dtype))


@torch.no_grad()
def _influences(index: Tensor, xyz: Tensor, centers: Tensor, kernel_points: Tensor, influence: float) -> Tensor:
    """(n, K, k) influence of each neighbor on each kernel point; 0 for missing neighbors."""
    relative = relative_coordinates(index, xyz, centers)
    distance = (relative.unsqueeze(1) - kernel_points.to(xyz.dtype).view(1, -1, 1, 3)).norm(dim=-1)
    return (1 - distance / influence).clamp_min_(0).masked_fill_((index < 0).unsqueeze(1), 0)
