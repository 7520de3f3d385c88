"""Neighbors within a radius, inside each scene of a packed batch.

Names, argument order and the -1 that fills short balls are those of Pointcept's ``pointops.ball_query`` (MIT). Which
hits are kept of too many is VoteNet's rule (facebookresearch/votenet, MIT): strict "<", the first ``nsample`` in row
order; VoteNet itself repeats the first hit, ``padding="first_hit"``. Pointcept's own kernel thins up to 2,048
candidates evenly and has visible defects; it is not reproduced.
"""

from __future__ import annotations

from typing import SupportsIndex

import numpy as np
import torch
from torch import Tensor

from pointops import _check, _native, _points, _register
from pointops._distance import MISSING_DISTANCE, root, squared_distances
from pointops.index import Index, handle
from pointops.knn import nearest_by_key

ORDERS = ("index", "nearest")
PADDINGS = ("minus_one", "first_hit")
_CHUNK = 1 << 23


def ball_query(
    nsample: SupportsIndex,
    max_radius: float,
    min_radius: float,
    xyz: Tensor,
    offset: Tensor | None,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
    *,
    order: str = "index",
    padding: str = "minus_one",
    inclusive: bool = False,
    index: Index | None = None,
    new_index: Index | None = None,
    distances: bool = True,
) -> tuple[Tensor, Tensor]:
    """Up to ``nsample`` points of ``xyz`` around each query of the same scene.

    A point is a hit when min_radius^2 <= d^2 < max_radius^2, or d = 0; radii are squared in float32.

    Args:
        nsample: most hits kept, at least 1, of any integer type.
        max_radius: metres, positive.
        min_radius: metres, at least 0 and below ``max_radius``.
        xyz: (N, 3) float32 points to search. Also taken: (B, N, 3) with ``offset`` None, float64, and half precision
            under autocast; see :mod:`pointops._points`.
        offset: (B,) cumulative ends of ``xyz``.
        new_xyz: (M, 3) float32 queries; None searches ``xyz`` for itself.
        new_offset: (B,) cumulative ends of ``new_xyz``.
        order: ``index`` keeps the first hits in row order (VoteNet), ``nearest`` the nearest, sorted by (d^2, row).
        padding: ``minus_one`` gives -1 for every entry beyond the hits (Pointcept); ``first_hit`` repeats the first
            kept hit, and an empty ball gives the scene's first row (VoteNet).
        inclusive: compare with "<=" at ``max_radius`` (torch-points-kernels on CUDA).
        index: of ``xyz``, if several calls search these points. A call with an index is not seen by ``torch.compile``.
        new_index: of ``new_xyz``, likewise.
        distances: False saves their time and memory where only rows are wanted; such a call is not seen by
            ``torch.compile`` either.

    Returns:
        idx: (M, nsample) int32 rows of ``xyz``, -1 where there is nothing (with ``first_hit``: in an empty scene only).
        dist: (M, nsample) float32 distances; a missing entry has 1e5, a repeated hit repeats its distance.
            (0,) without ``distances``.
    """
    xyz, offset, new_xyz, new_offset = _points.clouds(xyz, offset, new_xyz, new_offset)
    nsample = _check.integer("nsample", nsample)
    _check.choice("order", order, ORDERS)
    _check.choice("padding", padding, PADDINGS)
    _check.same_device("new_xyz", new_xyz, "xyz", xyz)
    query = xyz if new_xyz is xyz else new_xyz
    points = (xyz.detach(), offset, query.detach(), new_offset)
    options = (float(max_radius), float(min_radius), order, padding, inclusive)
    if index is not None or new_index is not None or not distances:
        idx, dist = _run(*points, nsample, *options, index, new_index, distances)
        return idx, dist if distances else dist.new_empty(0)
    return _ball(*points, nsample, *options)


def ball_query_reference(
    nsample: int,
    max_radius: float,
    min_radius: float,
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
    *,
    order: str = "index",
    padding: str = "minus_one",
    inclusive: bool = False,
) -> tuple[Tensor, Tensor]:
    """What ``ball_query`` means: all distances of a scene, compared one by one."""
    if new_xyz is None or new_offset is None:
        new_xyz, new_offset = xyz, offset
    xyz, ends, new_xyz, new_ends = checked(
        nsample, max_radius, min_radius, xyz, offset, new_xyz, new_offset, order, padding
    )
    idx = torch.full((new_xyz.shape[0], nsample), -1, dtype=torch.int32, device=xyz.device)
    dist = torch.full((new_xyz.shape[0], nsample), MISSING_DISTANCE, device=xyz.device)
    for start, end, new_start, new_end in zip([0, *ends][:-1], ends, [0, *new_ends][:-1], new_ends, strict=True):
        if end == start:
            continue
        step = max(1, _CHUNK // (end - start))
        for low in range(new_start, new_end, step):
            rows = slice(low, min(low + step, new_end))
            distance2 = squared_distances(new_xyz[rows], xyz[start:end])
            hit = is_hit(distance2, max_radius, min_radius, inclusive)
            idx[rows], dist[rows] = _keep(distance2, hit, nsample, order, padding, start)
    return idx, dist


def random_ball_query(
    nsample: SupportsIndex,
    max_radius: float,
    min_radius: float,
    xyz: Tensor,
    offset: Tensor | None,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
    *,
    padding: str = "minus_one",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """As :func:`ball_query`, keeping the first hits of a random order of each scene's points.

    Args:
        generator: source of the one random order per scene, shared by its queries (None: torch's default).
    """
    xyz, offset, new_xyz, new_offset = _points.clouds(xyz, offset, new_xyz, new_offset)
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    device = "cpu" if generator is None else generator.device
    parts = [
        torch.randperm(end - start, generator=generator, device=device) + start
        for start, end in zip([0, *ends][:-1], ends, strict=True)
    ]
    shuffled = torch.cat([torch.empty(0, dtype=torch.int64, device=device), *parts]).to(xyz.device)
    idx, dist = ball_query(nsample, max_radius, min_radius, xyz[shuffled], offset, new_xyz, new_offset, padding=padding)
    rows = torch.cat([shuffled.int(), shuffled.new_full((1,), -1, dtype=torch.int32)])  # row -1 stays -1
    return rows[idx.long()], dist


def is_hit(distance2: Tensor, max_radius: float, min_radius: float, inclusive: bool) -> Tensor:
    """Which float32 squared distances lie between the radii, squared in float32."""
    upper, lower = (float(np.square(np.float32(radius))) for radius in (max_radius, min_radius))
    below = distance2 <= upper if inclusive else distance2 < upper
    return (below & (distance2 >= lower)) | (distance2 == 0)


def checked(
    nsample: int,
    max_radius: float,
    min_radius: float,
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor,
    new_offset: Tensor,
    order: str,
    padding: str,
    values: bool = True,
) -> tuple[Tensor, list[int], Tensor, list[int]]:
    """Contiguous points and integer ends, or ValueError."""
    _check.integer("nsample", nsample)
    if not 0 < max_radius < _check.MAX_COORDINATE:
        raise ValueError(f"max_radius must be positive and finite, not {max_radius}")
    if not 0 <= min_radius < max_radius:
        raise ValueError(f"min_radius must be at least 0 and below max_radius ({max_radius}), not {min_radius}")
    _check.choice("order", order, ORDERS)
    _check.choice("padding", padding, PADDINGS)
    same = new_xyz is xyz
    xyz = _check.points("xyz", xyz, values)
    new_xyz = xyz if same else _check.points("new_xyz", new_xyz, values)
    _check.same_device("new_xyz", new_xyz, "xyz", xyz)
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    new_ends = _check.ends("new_offset", new_offset, new_xyz.shape[0], "new_xyz")
    _check.same_scenes("new_offset", new_ends, "offset", ends)
    return xyz, ends, new_xyz, new_ends


def _keep(distance2: Tensor, hit: Tensor, nsample: int, order: str, padding: str, start: int) -> tuple[Tensor, Tensor]:
    """The kept hits of one block of queries: rows of the batch (m, nsample) and distances."""
    queries, count = distance2.shape
    if order == "index":
        columns = torch.arange(count, device=hit.device).expand(queries, count)
        column = columns.masked_fill(~hit, count).topk(min(nsample, count), dim=1, largest=False, sorted=True).values
        missing = column == count
        distance = root(distance2.gather(1, column.clamp(max=count - 1)))
    else:
        column, near2 = nearest_by_key(distance2.masked_fill(~hit, torch.inf), nsample)
        missing, distance = near2.isinf(), root(near2)
    idx = torch.full((queries, nsample), -1, dtype=torch.int32, device=hit.device)
    dist = torch.full((queries, nsample), MISSING_DISTANCE, device=hit.device)
    kept = column.shape[1]
    idx[:, :kept] = (column + start).int().masked_fill(missing, -1)
    dist[:, :kept] = distance.masked_fill(missing, MISSING_DISTANCE)
    if padding == "first_hit":
        empty = idx[:, :1] < 0
        idx = torch.where(idx < 0, idx[:, :1].masked_fill(empty, start), idx)
        dist = torch.where(dist == MISSING_DISTANCE, dist[:, :1], dist)
    return idx, dist


def _run(
    xyz: Tensor,
    offset: Tensor,
    query: Tensor,
    query_offset: Tensor,
    nsample: int,
    max_radius: float,
    min_radius: float,
    order: str,
    padding: str,
    inclusive: bool,
    index: Index | None = None,
    new_index: Index | None = None,
    distances: bool = True,
) -> tuple[Tensor, Tensor]:
    if xyz.device.type != "cpu" or _native.library() is None:
        return ball_query_reference(
            nsample,
            max_radius,
            min_radius,
            xyz,
            offset,
            query,
            query_offset,
            order=order,
            padding=padding,
            inclusive=inclusive,
        )
    xyz, ends, query, query_ends = checked(
        nsample, max_radius, min_radius, xyz, offset, query, query_offset, order, padding, values=False
    )
    idx, dist = _fake(xyz, offset, query, query_offset, nsample)
    low2, high2 = (float(np.square(np.float32(radius))) for radius in (min_radius, max_radius))
    _native.call(
        "pointops_ball",
        xyz,
        ends,
        len(ends),
        handle("index", index, "xyz", xyz, ends),
        query,
        query_ends,
        handle("new_index", new_index, "new_xyz", query, query_ends),
        nsample,
        low2,
        high2,
        int(inclusive),
        int(order == "nearest"),
        int(padding == "first_hit"),
        _native.threads(),
        idx,
        dist if distances else None,
    )
    return idx, dist


def _fake(
    xyz: Tensor, offset: Tensor, query: Tensor, query_offset: Tensor, nsample: int, *options: object
) -> tuple[Tensor, Tensor]:
    shape = (query.shape[0], nsample)
    return query.new_empty(shape, dtype=torch.int32), query.new_empty(shape)


_ball = _register.operation(
    "ball(Tensor xyz, Tensor offset, Tensor query, Tensor query_offset, int nsample, float max_radius, "
    "float min_radius, str order, str padding, bool inclusive) -> (Tensor, Tensor)",
    _run,
    _fake,
)
