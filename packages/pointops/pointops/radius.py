"""All neighbors within a radius, as ragged lists: no cap, no padding, and if wanted a radius for each query."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pointops import _check, _native, _points, _register
from pointops._distance import root, squared_distances
from pointops.ball_query import ORDERS
from pointops.index import Index, handle

_CHUNK = 1 << 23  # distance-matrix entries alive at once in the reference


class Ragged(NamedTuple):
    """Lists of different lengths, end to end; the functions of segments (:mod:`pointops.segment`) take ``offset``.

    Attributes:
        offset: (M,) int64 end of each query's list.
        index: (P,) int32 rows.
        distance: (P,) float32 distances, metres.
    """

    offset: Tensor
    index: Tensor
    distance: Tensor


def radius_search(
    radius: float | Tensor,
    xyz: Tensor,
    offset: Tensor | None,
    new_xyz: Tensor | None = None,
    new_offset: Tensor | None = None,
    *,
    order: str = "index",
    inclusive: bool = False,
    index: Index | None = None,
) -> Ragged:
    """Every point of ``xyz`` around each query of the same scene; no gradient.

    A point is a hit when d^2 < radius^2, or d = 0; radii are squared in float32.

    Args:
        radius: metres, at least 0: one number, or (M,) one for each query.
        xyz: (N, 3) float32 points to search. Also taken: (B, N, 3) with ``offset`` None, float64, and half precision
            under autocast; see :mod:`pointops._points`.
        offset: (B,) cumulative ends of ``xyz``.
        new_xyz: (M, 3) float32 queries; None searches ``xyz`` for itself.
        new_offset: (B,) cumulative ends of ``new_xyz``.
        order: of each list: ``index`` by row, ``nearest`` by (d^2, row).
        inclusive: compare with "<=".
        index: of ``xyz``, if several calls search these points. A call with an index is not seen by ``torch.compile``.

    Raises:
        ValueError: bad points, offsets or options, or radii that are negative, not finite, or not one for each query.
    """
    xyz, offset, new_xyz, new_offset = _points.clouds(xyz, offset, new_xyz, new_offset)
    _check.choice("order", order, ORDERS)
    _check.same_device("new_xyz", new_xyz, "xyz", xyz)
    radii = torch.as_tensor(radius, dtype=torch.float32, device=new_xyz.device).detach()
    if radii.shape not in ((), new_xyz.shape[:1]):
        raise ValueError(f"radius must be one number or ({new_xyz.shape[0]},), not {tuple(radii.shape)}")
    if radii.device.type == "cpu" and not bool(((radii >= 0) & (radii <= _check.MAX_COORDINATE)).all()):
        raise ValueError(f"radius must be at least 0 and at most {_check.MAX_COORDINATE:g}")
    points = (xyz.detach(), offset, new_xyz.detach(), new_offset, radii.expand(new_xyz.shape[:1]).contiguous())
    if index is not None:
        return Ragged(*_run(*points, order, inclusive, index))
    return Ragged(*_search(*points, order, inclusive))


def radius_search_reference(
    radii: Tensor,
    xyz: Tensor,
    offset: Tensor,
    new_xyz: Tensor,
    new_offset: Tensor,
    *,
    order: str = "index",
    inclusive: bool = False,
) -> Ragged:
    """What ``radius_search`` means, for (M,) radii: all distances of a scene, compared one by one."""
    xyz, ends, new_xyz, new_ends = _checked(xyz, offset, new_xyz, new_offset)
    counts, rows, distances2 = [], [], []
    for start, end, low, high in zip([0, *ends][:-1], ends, [0, *new_ends][:-1], new_ends, strict=True):
        step = max(1, _CHUNK // max(1, end - start))
        for at in range(low, high, step):
            block = slice(at, min(at + step, high))
            distance2 = squared_distances(new_xyz[block], xyz[start:end])
            limit = radii[block].square().unsqueeze(1)
            hit = ((distance2 <= limit) if inclusive else (distance2 < limit)) | (distance2 == 0)
            query, row = hit.nonzero().unbind(1)
            near = distance2[query, row]
            if order == "nearest":
                sort = torch.argsort(near, stable=True)
                sort = sort[torch.argsort(query[sort], stable=True)]
                row, near = row[sort], near[sort]
            counts.append(hit.sum(1))
            rows.append((row + start).int())
            distances2.append(near)
    none = torch.empty(0, dtype=torch.int64, device=xyz.device)
    ends_of_lists = torch.cat([none, *counts]).cumsum(0)
    return Ragged(ends_of_lists, torch.cat([none.int(), *rows]), root(torch.cat([xyz.new_empty(0), *distances2])))


def _checked(
    xyz: Tensor, offset: Tensor, new_xyz: Tensor, new_offset: Tensor, values: bool = True
) -> tuple[Tensor, list[int], Tensor, list[int]]:
    """Contiguous points and integer ends, or ValueError."""
    xyz, new_xyz = _check.points("xyz", xyz, values), _check.points("new_xyz", new_xyz, values)
    ends = _check.ends("offset", offset, xyz.shape[0], "xyz")
    new_ends = _check.ends("new_offset", new_offset, new_xyz.shape[0], "new_xyz")
    _check.same_scenes("new_offset", new_ends, "offset", ends)
    return xyz, ends, new_xyz, new_ends


def _run(
    xyz: Tensor,
    offset: Tensor,
    query: Tensor,
    query_offset: Tensor,
    radii: Tensor,
    order: str,
    inclusive: bool,
    index: Index | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    if xyz.device.type != "cpu" or _native.library() is None:
        return radius_search_reference(radii, xyz, offset, query, query_offset, order=order, inclusive=inclusive)
    xyz, ends, query, query_ends = _checked(xyz, offset, query, query_offset, values=False)
    trees = handle("index", index, "xyz", xyz, ends)
    asked = (xyz, ends, len(ends), trees, query, query_ends, radii.square(), int(inclusive))
    count = torch.empty(query.shape[0], dtype=torch.int64)
    _native.call("pointops_radius_count", *asked, _native.threads(), count)
    lists = count.cumsum(0)
    total = int(lists[-1]) if lists.numel() else 0
    if total > _check.MAX_ROWS:
        raise ValueError(f"radius is so large that there are {total} hits; at most {_check.MAX_ROWS} are possible")
    idx, distance = torch.empty(total, dtype=torch.int32), xyz.new_empty(total)
    how = (int(order == "nearest"), _native.threads())
    _native.call("pointops_radius_fill", *asked, *how, lists - count, idx, distance)
    return lists, idx, distance


def _fake(
    xyz: Tensor, offset: Tensor, query: Tensor, query_offset: Tensor, radii: Tensor, order: str, inclusive: bool
) -> tuple[Tensor, Tensor, Tensor]:
    size = torch.library.get_ctx().new_dynamic_size()
    return (
        query.new_empty(query.shape[0], dtype=torch.int64),
        query.new_empty(size, dtype=torch.int32),
        query.new_empty(size),
    )


_search = _register.operation(
    "radius(Tensor xyz, Tensor offset, Tensor query, Tensor query_offset, Tensor radii, str order, bool inclusive)"
    " -> (Tensor, Tensor, Tensor)",
    _run,
    _fake,
)
