# Triton gives its kernels no types:
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportIndexIssue=false
"""Vector attention's weighted sum over neighbors: softmax, sharing of weights and gathering of values in one kernel."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pointops.triton.features import scatter_shared

FORWARD_TILE, BACKWARD_TILE = 1024, 512  # values (points x neighbors x channels) that one program holds


@triton.jit
def over_neighbors(w):
    """Softmax of (TILE, K, WIDTH) logits over K; -inf where there is no neighbor, and 0 where there is none at all."""
    peak = tl.max(w, 1)
    w = tl.exp(w - tl.where(peak == float("-inf"), 0.0, peak)[:, None, :])
    return w / tl.maximum(tl.sum(w, 1), 1e-37)[:, None, :]


@triton.jit
def aggregate_kernel(
    value,
    position,
    weight,
    idx,
    out,
    points,
    neighbors,
    channels,
    shares,
    SOFTMAX: tl.constexpr,
    PLACED: tl.constexpr,
    TILE: tl.constexpr,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """A tile of points, all their neighbors, a piece of their channels."""
    n = (tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE))[:, None]
    j = tl.arange(0, K)[None, :]
    c = (tl.program_id(1) * WIDTH + tl.arange(0, WIDTH))[None, None, :]
    real = (n < points) & (j < neighbors)
    row = tl.load(idx + n * neighbors + j, real, -1).to(tl.int64)[:, :, None]
    e = (n * neighbors + j)[:, :, None]
    inside = real[:, :, None] & (c < channels)
    blank = float("-inf") if SOFTMAX else 0.0
    w = tl.load(weight + e * shares + c % shares, inside, blank).to(tl.float32)
    if SOFTMAX:
        w = over_neighbors(w)
    x = tl.load(value + row * channels + c, inside & (row >= 0), 0.0).to(tl.float32)
    if PLACED:
        x += tl.load(position + e * channels + c, inside, 0.0).to(tl.float32)
    total = tl.sum(w * x, 1)
    m = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    d = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    tl.store(
        out + m[:, None] * channels + d[None, :],
        total.to(out.dtype.element_ty),
        (m < points)[:, None] & (d < channels)[None, :],
    )


@triton.jit
def aggregate_backward_kernel(
    grad,
    value,
    position,
    weight,
    idx,
    used,
    position_grad,
    weight_grad,
    points,
    neighbors,
    channels,
    shares,
    SOFTMAX: tl.constexpr,
    PLACED: tl.constexpr,
    TILE: tl.constexpr,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """A tile of points, all their neighbors, a piece of their weights; walks the channels that share each weight."""
    n = (tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE))[:, None]
    j = tl.arange(0, K)[None, :]
    m = (tl.program_id(1) * WIDTH + tl.arange(0, WIDTH))[None, None, :]
    real = (n < points) & (j < neighbors)
    row = tl.load(idx + n * neighbors + j, real, -1).to(tl.int64)[:, :, None]
    e = (n * neighbors + j)[:, :, None]
    inside = real[:, :, None] & (m < shares)
    blank = float("-inf") if SOFTMAX else 0.0
    w = tl.load(weight + e * shares + m, inside, blank).to(tl.float32)
    if SOFTMAX:
        w = over_neighbors(w)
    tl.store(used + e * shares + m, w.to(used.dtype.element_ty), inside)
    slope = tl.zeros((TILE, K, WIDTH), tl.float32)
    for low in range(0, channels, shares):
        c = low + m
        g = tl.load(grad + n[:, :, None] * channels + c, (n < points)[:, :, None] & (m < shares), 0.0).to(tl.float32)
        x = tl.load(value + row * channels + c, inside & (row >= 0), 0.0).to(tl.float32)
        if PLACED:
            x += tl.load(position + e * channels + c, inside, 0.0).to(tl.float32)
            tl.store(position_grad + e * channels + c, (g * w).to(position_grad.dtype.element_ty), inside)
        slope += g * x
    if SOFTMAX:
        slope = w * (slope - tl.sum(w * slope, 1)[:, None, :])
    tl.store(weight_grad + e * shares + m, slope.to(weight_grad.dtype.element_ty), inside)


def forward(value: Tensor, position: Tensor | None, weight: Tensor, idx: Tensor, softmax: bool) -> Tensor:
    """(M, C), (N, k, C), (N, k, W), (N, k) -> (N, C)."""
    (points, neighbors), channels = idx.shape, value.shape[1]
    out = value.new_empty((points, channels))
    if neighbors == 0:
        return out.zero_()
    if out.numel():
        tile, k, width = _tiles(neighbors, channels, FORWARD_TILE)
        grid = (triton.cdiv(points, tile), triton.cdiv(channels, width))
        sizes = (points, neighbors, channels, weight.shape[2])
        with torch.cuda.device_of(value):
            aggregate_kernel[grid](
                value,
                value if position is None else position,
                weight,
                idx,
                out,
                *sizes,
                SOFTMAX=softmax,
                PLACED=position is not None,
                TILE=tile,
                K=k,
                WIDTH=width,
            )
    return out


def backward(
    grad: Tensor,
    value: Tensor,
    position: Tensor | None,
    weight: Tensor,
    idx: Tensor,
    start: Tensor,
    entry: Tensor,
    softmax: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients with respect to value, position (empty without one) and weight."""
    (points, neighbors), channels = idx.shape, value.shape[1]
    shares, placed = weight.shape[2], position is not None
    position_grad, weight_grad = torch.empty_like(position) if placed else value.new_empty(0), torch.empty_like(weight)
    used = weight.new_empty(weight.shape, dtype=torch.float32)
    if idx.numel() and channels:
        tile, k, width = _tiles(neighbors, shares, BACKWARD_TILE)
        grid = (triton.cdiv(points, tile), triton.cdiv(shares, width))
        sizes = (points, neighbors, channels, shares)
        tensors = (grad, value, position if placed else value, weight, idx, used, position_grad, weight_grad)
        with torch.cuda.device_of(value):
            aggregate_backward_kernel[grid](
                *tensors, *sizes, SOFTMAX=softmax, PLACED=placed, TILE=tile, K=k, WIDTH=width
            )
    return scatter_shared(grad, used, start, entry), position_grad, weight_grad


def _tiles(neighbors: int, width: int, values: int) -> tuple[int, int, int]:
    """Points, neighbors (a power of two) and channels of one program."""
    k = triton.next_power_of_2(neighbors)
    piece = min(64, triton.next_power_of_2(width), max(4, values // k))
    return max(1, values // (k * piece)), k, piece
