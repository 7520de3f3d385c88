"""Nearest neighbors between two clouds, both ways or one way, and the Chamfer distance built on them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pointops import _check, _gpu, _native, _points, _register
from pointops.index import Index, handle
from pointops.knn import knn_query, knn_query_reference
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


def chamfer_nearest(
    xyz: Tensor,
    offset: Tensor | None,
    new_xyz: Tensor,
    new_offset: Tensor | None,
    *,
    index: Index | None = None,
    new_index: Index | None = None,
) -> Nearest:
    """For every point its nearest neighbor in the other cloud of the same scene, both ways; ties to the lower row.

    Args:
        xyz: (N, 3) float32. Also taken: (B, N, 3) with ``offset`` None, float64, and half precision under autocast; see
            :mod:`pointops._points`. Likewise ``new_xyz``.
        offset: (B,) cumulative ends of ``xyz``.
        new_xyz: (M, 3) float32.
        new_offset: (B,) cumulative ends of ``new_xyz``.
        index: of ``xyz``, if several calls ask these points. A call with an index is not seen by ``torch.compile``.
        new_index: of ``new_xyz``, likewise.

    Returns:
        A :class:`Nearest`; gradients of the squared distances flow to both clouds (2 (x - y) and its negative).
    """
    clouds = _two_clouds(xyz, offset, new_xyz, new_offset)
    if index is None and new_index is None:
        return Nearest(*_pair(*clouds))
    xyz, offset, new_xyz, new_offset = clouds
    with torch.no_grad():
        _, idx, _, new_idx = _run(*clouds, index, new_index)
    return Nearest(_squared(xyz, new_xyz, idx), idx, _squared(new_xyz, xyz, new_idx), new_idx)


def nearest_point(
    xyz: Tensor,
    offset: Tensor | None,
    new_xyz: Tensor,
    new_offset: Tensor | None,
    *,
    index: Index | None = None,
    new_index: Index | None = None,
) -> tuple[Tensor, Tensor]:
    """One direction of :func:`chamfer_nearest`: ``distance2`` (N,) and ``idx`` (N,) of each point of ``xyz``."""
    clouds = _two_clouds(xyz, offset, new_xyz, new_offset)
    if index is None and new_index is None:
        return _one_way(*clouds)
    with torch.no_grad():
        _, idx = _run_one_way(*clouds, index, new_index)
    return _squared(clouds[0], clouds[2], idx), idx


def chamfer_nearest_reference(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor) -> Nearest:
    """What ``chamfer_nearest`` means: the nearest of all distances, and their gradient by autograd."""
    idx = knn_query_reference(1, new_xyz, new_offset, xyz, offset)[0][:, 0]
    new_idx = knn_query_reference(1, xyz, offset, new_xyz, new_offset)[0][:, 0]
    return Nearest(_squared(xyz, new_xyz, idx), idx, _squared(new_xyz, xyz, new_idx), new_idx)


def chamfer_distance(
    xyz: Tensor,
    offset: Tensor | None,
    new_xyz: Tensor,
    new_offset: Tensor | None,
    root: bool = True,
    *,
    both: bool = True,
    index: Index | None = None,
    new_index: Index | None = None,
) -> Tensor:
    """(B,) Chamfer distance per scene: half the sum of the two mean nearest distances.

    Args:
        root: mean distances (as MM-3DScene's loss) or, if False, mean squared distances. The gradient of a root at
            distance zero is defined as zero.
        both: False takes one direction only, from ``xyz`` to ``new_xyz``, and does not halve it.
        index: see :func:`chamfer_nearest`; likewise ``new_index``.
    """
    xyz, offset, new_xyz, new_offset = _two_clouds(xyz, offset, new_xyz, new_offset)
    points = (xyz, offset, new_xyz, new_offset)
    if not both:
        there, _ = nearest_point(*points, index=index, new_index=new_index)
        return segment_mean(safe_sqrt(there) if root else there, offset)
    near = chamfer_nearest(*points, index=index, new_index=new_index)
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


def _two_clouds(
    xyz: Tensor, offset: Tensor | None, new_xyz: Tensor, new_offset: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both packed and in float32, on one device."""
    _check.tensors(xyz=xyz, new_xyz=new_xyz)
    for name, value, points in (("offset", offset, xyz), ("new_offset", new_offset, new_xyz)):
        if points.ndim != 3:
            _check.tensors(**{name: value})  # pyright: ignore[reportArgumentType]
    _check.same_device("new_xyz", new_xyz, "xyz", xyz)
    return _points.clouds(xyz, offset, new_xyz, new_offset)


def _run(
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor,
    new_offset: Tensor,
    index: Index | None = None,
    new_index: Index | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if _gpu.serves(xyz):
        return _gpu.nearest_pair(xyz, offset, new_xyz, new_offset)  # pyright: ignore[reportReturnType]
    if xyz.device.type != "cpu" or _native.library() is None:
        return chamfer_nearest_reference(xyz.detach(), offset, new_xyz.detach(), new_offset)
    out = _fake(xyz, offset, new_xyz, new_offset)
    _call(xyz, offset, new_xyz, new_offset, index, new_index, *out)
    return out


def _run_one_way(
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor,
    new_offset: Tensor,
    index: Index | None = None,
    new_index: Index | None = None,
) -> tuple[Tensor, Tensor]:
    if xyz.device.type != "cpu" or _native.library() is None:
        idx = knn_query(1, new_xyz.detach(), new_offset, xyz.detach(), offset)[0][:, 0].contiguous()
        return _squared(xyz.detach(), new_xyz.detach(), idx), idx
    out = _fake_one_way(xyz, offset, new_xyz, new_offset)
    _call(xyz, offset, new_xyz, new_offset, index, new_index, *out, None, None)
    return out


def _call(
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor,
    new_offset: Tensor,
    index: Index | None,
    new_index: Index | None,
    *out: Tensor | None,
) -> None:
    """Run the kernel on checked points."""
    xyz, new_xyz = _check.points("xyz", xyz, False), _check.points("new_xyz", new_xyz, False)
    _check.same_device("new_xyz", new_xyz, "xyz", xyz)
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    new_ends = _check.ends("new_offset", new_offset, new_xyz.shape[0], "new_xyz")
    _check.same_scenes("new_offset", new_ends, "offset", ends)
    trees = handle("index", index, "xyz", xyz, ends)
    new_trees = handle("new_index", new_index, "new_xyz", new_xyz, new_ends)
    clouds = (xyz, ends, len(ends), trees, new_xyz, new_ends, new_trees)
    _native.call("pointops_nearest_pair", *clouds, _native.threads(), *out)


def _fake(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    there, back = (cloud.new_empty(cloud.shape[0]) for cloud in (xyz, new_xyz))
    return there, torch.empty_like(there, dtype=torch.int32), back, torch.empty_like(back, dtype=torch.int32)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(inputs[0], inputs[2], output[1], output[3])
    ctx.mark_non_differentiable(output[1], output[3])


def _backward(ctx: Any, there: Tensor | None, _idx: Any, back: Tensor | None, _new_idx: Any) -> tuple[Any, ...]:
    xyz, new_xyz, idx, new_idx = ctx.saved_tensors
    grad, new_grad = torch.zeros_like(xyz), torch.zeros_like(new_xyz)
    _pull(there, xyz, new_xyz, idx, grad, new_grad)
    _pull(back, new_xyz, xyz, new_idx, new_grad, grad)
    return grad, None, new_grad, None


def _save_one_way(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(inputs[0], inputs[2], output[1])
    ctx.mark_non_differentiable(output[1])


def _backward_one_way(ctx: Any, there: Tensor | None, _idx: Any) -> tuple[Any, ...]:
    xyz, new_xyz, idx = ctx.saved_tensors
    grad, new_grad = torch.zeros_like(xyz), torch.zeros_like(new_xyz)
    _pull(there, xyz, new_xyz, idx, grad, new_grad)
    return grad, None, new_grad, None


def _pull(slope: Tensor | None, points: Tensor, other: Tensor, rows: Tensor, into: Tensor, onto: Tensor) -> None:
    """Adds 2 (point - match) slope to the gradient of the points, and takes it from that of their matches."""
    if slope is None or other.shape[0] == 0:
        return
    near = rows.clamp_min(0)
    pull = (points - other.index_select(0, near)) * (2 * slope).masked_fill(rows < 0, 0.0).unsqueeze(1)
    into += pull
    onto.index_add_(0, near, pull, alpha=-1)


def _fake_one_way(xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor) -> tuple[Tensor, Tensor]:
    return xyz.new_empty(xyz.shape[0]), xyz.new_empty(xyz.shape[0], dtype=torch.int32)


_CLOUDS = "Tensor xyz, Tensor offset, Tensor new_xyz, Tensor new_offset"
_pair = _register.differentiable(
    f"nearest_pair({_CLOUDS}) -> (Tensor, Tensor, Tensor, Tensor)", _run, _fake, _save, _backward
)
_one_way = _register.differentiable(
    f"nearest_point({_CLOUDS}) -> (Tensor, Tensor)", _run_one_way, _fake_one_way, _save_one_way, _backward_one_way
)
