"""Nearest neighbors between two clouds, both ways, and the Chamfer distance built on them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pointops import _check, _gpu, _native, _register
from pointops.knn import knn_query_reference
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
    _check.tensors(xyz=xyz, offset=offset, new_xyz=new_xyz, new_offset=new_offset)
    _check.same_device("new_xyz", new_xyz, "xyz", xyz)
    return Nearest(*_pair(xyz, offset, new_xyz, new_offset))


def chamfer_nearest_reference(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor) -> Nearest:
    """What ``chamfer_nearest`` means: the nearest of all distances, and their gradient by autograd."""
    idx = knn_query_reference(1, new_xyz, new_offset, xyz, offset)[0][:, 0]
    new_idx = knn_query_reference(1, xyz, offset, new_xyz, new_offset)[0][:, 0]
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


def _run(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if _gpu.serves(xyz):
        return _gpu.nearest_pair(xyz, offset, new_xyz, new_offset)  # pyright: ignore[reportReturnType]
    if xyz.device.type != "cpu" or _native.library() is None:
        return chamfer_nearest_reference(xyz.detach(), offset, new_xyz.detach(), new_offset)
    xyz, new_xyz = _check.points("xyz", xyz, False), _check.points("new_xyz", new_xyz, False)
    _check.same_device("new_xyz", new_xyz, "xyz", xyz)
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    new_ends = _check.ends("new_offset", new_offset, new_xyz.shape[0], "new_xyz")
    _check.same_scenes("new_offset", new_ends, "offset", ends)
    out = _fake(xyz, offset, new_xyz, new_offset)
    _native.call("pointops_nearest_pair", xyz, ends, len(ends), new_xyz, new_ends, _native.threads(), *out)
    return out


def _fake(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    there, back = (cloud.new_empty(cloud.shape[0]) for cloud in (xyz, new_xyz))
    return there, torch.empty_like(there, dtype=torch.int32), back, torch.empty_like(back, dtype=torch.int32)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(inputs[0], inputs[2], output[1], output[3])
    ctx.mark_non_differentiable(output[1], output[3])


def _backward(ctx: Any, there: Tensor | None, _idx: Any, back: Tensor | None, _new_idx: Any) -> tuple[Any, ...]:
    xyz, new_xyz, idx, new_idx = ctx.saved_tensors
    grad, new_grad = torch.zeros_like(xyz), torch.zeros_like(new_xyz)
    for slope, points, other, rows, into, onto in (
        (there, xyz, new_xyz, idx, grad, new_grad),
        (back, new_xyz, xyz, new_idx, new_grad, grad),
    ):
        if slope is None or other.shape[0] == 0:
            continue
        near = rows.clamp_min(0)
        pull = (points - other.index_select(0, near)) * (2 * slope).masked_fill(rows < 0, 0.0).unsqueeze(1)
        into += pull
        onto.index_add_(0, near, pull, alpha=-1)
    return grad, None, new_grad, None


_pair = _register.operation(
    "nearest_pair(Tensor xyz, Tensor offset, Tensor new_xyz, Tensor new_offset) -> (Tensor, Tensor, Tensor, Tensor)",
    _run,
    _fake,
)
torch.library.register_autograd("pointops::nearest_pair", _backward, setup_context=_save)
