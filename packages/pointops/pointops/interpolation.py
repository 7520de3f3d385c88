"""Inverse-distance interpolation from the nearest points of a coarser set (three by default).

Names and argument order are those of Pointcept's ``pointops.interpolation`` (MIT); nothing is copied.
    out_j = sum_t w_jt f[i_t],   w_jt = 1 / (d_jt + 1e-8), normalized over t;   d is the distance, not its square.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

import torch
from torch import Tensor

from pointops import _check, _dispatch, _native, _register
from pointops.gather import gather_rows_reference, scatter_rows_reference
from pointops.inverse import InverseTable, table_for
from pointops.knn import knn_query

EPSILON = 1e-8  # PointNet++ and Point Transformer alike


def interpolation(
    xyz: Tensor, new_xyz: Tensor, feat: Tensor, offset: Tensor, new_offset: Tensor, k: SupportsIndex = 3
) -> Tensor:
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
    xyz: Tensor, new_xyz: Tensor, offset: Tensor, new_offset: Tensor, k: SupportsIndex = 3
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


def interpolate(feat: Tensor, idx: Tensor, weight: Tensor, *, inverse: InverseTable | None = None) -> Tensor:
    """Weighted sum of rows: out[j] = sum_t weight[j, t] feat[idx[j, t]]; idx -1 counts as a row of zeros.

    Args:
        feat: (N, C).
        idx: (M, k) int32 or int64.
        weight: (M, k); cast to the dtype of ``feat``.
        inverse: of ``idx`` over the N rows, see :func:`pointops.gather.gather_rows`.

    Returns:
        (M, C) in the dtype of ``feat``. Gradients to ``feat`` and ``weight``.

    Raises:
        ValueError: bad shapes or types, rows out of range (on the CPU), or an inverse of another table.
    """
    _dispatch.check_index(idx, 2)
    _dispatch.check_features("feat", feat, None, None)
    if idx.shape != weight.shape:
        raise ValueError(f"weight must have the shape of idx, {tuple(idx.shape)}, not {tuple(weight.shape)}")
    _dispatch.check_device(idx, "feat", feat, weight)
    return _interpolate(feat, idx, weight.to(feat.dtype), *_dispatch.tables(inverse, idx, feat.shape[0]))


def interpolate_reference(feat: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """What ``interpolate`` means: gather, multiply, sum."""
    rows = gather_rows_reference(_dispatch.accumulated(feat), idx)
    return (rows * weight.unsqueeze(-1)).sum(1).to(feat.dtype)


def _run(feat: Tensor, idx: Tensor, weight: Tensor, start: Tensor | None, entry: Tensor | None) -> Tensor:
    how = _dispatch.kernels(feat)
    if how == "torch":
        return interpolate_reference(feat, _check.index("idx", idx, feat.shape[0]), weight)
    rows, feat, weight = _dispatch.rows32(idx, feat.shape[0]), feat.contiguous(), weight.contiguous()
    if how == "Triton":
        from pointops.triton import features

        return features.interpolate(feat, rows, weight)
    out = _fake(feat, idx, weight, start, entry)
    sizes = (*idx.shape, feat.shape[1], _native.threads())
    _native.call("pointops_interpolate", feat, feat.shape[0], rows, weight, *sizes, out)
    return out


def _fake(feat: Tensor, idx: Tensor, weight: Tensor, start: Tensor | None, entry: Tensor | None) -> Tensor:
    return feat.new_empty((idx.shape[0], feat.shape[1]))


def _run_backward(
    grad: Tensor, feat: Tensor, idx: Tensor, weight: Tensor, start: Tensor | None, entry: Tensor | None, weighed: bool
) -> tuple[Tensor, Tensor]:
    """Gradients with respect to feat and weight (empty unless ``weighed``)."""
    how = _dispatch.kernels(feat)
    if how == "torch":
        wide = _dispatch.accumulated(grad).unsqueeze(1)
        feat_grad = scatter_rows_reference(wide * weight.unsqueeze(-1), idx, feat.shape[0]).to(feat.dtype)
        slope = (wide * gather_rows_reference(_dispatch.accumulated(feat), idx)).sum(-1).to(weight.dtype)
        return feat_grad, slope if weighed else weight.new_empty(0)
    rows = _dispatch.rows32(idx, feat.shape[0])
    grad, feat, weight = (part.contiguous() for part in (grad, feat, weight))
    if how == "Triton":
        from pointops.triton import features

        table = table_for(rows, feat.shape[0], start, entry)
        slope = features.weight_gradient(grad, feat, rows) if weighed else weight.new_empty(0)
        return features.scatter_weighted(grad, weight, *table), slope
    out = _fake_backward(grad, feat, idx, weight, start, entry, weighed)
    sizes = (*idx.shape, feat.shape[1], _native.threads())
    wanted = (out[0], out[1] if weighed else None)
    _native.call("pointops_interpolate_backward", grad, feat, feat.shape[0], rows, weight, *sizes, *wanted)
    return out


def _fake_backward(
    grad: Tensor, feat: Tensor, idx: Tensor, weight: Tensor, start: Tensor | None, entry: Tensor | None, weighed: bool
) -> tuple[Tensor, Tensor]:
    return feat.new_empty(feat.shape), weight.new_empty(idx.shape if weighed else (0,))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    weighed = ctx.needs_input_grad[2]
    feat_grad, weight_grad = _interpolate_backward(grad, *ctx.saved_tensors, weighed)
    return feat_grad, None, weight_grad if weighed else None, None, None


_TABLE = "Tensor feat, Tensor idx, Tensor weight, Tensor? start, Tensor? entry"
_interpolate_backward = _register.operation(
    f"interpolate_backward(Tensor grad, {_TABLE}, bool weighed) -> (Tensor, Tensor)", _run_backward, _fake_backward
)
_interpolate = _register.differentiable(f"interpolate({_TABLE}) -> Tensor", _run, _fake, _save, _gradient)
