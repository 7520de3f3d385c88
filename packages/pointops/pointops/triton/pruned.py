# Triton gives its kernels no types:
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportIndexIssue=false
"""Exact nearest neighbors in large clouds: only the blocks of points that can hold one are looked at.

Both clouds are sorted along a z-order curve. Runs of ``SUPPORT`` points are blocks with a bounding box, runs of
``QUERIES`` queries are a program's. A program starts in the block at its own place on the curve, then takes whatever
block lies, by its box, no farther than what it has found, the closest first. Blocks fit themselves to how dense a scan
is, which the cells of a grid do not.

Rounding loses nothing: the distance to a box is made by the steps of the distance to a point, and each of them is
monotonous. Keys, and so ties, are those of :mod:`pointops.triton.search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from pointops.serialization import curve_code
from pointops.transfer import to_device
from pointops.triton.search import NONE

QUERIES, SUPPORT, BLOCKS = 16, 64, 64  # of a program: queries, points of a block, boxes read at once
DEPTH = 10  # bits of the curve along an axis
FROM = 8192  # points of the largest scene from which sorting pays; reckoned by operations, not measured on a GPU


@triton.jit
def _gap(low, high, at):
    """Along one axis from (QUERIES,) places to (BLOCKS,) intervals; 0 within."""
    return tl.maximum(tl.maximum(low[None, :] - at[:, None], at[:, None] - high[None, :]), 0.0)


@triton.jit
def _block(xyz, row, x, y, z, asked, block, high, SUPPORT: tl.constexpr):
    """(QUERIES,) the smallest key of a block, which begins at point ``block``; its scene ends at ``high``."""
    p = block + tl.arange(0, SUPPORT)
    there = p < high
    dx = x[:, None] - tl.load(xyz + 3 * p, there, 0.0)[None, :]
    dy = y[:, None] - tl.load(xyz + 3 * p + 1, there, 0.0)[None, :]
    dz = z[:, None] - tl.load(xyz + 3 * p + 2, there, 0.0)[None, :]
    d2 = (dx * dx + dy * dy) + dz * dz
    key = (d2.to(tl.int32, bitcast=True).to(tl.int64) << 32) | tl.load(row + p, there, 0).to(tl.int64)[None, :]
    return tl.min(tl.where(asked[:, None] & there[None, :], key, 0x7F8000007FFFFFFF), 1)


@triton.jit
def pruned_kernel(
    xyz, row, boxes, query, near, bounds, out, QUERIES: tl.constexpr, SUPPORT: tl.constexpr, BLOCKS: tl.constexpr
):
    """out[q] = the smallest key of sorted query q.

    ``bounds`` holds (first query, end, first point, end, first block) of each scene, ``row`` the number of each sorted
    point before sorting, ``boxes`` (6, blocks) least and greatest coordinates, ``near`` the block at a query's place.
    """
    bound = bounds + 5 * tl.program_id(1)
    query_high, low, high = tl.load(bound + 1), tl.load(bound + 2), tl.load(bound + 3)
    first_block, all_blocks = tl.load(bound + 4), tl.load(bounds + 5 * tl.num_programs(1))
    first = tl.load(bound) + tl.program_id(0) * QUERIES
    q = first + tl.arange(0, QUERIES)
    asked = q < query_high
    x, y, z = (tl.load(query + 3 * q, asked, 0.0), tl.load(query + 3 * q + 1, asked, 0.0),
               tl.load(query + 3 * q + 2, asked, 0.0))  # fmt: skip
    start = tl.load(near + first, first < query_high, 0)
    count = tl.where(first < query_high, (high - low + SUPPORT - 1) // SUPPORT, 0)
    best = _block(xyz, row, x, y, z, asked, low + start * SUPPORT, high, SUPPORT)
    for at in range(0, count, BLOCKS):
        b = at + tl.arange(0, BLOCKS)
        box = boxes + first_block + b
        known = (b < count) & (b != start)
        dx = _gap(tl.load(box, known, 0.0), tl.load(box + 3 * all_blocks, known, 0.0), x)
        dy = _gap(tl.load(box + all_blocks, known, 0.0), tl.load(box + 4 * all_blocks, known, 0.0), y)
        dz = _gap(tl.load(box + 2 * all_blocks, known, 0.0), tl.load(box + 5 * all_blocks, known, 0.0), z)
        gap = ((dx * dx + dy * dy) + dz * dz).to(tl.int32, bitcast=True)
        gap = tl.where(asked[:, None] & known[None, :], gap, 0x7FFFFFFF)
        reach = tl.min(tl.where(gap <= (best >> 32).to(tl.int32)[:, None], gap, 0x7FFFFFFF), 0)
        closest = tl.min(reach, 0)
        while closest < 0x7FFFFFFF:
            chosen = tl.min(tl.where(reach == closest, b, 0x7FFFFFFF), 0)
            best = tl.minimum(best, _block(xyz, row, x, y, z, asked, low + chosen * SUPPORT, high, SUPPORT))
            gap = tl.where((b == chosen)[None, :], 0x7FFFFFFF, gap)
            reach = tl.min(tl.where(gap <= (best >> 32).to(tl.int32)[:, None], gap, 0x7FFFFFFF), 0)
            closest = tl.min(reach, 0)
    tl.store(out + q, best, asked)


class Sorted(NamedTuple):
    """A cloud along the curve, scene by scene: points (N, 3), rows before (N,) int32, keys of the curve (N,) int64."""

    xyz: Tensor
    row: Tensor
    key: Tensor
    ends: Sequence[int]


def pays(ends: Sequence[int], other_ends: Sequence[int]) -> bool:
    """Whether the largest scenes of both clouds are large enough."""
    largest = (max((b - a for a, b in zip([0, *e][:-1], e, strict=True)), default=0) for e in (ends, other_ends))
    return min(largest) >= FROM


def sort_pair(xyz: Tensor, ends: Sequence[int], other: Tensor, other_ends: Sequence[int]) -> tuple[Sorted, Sorted]:
    """Two clouds along one curve. Not for clouds without points."""
    low = torch.minimum(xyz.amin(0), other.amin(0))
    extent = (torch.maximum(xyz.amax(0), other.amax(0)) - low).amax()
    scale = ((1 << DEPTH) - 1) / extent.clamp_min(torch.finfo(torch.float32).tiny)
    return _sort(xyz, ends, low, scale), _sort(other, other_ends, low, scale)


def nearest(support: Sorted, queries: Sorted) -> tuple[Tensor, Tensor]:
    """Rows (M,) int32 of the support before it was sorted, -1 in scenes without points, and squared distances.

    Both in the order of the queries before these were sorted.
    """
    device, total = queries.xyz.device, len(queries.row)
    out = torch.full((total,), NONE, dtype=torch.int64, device=device)
    table, starts, lasts, tiles = _tables(support.ends, queries.ends)
    if tiles:
        table, starts, lasts = (to_device(part, device) for part in (table, starts, lasts))
        boxes, near = _boxes(support.xyz, starts, lasts), _places(support, queries)
        with torch.cuda.device_of(queries.xyz):
            pruned_kernel[(tiles, len(table) // 5)](
                support.xyz, support.row, boxes, queries.xyz, near, table, out,
                QUERIES=QUERIES, SUPPORT=SUPPORT, BLOCKS=BLOCKS, enable_fp_fusion=False,
            )  # fmt: skip
    key = torch.empty_like(out).index_copy_(0, queries.row.long(), out)
    distance2 = (key >> 32).int().view(torch.float32)
    return (key & 0xFFFFFFFF).masked_fill(key >= NONE, -1).int(), distance2


def _sort(xyz: Tensor, ends: Sequence[int], low: Tensor, scale: Tensor) -> Sorted:
    cells = ((xyz - low) * scale).nan_to_num(0).clamp(0, (1 << DEPTH) - 1).long()
    bounds = to_device(torch.tensor(list(ends)), xyz.device)
    scene = torch.searchsorted(bounds, torch.arange(len(xyz), device=xyz.device), right=True)
    key, order = torch.sort(scene << 3 * DEPTH | curve_code(cells, DEPTH, "z", check=False), stable=True)
    return Sorted(xyz[order], order.int(), key, ends)


def _boxes(xyz: Tensor, starts: Tensor, lasts: Tensor) -> Tensor:
    """(6, blocks) least and greatest coordinates of the blocks that begin at ``starts``, in scenes up to ``lasts``."""
    rows = torch.minimum(starts.unsqueeze(1) + torch.arange(SUPPORT, device=xyz.device), lasts.unsqueeze(1))
    blocks = xyz[rows]
    return torch.cat([blocks.amin(1).T, blocks.amax(1).T]).contiguous()


def _places(support: Sorted, queries: Sorted) -> Tensor:
    """(M,) int32 the block of its scene, in which each query would stand on the curve."""
    device = support.xyz.device
    ends = to_device(torch.tensor(list(support.ends)), device)
    scene = queries.key >> 3 * DEPTH
    high = ends[scene]
    low = torch.cat([ends.new_zeros(1), ends])[scene]
    at = torch.minimum(torch.searchsorted(support.key, queries.key), high - 1)
    return ((at - low).clamp_min(0) // SUPPORT).int()


def _tables(ends: Sequence[int], query_ends: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, int]:
    """The kernel's bounds and, last, the number of blocks; each block's first point and its scene's last; tiles.

    Scenes without points or queries are left out of the bounds.
    """
    high, last = torch.tensor(list(ends)), torch.tensor(list(query_ends))
    low, first = (torch.cat([end.new_zeros(1), end[:-1]]) for end in (high, last))
    counts = (high - low + SUPPORT - 1) // SUPPORT
    first_block = counts.cumsum(0) - counts
    scene = torch.repeat_interleave(torch.arange(len(counts)), counts)
    starts = low[scene] + SUPPORT * (torch.arange(len(scene)) - first_block[scene])
    there = (high > low) & (last > first)
    bounds = torch.stack([first, last, low, high, first_block], 1)[there]
    table = torch.cat([bounds.flatten(), torch.tensor([len(scene)])]).int()
    most = int((last - first)[there].max()) if bool(there.any()) else 0
    return table, starts, high[scene] - 1, triton.cdiv(most, QUERIES)
