# Triton gives its kernels no types:
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportIndexIssue=false, reportGeneralTypeIssues=false
"""Window attention: a program per query and head walks its list of keys, and on the way back one per key its queries.

Sums over bins (histograms) are made without atomics, bin by bin in the order of the pairs; what multiplies them with
the tables is a matrix product, left to torch. Results are the same bits every time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE, BACKWARD_TILE = 32, 16  # pairs whose vectors a program holds at once
WARPS, BACKWARD_WARPS = 2, 4


@triton.jit
def _table(table, bins, pair, real, head, heads, length, d, width):
    """(TILE, D) sums of the three rows of a (heads, 3, length, width) table that the bins of the pairs name."""
    at = tl.zeros((pair.shape[0], d.shape[0]), tl.float32)
    inside = real[:, None] & (d < width)[None, :]
    for axis in tl.static_range(3):
        b = tl.load(bins + pair * 3 + axis, real, 0).to(tl.int32)
        at += tl.load(table + ((head * 3 + axis) * length + b)[:, None] * width + d[None, :], inside, 0.0)
    return at


@triton.jit
def _count(sums, bins, pair, real, share, axis: tl.constexpr, BINS: tl.constexpr):
    """(BINS,) sums plus each pair's share at its bin of one axis."""
    b = tl.load(bins + pair * 3 + axis, real, 0).to(tl.int32)
    hit = (b[:, None] == tl.arange(0, BINS)[None, :]) & real[:, None]
    return sums + tl.sum(tl.where(hit, share[:, None], 0.0), 0)


@triton.jit
def window_kernel(
    query,
    key,
    value,
    query_table,
    key_table,
    value_table,
    ends,
    keys,
    bins,
    weight,
    out,
    heads,
    width,
    length,
    TILE: tl.constexpr,
    D: tl.constexpr,
):
    """out[i, h]; leaves the normalized weights (pairs, heads) for the way back."""
    i, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    low, high = tl.load(ends + i - 1, i > 0, 0), tl.load(ends + i)
    d = tl.arange(0, D)
    q = tl.load(query + (i * heads + head) * width + d, d < width, 0.0)
    peak, total = float("-inf"), 0.0
    o = tl.zeros((D,), tl.float32)
    for at in range(low, high, TILE):
        pair = at + tl.arange(0, TILE).to(tl.int64)
        real = pair < high
        row = ((tl.load(keys + pair, real, 0).to(tl.int64) * heads + head) * width)[:, None] + d[None, :]
        inside = real[:, None] & (d < width)[None, :]
        k = tl.load(key + row, inside, 0.0)
        tq = _table(query_table, bins, pair, real, head, heads, length, d, width)
        tk = _table(key_table, bins, pair, real, head, heads, length, d, width)
        logit = tl.where(real, tl.sum(q[None, :] * (k + tq) + k * tk, 1), float("-inf"))
        tl.store(weight + pair * heads + head, logit, real)
        higher = tl.maximum(peak, tl.max(logit, 0))
        shrink, power = tl.exp(peak - higher), tl.exp(logit - higher)
        x = tl.load(value + row, inside, 0.0)
        x += _table(value_table, bins, pair, real, head, heads, length, d, width)
        o = o * shrink + tl.sum(power[:, None] * x, 0)
        total = total * shrink + tl.sum(power, 0)
        peak = higher
    tl.debug_barrier()  # the logits are read again by other threads of this program
    for at in range(low, high, TILE):
        pair = at + tl.arange(0, TILE).to(tl.int64)
        logit = tl.load(weight + pair * heads + head, pair < high, 0.0)
        tl.store(weight + pair * heads + head, tl.exp(logit - peak) / total, pair < high)
    tl.store(out + (i * heads + head) * width + d, o / total, d < width)


@triton.jit
def window_query_kernel(
    grad,
    key,
    value,
    query_table,
    value_table,
    ends,
    keys,
    bins,
    weight,
    slope,
    query_grad,
    slope_sums,
    weight_sums,
    heads,
    width,
    length,
    TILE: tl.constexpr,
    D: tl.constexpr,
    BINS: tl.constexpr,
):
    """Slopes of the logits, gradients of the queries, and per query the sums of slopes and weights over bins."""
    i, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    low, high = tl.load(ends + i - 1, i > 0, 0), tl.load(ends + i)
    d = tl.arange(0, D)
    g = tl.load(grad + (i * heads + head) * width + d, d < width, 0.0)
    mean = 0.0
    for at in range(low, high, TILE):
        pair = at + tl.arange(0, TILE).to(tl.int64)
        real = pair < high
        row = ((tl.load(keys + pair, real, 0).to(tl.int64) * heads + head) * width)[:, None] + d[None, :]
        x = tl.load(value + row, real[:, None] & (d < width)[None, :], 0.0)
        x += _table(value_table, bins, pair, real, head, heads, length, d, width)
        s = tl.sum(g[None, :] * x, 1)
        w = tl.load(weight + pair * heads + head, real, 0.0)
        tl.store(slope + pair * heads + head, s, real)
        mean += tl.sum(w * s, 0)
    tl.debug_barrier()  # the slopes are read again by other threads of this program
    dq = tl.zeros((D,), tl.float32)
    sx, sy, sz = tl.zeros((BINS,), tl.float32), tl.zeros((BINS,), tl.float32), tl.zeros((BINS,), tl.float32)
    wx, wy, wz = tl.zeros((BINS,), tl.float32), tl.zeros((BINS,), tl.float32), tl.zeros((BINS,), tl.float32)
    for at in range(low, high, TILE):
        pair = at + tl.arange(0, TILE).to(tl.int64)
        real = pair < high
        w = tl.load(weight + pair * heads + head, real, 0.0)
        s = w * (tl.load(slope + pair * heads + head, real, 0.0) - mean)
        tl.debug_barrier()
        tl.store(slope + pair * heads + head, s, real)
        row = ((tl.load(keys + pair, real, 0).to(tl.int64) * heads + head) * width)[:, None] + d[None, :]
        x = tl.load(key + row, real[:, None] & (d < width)[None, :], 0.0)
        x += _table(query_table, bins, pair, real, head, heads, length, d, width)
        dq += tl.sum(s[:, None] * x, 0)
        sx, wx = _count(sx, bins, pair, real, s, 0, BINS), _count(wx, bins, pair, real, w, 0, BINS)
        sy, wy = _count(sy, bins, pair, real, s, 1, BINS), _count(wy, bins, pair, real, w, 1, BINS)
        sz, wz = _count(sz, bins, pair, real, s, 2, BINS), _count(wz, bins, pair, real, w, 2, BINS)
    tl.store(query_grad + (i * heads + head) * width + d, dq, d < width)
    b = tl.arange(0, BINS)
    sums = (i * heads + head) * 3 * length + b
    tl.store(slope_sums + sums, sx, b < length)
    tl.store(slope_sums + sums + length, sy, b < length)
    tl.store(slope_sums + sums + 2 * length, sz, b < length)
    tl.store(weight_sums + sums, wx, b < length)
    tl.store(weight_sums + sums + length, wy, b < length)
    tl.store(weight_sums + sums + 2 * length, wz, b < length)


@triton.jit
def window_key_kernel(
    grad,
    query,
    key_table,
    first,
    order,
    owner,
    bins,
    weight,
    slope,
    key_grad,
    value_grad,
    slope_sums,
    pairs,
    points,
    heads,
    width,
    length,
    TILE: tl.constexpr,
    D: tl.constexpr,
    BINS: tl.constexpr,
):
    """Gradients of one key and its value, and the key's sums of slopes over bins; ``order`` sorts the pairs by key."""
    j, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    low, high = tl.load(first + j), tl.load(first + j + 1, j + 1 < points, pairs)
    d = tl.arange(0, D)
    dk, dv = tl.zeros((D,), tl.float32), tl.zeros((D,), tl.float32)
    sx, sy, sz = tl.zeros((BINS,), tl.float32), tl.zeros((BINS,), tl.float32), tl.zeros((BINS,), tl.float32)
    for at in range(low, high, TILE):
        place = at + tl.arange(0, TILE).to(tl.int64)
        real = place < high
        pair = tl.load(order + place, real, 0)
        row = ((tl.load(owner + pair, real, 0) * heads + head) * width)[:, None] + d[None, :]
        inside = real[:, None] & (d < width)[None, :]
        s = tl.load(slope + pair * heads + head, real, 0.0)
        w = tl.load(weight + pair * heads + head, real, 0.0)
        x = tl.load(query + row, inside, 0.0)
        x += _table(key_table, bins, pair, real, head, heads, length, d, width)
        dk += tl.sum(s[:, None] * x, 0)
        dv += tl.sum(w[:, None] * tl.load(grad + row, inside, 0.0), 0)
        sx = _count(sx, bins, pair, real, s, 0, BINS)
        sy = _count(sy, bins, pair, real, s, 1, BINS)
        sz = _count(sz, bins, pair, real, s, 2, BINS)
    here = (j * heads + head) * width + d
    tl.store(key_grad + here, dk, d < width)
    tl.store(value_grad + here, dv, d < width)
    b = tl.arange(0, BINS)
    sums = (j * heads + head) * 3 * length + b
    tl.store(slope_sums + sums, sx, b < length)
    tl.store(slope_sums + sums + length, sy, b < length)
    tl.store(slope_sums + sums + 2 * length, sz, b < length)


def forward(
    query: Tensor, key: Tensor, value: Tensor, tables: Sequence[Tensor], ends: Tensor, keys: Tensor, bins: Tensor
) -> tuple[Tensor, Tensor]:
    """The output (N, H, D) and the weights (M, H); tables as (H, 3, L, D), everything contiguous float32."""
    points, heads, width = query.shape
    out, weight = torch.empty_like(query), query.new_empty((keys.shape[0], heads))
    if out.numel():
        constants = {"TILE": TILE, "D": triton.next_power_of_2(width)}
        sizes = (heads, width, tables[0].shape[2])
        with torch.cuda.device_of(query):
            window_kernel[(points, heads)](
                query, key, value, *tables, ends, keys, bins, weight, out, *sizes, **constants, num_warps=WARPS
            )
    return out, weight


def backward(
    grad: Tensor,
    weight: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    tables: Sequence[Tensor],
    ends: Tensor,
    keys: Tensor,
    bins: Tensor,
    owner: Tensor,
    by_key: tuple[Tensor, Tensor],
) -> tuple[Tensor, ...]:
    """Gradients of query, key and value, and of the tables as (H, 3, L, D); ``owner`` is the query of each pair."""
    (points, heads, width), length = query.shape, tables[0].shape[2]
    grads = [torch.empty_like(query) for _ in range(3)]
    if points == 0 or width == 0:
        return (*grads, *(torch.zeros_like(table) for table in tables))
    slope = torch.empty_like(weight)
    of_query, seen, of_key = (query.new_empty((points, heads, 3, length)) for _ in range(3))
    order, first = by_key
    sizes = (heads, width, length)
    constants = {"TILE": BACKWARD_TILE, "D": triton.next_power_of_2(width), "BINS": triton.next_power_of_2(length)}
    query_table, key_table, value_table = tables
    with torch.cuda.device_of(query):
        window_query_kernel[(points, heads)](
            *(grad, key, value, query_table, value_table, ends, keys, bins, weight, slope, grads[0], of_query, seen),
            *sizes,
            **constants,
            num_warps=BACKWARD_WARPS,
        )
        window_key_kernel[(points, heads)](
            *(grad, query, key_table, first, order, owner, bins, weight, slope, grads[1], grads[2], of_key),
            *(keys.shape[0], points, *sizes),
            **constants,
            num_warps=BACKWARD_WARPS,
        )
    table_grads = (
        torch.einsum("nhab,nhd->habd", sums, vectors)
        for sums, vectors in ((of_query, query), (of_key, key), (seen, grad))
    )
    return (*grads, *table_grads)
