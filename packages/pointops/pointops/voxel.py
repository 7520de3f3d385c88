"""Voxel grids: cells, the field's 64-bit hash, and one number per occupied voxel.

Cells are floor((x - start) / size) in float32, as in the voxel subsampling of Point Transformer and Stratified
Transformer (util/voxelize.py there; nothing copied).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pointops import _check, _points, _register
from pointops.offsets import offset2batch

ORIGINS = ("scene", "batch", "zero")
FNV_BASIS = 14695981039346656037
FNV_PRIME = 1099511628211
_Parts = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # of VoxelGrid


class VoxelGrid(NamedTuple):
    """Which voxel every point is in.

    Attributes:
        voxel: (N,) int64 number of each point's voxel, 0..V-1, ordered by scene, then cell (x, y, z).
        order: (N,) int64 rows sorted by voxel; equal voxels keep their row order.
        offset: (V,) int64 ends of the voxels in ``order``.
        cell: (V, 3) int64 cell of each voxel.
        scene: (V,) int64 scene of each voxel.
    """

    voxel: Tensor
    order: Tensor
    offset: Tensor
    cell: Tensor
    scene: Tensor


def voxel_cells(xyz: Tensor, offset: Tensor | None, size: float | Tensor, *, start: str | Tensor = "scene") -> Tensor:
    """(N, 3) int64 cells, floor((xyz - start) / size) in float32.

    Args:
        xyz: (N, 3) float32. Also taken: (B, N, 3) with ``offset`` None, half precision under autocast, and float64,
            from which ``start`` is subtracted before it is rounded to float32.
        offset: (B,) cumulative ends.
        size: metres, one number or (3,).
        start: ``scene`` (each scene's minimum), ``batch`` (the minimum of all), ``zero``, or a (3,) or (N, 3) tensor.
    """
    xyz, offset = _points.flat(xyz, offset)
    xyz = _check.points("xyz", xyz, double=True)
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    size = torch.as_tensor(size, dtype=torch.float32, device=xyz.device)
    if size.shape not in ((), (3,)) or not bool((size > 0).all()):
        raise ValueError(f"size must be positive, one number or three, not {size.tolist()}")
    if isinstance(start, str):
        _check.choice("start", start, ORIGINS)
        start = _start(xyz, offset, ends, start)
    cells = torch.floor((xyz - start.to(xyz)).float() / size)
    if cells.numel() and float(cells.abs().max()) >= 2**31:
        raise ValueError("size is so small that cell numbers exceed int32")
    return cells.long()


def voxel_hash(cells: Tensor) -> Tensor:
    """(N,) int64 holding the unsigned 64-bit FNV hash of (N, D) integer cells: h = h * prime, then xor, per axis."""
    if cells.ndim != 2 or cells.is_floating_point():
        raise ValueError(f"cells must be an (N, D) integer tensor, not {cells.dtype} {tuple(cells.shape)}")
    basis = FNV_BASIS - (1 << 64)
    value = torch.full((cells.shape[0],), basis, dtype=torch.int64, device=cells.device)
    for axis in cells.long().unbind(1):
        value = (value * FNV_PRIME) ^ axis  # int64 wraps around like uint64
    return value


def voxel_grid(xyz: Tensor, offset: Tensor | None, size: float | Tensor, *, start: str | Tensor = "scene") -> VoxelGrid:
    """Partition the points of each scene into voxels. Arguments as :func:`voxel_cells`; no gradient."""
    xyz, offset = _points.flat(xyz, offset)
    if not isinstance(start, (Tensor, str)):
        raise ValueError(f"start must be one of {', '.join(ORIGINS)} or a tensor, not {start!r}")
    corner, origin = (start, "zero") if isinstance(start, Tensor) else (None, start)
    edges = torch.as_tensor(size, dtype=torch.float32, device=xyz.device)
    return VoxelGrid(*_grid(xyz, offset, edges, origin, corner))


def _run(xyz: Tensor, offset: Tensor, size: Tensor, origin: str, corner: Tensor | None) -> _Parts:
    cells = voxel_cells(xyz, offset, size, start=origin if corner is None else corner)
    rows = torch.cat([offset2batch(offset).unsqueeze(1), cells], 1)
    if rows.shape[0] == 0:
        return rows.new_zeros(0), rows.new_zeros(0), rows.new_zeros(0), rows.new_zeros(0, 3), rows.new_zeros(0)
    low = rows.amin(0)
    span = rows.amax(0) - low + 1
    if math.prod(span.tolist()) >= 2**62:
        raise ValueError("size is so small that the grid has more cells than int64 can number")
    key = torch.zeros_like(rows[:, 0])
    for axis in range(4):
        key = key * span[axis] + (rows[:, axis] - low[axis])
    _, voxel, counts = torch.unique(key, return_inverse=True, return_counts=True)
    order = torch.argsort(voxel, stable=True)
    ends = counts.cumsum(0)
    first = rows[order[ends - counts]]
    return voxel, order, ends, first[:, 1:].contiguous(), first[:, 0].contiguous()


def _fake(xyz: Tensor, offset: Tensor, size: Tensor, origin: str, corner: Tensor | None) -> _Parts:
    voxels = torch.library.get_ctx().new_dynamic_size()
    shapes = ((xyz.shape[0],), (xyz.shape[0],), (voxels,), (voxels, 3), (voxels,))
    return tuple(xyz.new_empty(shape, dtype=torch.int64) for shape in shapes)  # pyright: ignore[reportReturnType]


_grid = _register.operation(
    "voxel_grid(Tensor xyz, Tensor offset, Tensor size, str origin, Tensor? corner)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _run,
    _fake,
)


def _start(xyz: Tensor, offset: Tensor, ends: list[int], start: str) -> Tensor:
    if start == "zero" or xyz.shape[0] == 0:
        return xyz.new_zeros(3)
    if start == "batch":
        return xyz.amin(0)
    low = [0, *ends][:-1]
    corner = torch.stack([xyz[a:b].amin(0) if b > a else xyz.new_zeros(3) for a, b in zip(low, ends, strict=True)])
    return corner[offset2batch(offset)]
