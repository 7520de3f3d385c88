"""k nearest neighbors inside each scene of a packed batch.

Names, argument order and the square root on return are those of Pointcept's ``pointops.knn_query`` (MIT);
nothing is copied. Distances are float32, (dx*dx + dy*dy) + dz*dz without fused multiply-add; neighbors are
sorted by (squared distance, row number), so every back end returns the same rows.
"""

from __future__ import annotations

from typing import SupportsIndex

import torch
from torch import Tensor

from pointops import _check, _gpu, _native, _points, _register
from pointops._distance import MISSING_DISTANCE, root, squared_distances
from pointops.gather import gather_rows
from pointops.index import Index, handle

MISSING = ("minus_one", "first_point", "refuse")
_CHUNK = 1 << 24  # distance-matrix entries alive at once in the reference
_BLOCK = 1 << 18  # the same where there are more axes than three: they are summed one after the other, in the cache


def knn_query(
    nsample: SupportsIndex,
    xyz: Tensor,
    offset: Tensor | None,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
    *,
    missing: str = "minus_one",
    index: Index | None = None,
    new_index: Index | None = None,
    distances: bool = True,
    differentiable: bool = False,
) -> tuple[Tensor, Tensor]:
    """The ``nsample`` points of ``xyz`` nearest to each query of the same scene, nearest first.

    Args:
        nsample: k, at least 1, of any integer type.
        xyz: (N, 3) float32 points to search. Any other number of axes D will do: up to two cost as much as three, more
            (feature spaces) are searched by plain distances, a block at a time. Also taken: (B, N, D) with ``offset``
            None, float64, and half precision under autocast; see :mod:`pointops._points`.
        offset: (B,) int32 or int64 cumulative ends of ``xyz``.
        new_xyz: (M, D) queries; None searches ``xyz`` for itself (each point then finds itself).
        new_offset: (B,) cumulative ends of ``new_xyz``.
        missing: what stands for a neighbor that a scene of fewer than k points does not have:
            ``minus_one`` (-1, as Pointcept), ``first_point`` (the scene's first row, as POSTECH; -1 if the scene
            is empty), ``refuse`` (ValueError). The distance is 1e5 in either case.
        index: of ``xyz``, if several calls search these points. A call with an index is not seen by ``torch.compile``.
        new_index: of ``new_xyz``, likewise.
        distances: False saves their time and memory where only rows are wanted; such a call is not seen by
            ``torch.compile`` either.
        differentiable: let gradients flow from the distances to ``xyz`` and ``new_xyz``; at distance 0 they are 0.

    Returns:
        idx: (M, k) int32 rows of ``xyz``.
        dist: (M, k) float32 distances (square root taken); (0,) without ``distances``.
    """
    xyz, offset, new_xyz, new_offset = _points.clouds(xyz, offset, new_xyz, new_offset)
    _check.choice("missing", missing, MISSING)
    nsample = _check.integer("nsample", nsample)
    _check.same_device("new_xyz", new_xyz, "xyz", xyz)
    if differentiable and not distances:
        raise ValueError("differentiable distances need distances=True")
    points = (xyz.detach(), offset, new_xyz.detach() if new_xyz is not xyz else xyz.detach(), new_offset)
    if index is not None or new_index is not None or not distances:
        idx, dist = _run(*points, nsample, missing, index, new_index, distances)
        return idx, dist if distances else dist.new_empty(0)
    idx, dist = _knn(*points, nsample, missing)
    return idx, _with_gradient(dist, idx, xyz, new_xyz) if differentiable else dist


def knn_query_reference(
    nsample: int,
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
    *,
    missing: str = "minus_one",
) -> tuple[Tensor, Tensor]:
    """What ``knn_query`` means: all distances of a scene, sorted by (squared distance, row)."""
    if new_xyz is None or new_offset is None:
        new_xyz, new_offset = xyz, offset
    xyz, ends, new_xyz, new_ends = _checked(nsample, xyz, offset, new_xyz, new_offset, missing)
    chunk = _CHUNK if xyz.shape[1] <= 3 else _BLOCK
    idx = torch.full((new_xyz.shape[0], nsample), -1, dtype=torch.int32, device=xyz.device)
    dist = torch.full((new_xyz.shape[0], nsample), MISSING_DISTANCE, device=xyz.device)
    starts, new_starts = [0, *ends][:-1], [0, *new_ends][:-1]
    for start, end, new_start, new_end in zip(starts, ends, new_starts, new_ends, strict=True):
        if end == start:
            continue
        step = max(1, chunk // (end - start))
        for low in range(new_start, new_end, step):
            rows = slice(low, min(low + step, new_end))
            near, distance2 = nearest_by_key(squared_distances(new_xyz[rows], xyz[start:end]), nsample)
            idx[rows, : near.shape[1]] = (near + start).int()
            dist[rows, : near.shape[1]] = root(distance2)
            if missing == "first_point":
                idx[rows, near.shape[1] :] = start
    return idx, dist


def nearest_by_key(distance2: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The min(k, N) smallest entries of each row of (M, N), ties to the lower column.

    A non-negative float32 orders like its bit pattern, so (bits, column) packs into one int64 key.
    """
    columns = torch.arange(distance2.shape[1], device=distance2.device)
    key = (distance2.contiguous().view(torch.int32).long() << 32) | columns
    key = key.topk(min(k, distance2.shape[1]), dim=1, largest=False, sorted=True).values
    return key & 0xFFFFFFFF, (key >> 32).int().view(torch.float32)


def _checked(
    nsample: int, xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor, missing: str, values: bool = True
) -> tuple[Tensor, list[int], Tensor, list[int]]:
    _check.integer("nsample", nsample)
    same = new_xyz is xyz or (
        new_xyz.data_ptr() == xyz.data_ptr() and new_xyz.shape == xyz.shape and new_xyz.stride() == xyz.stride()
    )
    xyz = _check.points("xyz", xyz, values, axes=None)
    new_xyz = xyz if same else _check.points("new_xyz", new_xyz, values, axes=xyz.shape[1])
    _check.same_device("new_xyz", new_xyz, "xyz", xyz)
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    new_ends = (
        ends if same and new_offset is offset else _check.ends("new_offset", new_offset, new_xyz.shape[0], "new_xyz")
    )
    _check.same_scenes("new_offset", new_ends, "offset", ends)
    if missing == "refuse":
        for scene, (low, high, new_low, new_high) in enumerate(
            zip([0, *ends][:-1], ends, [0, *new_ends][:-1], new_ends, strict=True)
        ):
            if new_high > new_low and high - low < nsample:
                raise ValueError(f"nsample is {nsample}, but scene {scene} of xyz has only {high - low} points")
    return xyz, ends, new_xyz, new_ends


def _run(
    xyz: Tensor,
    offset: Tensor,
    query: Tensor,
    query_offset: Tensor,
    nsample: int,
    missing: str,
    index: Index | None = None,
    new_index: Index | None = None,
    distances: bool = True,
) -> tuple[Tensor, Tensor]:
    if xyz.ndim == 2 and 0 < xyz.shape[1] < 3 and query.shape[1:] == xyz.shape[1:]:  # zeros add nothing
        own, xyz = query.data_ptr() == xyz.data_ptr() and query.shape == xyz.shape, _with_zeros(xyz)
        query = xyz if own else _with_zeros(query)
    if _gpu.serves(xyz) and xyz.shape[1:] == (3,):
        xyz, ends, query, query_ends = _checked(nsample, xyz, offset, query, query_offset, missing)
        return _gpu.knn(xyz, ends, query, query_ends, nsample, missing)
    if xyz.device.type != "cpu" or _native.library() is None or (xyz.ndim == 2 and xyz.shape[1] > 3):
        return knn_query_reference(nsample, xyz, offset, query, query_offset, missing=missing)
    xyz, ends, query, query_ends = _checked(nsample, xyz, offset, query, query_offset, missing, values=False)
    idx, dist = _fake(xyz, offset, query, query_offset, nsample, missing)
    _native.call(
        "pointops_knn",
        xyz,
        ends,
        len(ends),
        handle("index", index, "xyz", xyz, ends),
        query,
        query_ends,
        handle("new_index", new_index, "new_xyz", query, query_ends),
        nsample,
        int(missing == "first_point"),
        _native.threads(),
        idx,
        dist if distances else None,
    )
    return idx, dist


def _with_zeros(xyz: Tensor) -> Tensor:
    """(N, 3) points from (N, 1) or (N, 2)."""
    return torch.nn.functional.pad(xyz, (0, 3 - xyz.shape[1]))


def _with_gradient(distance: Tensor, idx: Tensor, xyz: Tensor, new_xyz: Tensor) -> Tensor:
    """``distance``, bit for bit, with the gradient of |new_xyz - xyz[idx]|."""
    distance2 = (new_xyz.unsqueeze(1) - gather_rows(xyz, idx)).square().sum(-1)
    still = (distance2 == 0) | (distance == MISSING_DISTANCE)
    again = distance2.masked_fill(still, 1.0).sqrt().masked_fill(still, 0.0)
    return distance + (again - again.detach())


def _fake(
    xyz: Tensor, offset: Tensor, query: Tensor, query_offset: Tensor, nsample: int, missing: str
) -> tuple[Tensor, Tensor]:
    shape = (query.shape[0], nsample)
    return query.new_empty(shape, dtype=torch.int32), query.new_empty(shape)


_knn = _register.operation(
    "knn(Tensor xyz, Tensor offset, Tensor query, Tensor query_offset, int nsample, str missing) -> (Tensor, Tensor)",
    _run,
    _fake,
)
