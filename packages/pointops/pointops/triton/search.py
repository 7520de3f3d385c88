# Triton gives its kernels no types:
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportIndexIssue=false
"""Brute-force nearest neighbors in tiles: fastest up to about 10,000 by 10,000 points, and always exact.

A key packs the bits of a squared distance above the row number: the smallest key is the nearest point, ties to the
lowest row, which is the contract of every back end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from pointops.transfer import to_device

QUERIES, SUPPORT = 16, 64  # of one tile; 128 by 128 would not stay in registers
NONE = 0x7F800000_7FFFFFFF  # infinity above the largest row: no neighbor


@triton.jit
def _keys(query, xyz, q, p, query_high, high):
    """(QUERIES, SUPPORT) int64 keys of the distances between a tile of queries and a tile of points."""
    asked, there = q < query_high, p < high
    dx = tl.load(query + 3 * q, asked, 0.0)[:, None] - tl.load(xyz + 3 * p, there, 0.0)[None, :]
    dy = tl.load(query + 3 * q + 1, asked, 0.0)[:, None] - tl.load(xyz + 3 * p + 1, there, 0.0)[None, :]
    dz = tl.load(query + 3 * q + 2, asked, 0.0)[:, None] - tl.load(xyz + 3 * p + 2, there, 0.0)[None, :]
    d2 = (dx * dx + dy * dy) + dz * dz
    key = (d2.to(tl.int32, bitcast=True).to(tl.int64) << 32) | p.to(tl.int64)[None, :]
    return tl.where(asked[:, None] & there[None, :], key, 0x7F8000007FFFFFFF)


@triton.jit
def _tile(bounds, QUERIES: tl.constexpr):
    """This program's queries, their end, and the points to look at; none where a smaller scene has no such tile."""
    bound = bounds + 4 * tl.program_id(1)
    query_high, low, high = tl.load(bound + 1), tl.load(bound + 2), tl.load(bound + 3)
    first = tl.load(bound) + tl.program_id(0) * QUERIES
    return first + tl.arange(0, QUERIES), query_high, low, tl.where(first < query_high, high, low)


@triton.jit
def nearest_kernel(xyz, query, bounds, out, QUERIES: tl.constexpr, SUPPORT: tl.constexpr):
    """out[q] = the smallest key of query q; ``bounds`` holds (first query, end, first point, end) of each scene."""
    q, query_high, low, high = _tile(bounds, QUERIES)
    best = tl.full((QUERIES,), 0x7F8000007FFFFFFF, tl.int64)
    for at in range(low, high, SUPPORT):
        best = tl.minimum(best, tl.min(_keys(query, xyz, q, at + tl.arange(0, SUPPORT), query_high, high), 1))
    tl.store(out + q, best, q < query_high)


@triton.jit
def knn_kernel(xyz, query, bounds, out, k, QUERIES: tl.constexpr, SUPPORT: tl.constexpr, K: tl.constexpr):
    """out[q] = the k smallest keys of query q, in no order: the largest kept makes room for each smaller one found."""
    q, query_high, low, high = _tile(bounds, QUERIES)
    column = tl.arange(0, K)
    blank = 0x7F80000080000000 + column.to(tl.int64)  # above every real key, and all different
    kept = tl.where((column < k)[None, :], blank[None, :], -1 - column.to(tl.int64)[None, :]) + tl.zeros(
        (QUERIES, 1), tl.int64
    )
    for at in range(low, high, SUPPORT):
        tile = _keys(query, xyz, q, at + tl.arange(0, SUPPORT), query_high, high)
        found, worst = tl.min(tile, 1), tl.max(kept, 1)
        more = tl.max((found < worst).to(tl.int32), 0)
        while more > 0:
            kept = tl.where((kept == worst[:, None]) & (found < worst)[:, None], found[:, None], kept)
            tile = tl.where(tile == found[:, None], 0x7FFFFFFFFFFFFFFF, tile)
            found, worst = tl.min(tile, 1), tl.max(kept, 1)
            more = tl.max((found < worst).to(tl.int32), 0)
    tl.store(
        out + q.to(tl.int64)[:, None] * k + column[None, :], kept, (q < query_high)[:, None] & (column < k)[None, :]
    )


def knn(xyz: Tensor, ends: Sequence[int], query: Tensor, query_ends: Sequence[int], k: int) -> tuple[Tensor, Tensor]:
    """Rows (M, k) int32, -1 where there are fewer, and squared distances (infinity there), nearest first."""
    out = torch.full((query.shape[0], k), NONE, dtype=torch.int64, device=query.device)
    bounds, tiles = scene_bounds(ends, query_ends, query.device)
    if tiles:
        with torch.cuda.device_of(query):
            if k == 1:
                nearest_kernel[(tiles, bounds.shape[0])](
                    xyz, query, bounds, out, QUERIES=QUERIES, SUPPORT=SUPPORT, enable_fp_fusion=False
                )
            else:
                width = triton.next_power_of_2(k)
                knn_kernel[(tiles, bounds.shape[0])](
                    xyz, query, bounds, out, k, QUERIES=QUERIES, SUPPORT=SUPPORT, K=width, enable_fp_fusion=False
                )
    key = out.sort(1).values
    distance2 = (key >> 32).int().view(torch.float32)
    return (key & 0xFFFFFFFF).masked_fill(key >= NONE, -1).int(), distance2


def scene_bounds(ends: Sequence[int], query_ends: Sequence[int], device: torch.device) -> tuple[Tensor, int]:
    """(scenes, 4) int32: first query, end, first point, end; and the tiles of queries of the largest scene.

    Scenes without points or queries are left out.
    """
    rows = [
        (first, last, low, high)
        for low, high, first, last in zip([0, *ends][:-1], ends, [0, *query_ends][:-1], query_ends, strict=True)
        if high > low and last > first
    ]
    tiles = triton.cdiv(max((last - first for first, last, _, _ in rows), default=0), QUERIES)
    return to_device(torch.tensor(rows, dtype=torch.int32).view(-1, 4), device), tiles
