"""Inverse-distance interpolation from the nearest points of a coarser set (three by default).

Names and argument order are those of Pointcept's ``pointops.interpolation`` (MIT); nothing is copied.
    out_j = sum_t w_jt f[i_t],   w_jt = 1 / (d_jt + 1e-8), normalized over t;   d is the distance, not its square.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pointops import _check
from pointops.knn import knn_query

EPSILON = 1e-8  # PointNet++ and Point Transformer alike


def interpolation(xyz: Tensor, new_xyz: Tensor, feat: Tensor, offset: Tensor, new_offset: Tensor, k: int = 3) -> Tensor:
    """Features of ``xyz`` carried over to ``new_xyz``.

    Args:
        xyz: (N, 3) float32 source points.
        new_xyz: (M, 3) float32 points that receive features.
        feat: (N, C) features of ``xyz``.
        offset: (B,) cumulative ends of ``xyz``.
        new_offset: (B,) cumulative ends of ``new_xyz``.
        k: sources per point. A scene with fewer sources uses those it has.

    Returns:
        (M, C) in the dtype of ``feat``. Gradient to ``feat`` only.
    """
    idx, weight = interpolation_table(xyz, new_xyz, offset, new_offset, k)
    return interpolate(feat, idx, weight)


interpolation2 = interpolation  # Pointcept's second name for the same values (its fused kernel)


def interpolation_table(
    xyz: Tensor, new_xyz: Tensor, offset: Tensor, new_offset: Tensor, k: int = 3
) -> tuple[Tensor, Tensor]:
    """The sources and weights of :func:`interpolation`, to be computed once and used at every layer.

    Returns:
        idx: (M, k) int32 rows of ``xyz``, -1 where the scene has fewer than k points.
        weight: (M, k) float32, rows sum to 1 (all 0 if the scene has no source).
    """
    idx, distance = knn_query(k, xyz, offset, new_xyz, new_offset)
    return idx, interpolation_weights(idx, distance)


def three_nn(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor) -> tuple[Tensor, Tensor]:
    """The three points of ``xyz`` nearest to each of ``new_xyz``: (M, 3) int32 rows and weights, as above."""
    return interpolation_table(xyz, new_xyz, offset, new_offset, 3)


def interpolation_weights(idx: Tensor, distance: Tensor) -> Tensor:
    """Normalized 1 / (distance + 1e-8); missing sources (idx < 0) weigh exactly 0."""
    weight = (1.0 / (distance + EPSILON)).masked_fill(idx < 0, 0.0)
    return weight / weight.sum(1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)


def interpolate(feat: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of rows: out[j] = sum_t weight[j, t] feat[idx[j, t]]; idx -1 counts as a row of zeros.

    Args:
        feat: (N, C).
        idx: (M, k) int32 or int64.
        weight: (M, k); cast to the dtype of ``feat``.

    Returns:
        (M, C). Gradients to ``feat`` and ``weight``.
    """
    if idx.shape != weight.shape or idx.ndim != 2:
        raise ValueError(f"weight must have the shape of idx, {tuple(idx.shape)}, not {tuple(weight.shape)}")
    _check.index("idx", idx, feat.shape[0], 2)
    weight = weight.to(feat.dtype).masked_fill(idx < 0, 0.0)
    if feat.shape[0] == 0:
        return feat.new_zeros(idx.shape[0], feat.shape[1])
    return functional.embedding_bag(idx.clamp_min(0), feat, per_sample_weights=weight, mode="sum")


def interpolate_reference(feat: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """What ``interpolate`` means: gather, multiply, sum."""
    rows = torch.cat([feat, feat.new_zeros(1, feat.shape[1])])[idx.long()]
    return (rows * weight.to(feat.dtype).unsqueeze(-1)).sum(1)
