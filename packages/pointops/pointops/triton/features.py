# Triton gives its kernels no types:
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportIndexIssue=false
"""Rows by number and sums of rows by number. Sums follow an inverse table: no atomics, the same bits every time."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

PLAIN, WEIGHTED, SHARED = 0, 1, 2  # what an entry of a scatter contributes
NEIGHBOR_TILE = 8  # entries whose rows a scatter reads at once


@triton.jit
def gather_kernel(feat, idx, out, entries, channels, TILE: tl.constexpr, WIDTH: tl.constexpr):
    """out[e] = feat[idx[e]], zeros for -1; a tile of entries by a piece of the channels."""
    e = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    c = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    row = tl.load(idx + e, e < entries, -1).to(tl.int64)
    inside = c[None, :] < channels
    x = tl.load(feat + row[:, None] * channels + c[None, :], (row >= 0)[:, None] & inside, 0.0)
    tl.store(out + e[:, None] * channels + c[None, :], x, (e < entries)[:, None] & inside)


@triton.jit
def scatter_kernel(
    value,
    weight,
    start,
    entry,
    out,
    channels,
    group,
    shares,
    sign,
    MODE: tl.constexpr,
    TILE: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """out[r] = sign * sum over the entries of row r; entry e reads row e // group of value, times its weight."""
    r = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    low, high = tl.load(start + r), tl.load(start + r + 1)
    total = tl.zeros((WIDTH,), tl.float32)
    for at in range(low, high, TILE):
        place = at + tl.arange(0, TILE)
        e = tl.load(entry + place, place < high, 0).to(tl.int64)
        inside = (place < high)[:, None] & (c[None, :] < channels)
        x = tl.load(value + (e // group)[:, None] * channels + c[None, :], inside, 0.0).to(tl.float32)
        if MODE == 1:
            x = x * tl.load(weight + e, place < high, 0.0).to(tl.float32)[:, None]
        if MODE == 2:
            x = x * tl.load(weight + e[:, None] * shares + (c % shares)[None, :], inside, 0.0).to(tl.float32)
        total += tl.sum(x, 0)
    tl.store(out + r * channels + c, (sign * total).to(out.dtype.element_ty), c < channels)


@triton.jit
def relation_kernel(
    query,
    key,
    position,
    idx,
    out,
    entries,
    neighbors,
    channels,
    sign,
    PLACED: tl.constexpr,
    TILE: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """out[e] = sign * (key[idx[e]] - query[e // neighbors]) + position[e]."""
    e = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    c = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    row = tl.load(idx + e, e < entries, -1).to(tl.int64)
    inside = (e < entries)[:, None] & (c[None, :] < channels)
    k = tl.load(key + row[:, None] * channels + c[None, :], (row >= 0)[:, None] & inside, 0.0).to(tl.float32)
    q = tl.load(query + (e // neighbors)[:, None] * channels + c[None, :], inside, 0.0).to(tl.float32)
    x = sign * (k - q)
    if PLACED:
        x += tl.load(position + e[:, None] * channels + c[None, :], inside, 0.0).to(tl.float32)
    tl.store(out + e[:, None] * channels + c[None, :], x.to(out.dtype.element_ty), inside)


@triton.jit
def sum_neighbors_kernel(grad, out, neighbors, channels, sign, WIDTH: tl.constexpr):
    """out[n] = sign * sum_j grad[n, j]."""
    n = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    total = tl.zeros((WIDTH,), tl.float32)
    for j in range(neighbors):
        total += tl.load(grad + (n * neighbors + j) * channels + c, c < channels, 0.0).to(tl.float32)
    tl.store(out + n * channels + c, (sign * total).to(out.dtype.element_ty), c < channels)


@triton.jit
def interpolate_kernel(feat, idx, weight, out, points, neighbors, channels, TILE: tl.constexpr, WIDTH: tl.constexpr):
    """out[n] = sum_j weight[n, j] * feat[idx[n, j]]."""
    n = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    c = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = (n < points)[:, None] & (c[None, :] < channels)
    total = tl.zeros((TILE, WIDTH), tl.float32)
    for j in range(neighbors):
        row = tl.load(idx + n * neighbors + j, n < points, -1).to(tl.int64)
        w = tl.load(weight + n * neighbors + j, row >= 0, 0.0).to(tl.float32)
        x = tl.load(feat + row[:, None] * channels + c[None, :], (row >= 0)[:, None] & inside, 0.0).to(tl.float32)
        total += w[:, None] * x
    tl.store(out + n[:, None] * channels + c[None, :], total.to(out.dtype.element_ty), inside)


@triton.jit
def weight_gradient_kernel(grad, feat, idx, out, entries, neighbors, channels, TILE: tl.constexpr, WIDTH: tl.constexpr):
    """out[e] = grad[e // neighbors] . feat[idx[e]]."""
    e = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    row = tl.load(idx + e, e < entries, -1).to(tl.int64)
    total = tl.zeros((TILE,), tl.float32)
    for low in range(0, channels, WIDTH):
        c = low + tl.arange(0, WIDTH)
        inside = (row >= 0)[:, None] & (c[None, :] < channels)
        g = tl.load(grad + (e // neighbors)[:, None] * channels + c[None, :], inside, 0.0).to(tl.float32)
        x = tl.load(feat + row[:, None] * channels + c[None, :], inside, 0.0).to(tl.float32)
        total += tl.sum(g * x, 1)
    tl.store(out + e, total.to(out.dtype.element_ty), e < entries)


def gather(feat: Tensor, idx: Tensor) -> Tensor:
    """(N, C) and (...) -> (..., C)."""
    out = feat.new_empty((*idx.shape, feat.shape[1]))
    if out.numel():
        width, tile = tiles(feat.shape[1])
        grid = (triton.cdiv(idx.numel(), tile), triton.cdiv(feat.shape[1], width))
        with torch.cuda.device_of(feat):
            gather_kernel[grid](feat, idx, out, idx.numel(), feat.shape[1], TILE=tile, WIDTH=width)
    return out


def scatter(value: Tensor, start: Tensor, entry: Tensor, sign: float = 1.0) -> Tensor:
    """(..., C) -> (rows, C): sums of the entries that the inverse table gives each row."""
    return _scatter(value, value, start, entry, PLAIN, 1, 1, sign)


def scatter_weighted(value: Tensor, weight: Tensor, start: Tensor, entry: Tensor) -> Tensor:
    """value (N, C), weight (N, k) -> (rows, C): entry (n, j) adds weight[n, j] * value[n]."""
    return _scatter(value, weight, start, entry, WEIGHTED, weight.shape[1], 1, 1.0)


def scatter_shared(value: Tensor, weight: Tensor, start: Tensor, entry: Tensor) -> Tensor:
    """value (N, C), weight (N, k, W) -> (rows, C): entry (n, j) adds weight[n, j, c mod W] * value[n, c]."""
    return _scatter(value, weight, start, entry, SHARED, weight.shape[1], weight.shape[2], 1.0)


def _scatter(
    value: Tensor, weight: Tensor, start: Tensor, entry: Tensor, mode: int, group: int, shares: int, sign: float
) -> Tensor:
    rows, channels = start.shape[0] - 1, value.shape[-1]
    out = value.new_empty((rows, channels))
    if out.numel():
        width = min(128, triton.next_power_of_2(channels))
        grid = (rows, triton.cdiv(channels, width))
        sizes = (channels, max(1, group), shares, sign)
        with torch.cuda.device_of(value):
            scatter_kernel[grid](
                value, weight, start, entry, out, *sizes, MODE=mode, TILE=NEIGHBOR_TILE, WIDTH=width, num_warps=2
            )
    return out


def relation(query: Tensor, key: Tensor, position: Tensor | None, idx: Tensor, sign: float) -> Tensor:
    """sign * (key[idx] - query) + position: (N, k, C)."""
    channels = query.shape[1]
    out = query.new_empty((*idx.shape, channels))
    if out.numel():
        width, tile = tiles(channels)
        grid = (triton.cdiv(idx.numel(), tile), triton.cdiv(channels, width))
        placed = position is not None
        sizes = (idx.numel(), idx.shape[1], channels, sign)
        with torch.cuda.device_of(query):
            relation_kernel[grid](
                query, key, position if placed else query, idx, out, *sizes, PLACED=placed, TILE=tile, WIDTH=width
            )
    return out


def sum_neighbors(grad: Tensor, sign: float) -> Tensor:
    """(N, k, C) -> (N, C)."""
    points, neighbors, channels = grad.shape
    out = grad.new_empty((points, channels))
    if out.numel():
        width = min(128, triton.next_power_of_2(channels))
        with torch.cuda.device_of(grad):
            sum_neighbors_kernel[(points, triton.cdiv(channels, width))](
                grad, out, neighbors, channels, sign, WIDTH=width, num_warps=2
            )
    return out


def interpolate(feat: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """(N, C), (M, k), (M, k) -> (M, C)."""
    out = feat.new_empty((idx.shape[0], feat.shape[1]))
    if out.numel():
        width, tile = tiles(feat.shape[1])
        grid = (triton.cdiv(idx.shape[0], tile), triton.cdiv(feat.shape[1], width))
        with torch.cuda.device_of(feat):
            interpolate_kernel[grid](feat, idx, weight, out, *idx.shape, feat.shape[1], TILE=tile, WIDTH=width)
    return out


def weight_gradient(grad: Tensor, feat: Tensor, idx: Tensor) -> Tensor:
    """(M, C), (N, C), (M, k) -> (M, k): products of each point's gradient with its sources."""
    out = grad.new_empty(idx.shape)
    if out.numel():
        width, tile = tiles(feat.shape[1])
        with torch.cuda.device_of(grad):
            weight_gradient_kernel[(triton.cdiv(idx.numel(), tile),)](
                grad, feat, idx, out, idx.numel(), idx.shape[1], feat.shape[1], TILE=tile, WIDTH=width
            )
    return out


def tiles(channels: int) -> tuple[int, int]:
    """Width of a piece of the channels, and how many rows of it make about 1,024 values."""
    width = min(128, triton.next_power_of_2(channels))
    return width, max(1, 1024 // width)
