# Triton gives its kernels no types:
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportIndexIssue=false
"""Batch normalization over rows. Sums of parts of the rows are joined in float64: no atomics, always the same bits."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from pointops.triton.features import tiles

PART = 2048  # rows whose sums one program makes, in float32


@triton.jit
def moments_kernel(x, means, squares, rows, channels, ROWS: tl.constexpr, TILE: tl.constexpr, WIDTH: tl.constexpr):
    """Mean and summed squared distance from it of a part of the rows; tiles are joined by Chan's rule."""
    part = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    mean, square = tl.zeros((WIDTH,), tl.float32), tl.zeros((WIDTH,), tl.float32)
    for low in range(0, ROWS, TILE):
        r = part * ROWS + low + tl.arange(0, TILE)
        inside = (r < rows)[:, None] & (c[None, :] < channels)
        v = tl.load(x + r[:, None] * channels + c[None, :], inside, 0.0).to(tl.float32)
        count = tl.sum((r < rows).to(tl.float32), 0)
        here = tl.sum(v, 0) / tl.maximum(count, 1.0)
        d = tl.where(inside, v - here[None, :], 0.0)
        apart, share = here - mean, count / tl.maximum(count + low, 1.0)
        mean += apart * share
        square += tl.sum(d * d, 0) + apart * apart * (share * low)
    tl.store(means + part * channels + c, mean, c < channels)
    tl.store(squares + part * channels + c, square, c < channels)


@triton.jit
def apply_kernel(
    x, residual, mean, scale, shift, out, rows, channels, slope, ADDED: tl.constexpr, TILE: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """out = z where z > 0, else slope * z, with z = (x - mean) * scale + shift + residual."""
    r = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    c = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = (r < rows)[:, None] & (c[None, :] < channels)
    place = r[:, None] * channels + c[None, :]
    m, s = tl.load(mean + c, c < channels, 0.0), tl.load(scale + c, c < channels, 0.0)
    z = (tl.load(x + place, inside, 0.0).to(tl.float32) - m[None, :]) * s[None, :]
    z += tl.load(shift + c, c < channels, 0.0)[None, :]
    if ADDED:
        z += tl.load(residual + place, inside, 0.0).to(tl.float32)
    tl.store(out + place, tl.where(z > 0, z, z * slope).to(out.dtype.element_ty), inside)


@triton.jit
def turned_back(grad, x, out, mean, scale, shift, slope, place, c, inside, channels, KNOWN: tl.constexpr):
    """The gradient of z, and x - mean, of a tile; where z > 0 is told by out, or computed anew."""
    m, s = tl.load(mean + c, c < channels, 0.0), tl.load(scale + c, c < channels, 0.0)
    d = tl.load(x + place, inside, 0.0).to(tl.float32) - m[None, :]
    z = d * s[None, :] + tl.load(shift + c, c < channels, 0.0)[None, :]
    if KNOWN:
        z = tl.load(out + place, inside, 0.0).to(tl.float32)
    g = tl.load(grad + place, inside, 0.0).to(tl.float32)
    return tl.where(z > 0, g, g * slope), tl.where(inside, d, 0.0), s


@triton.jit
def sums_kernel(
    grad, x, out, mean, scale, shift, sums, rows, channels, slope, KNOWN: tl.constexpr, ROWS: tl.constexpr,
    TILE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Sums of the gradient of z, and of it times x - mean, over a part of the rows: sums (parts, 2, channels)."""
    part = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    one, two = tl.zeros((WIDTH,), tl.float32), tl.zeros((WIDTH,), tl.float32)
    for low in range(0, ROWS, TILE):
        r = part * ROWS + low + tl.arange(0, TILE)
        inside = (r < rows)[:, None] & (c[None, :] < channels)
        place = r[:, None] * channels + c[None, :]
        g, d, _ = turned_back(grad, x, out, mean, scale, shift, slope, place, c, inside, channels, KNOWN)
        one += tl.sum(g, 0)
        two += tl.sum(g * d, 0)
    tl.store(sums + 2 * part * channels + c, one, c < channels)
    tl.store(sums + (2 * part + 1) * channels + c, two, c < channels)


@triton.jit
def norm_backward_kernel(
    grad, x, out, mean, scale, shift, first, second, grad_x, grad_z, rows, channels, slope, KNOWN: tl.constexpr,
    TILE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """grad_x = (gradient of z - first - (x - mean) * second) * scale."""
    r = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    c = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = (r < rows)[:, None] & (c[None, :] < channels)
    place = r[:, None] * channels + c[None, :]
    g, d, s = turned_back(grad, x, out, mean, scale, shift, slope, place, c, inside, channels, KNOWN)
    if KNOWN:
        tl.store(grad_z + place, g.to(grad_z.dtype.element_ty), inside)
    one, two = tl.load(first + c, c < channels, 0.0), tl.load(second + c, c < channels, 0.0)
    tl.store(grad_x + place, ((g - one[None, :] - d * two[None, :]) * s[None, :]).to(grad_x.dtype.element_ty), inside)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, C) -> float64 mean and biased variance of each channel."""
    rows, channels = x.shape
    parts = triton.cdiv(rows, PART)
    means, squares = x.new_empty((2, parts, channels), dtype=torch.float32)
    width, tile = tiles(channels)
    with torch.cuda.device_of(x):
        moments_kernel[(parts, triton.cdiv(channels, width))](
            x, means, squares, rows, channels, ROWS=PART, TILE=min(tile, PART), WIDTH=width
        )
    counts = (rows - PART * torch.arange(parts, device=x.device)).clamp(max=PART).double().unsqueeze(1)
    mean = (means.double() * counts).sum(0) / rows
    square = squares.double() + counts * (means.double() - mean).square()
    return mean, square.sum(0) / rows


def apply(x: Tensor, residual: Tensor | None, mean: Tensor, scale: Tensor, shift: Tensor, slope: float) -> Tensor:
    """The normalized rows, (rows, C)."""
    rows, channels = x.shape
    out = torch.empty_like(x)
    if out.numel():
        width, tile = tiles(channels)
        grid = (triton.cdiv(rows, tile), triton.cdiv(channels, width))
        added = residual is not None
        tensors = (x, residual if added else x, mean, scale, shift, out)
        with torch.cuda.device_of(x):
            apply_kernel[grid](*tensors, rows, channels, slope, ADDED=added, TILE=tile, WIDTH=width)
    return out


def sums(
    grad: Tensor, x: Tensor, out: Tensor | None, mean: Tensor, scale: Tensor, shift: Tensor, slope: float
) -> Tensor:
    """(2, C) float64: sums of the gradient of z, and of it times x - mean."""
    rows, channels = x.shape
    parts = triton.cdiv(rows, PART)
    found = x.new_zeros((parts, 2, channels), dtype=torch.float32)
    if found.numel():
        width, tile = tiles(channels)
        known = out is not None
        tensors = (grad, x, out if known else x, mean, scale, shift, found)
        constants = {"KNOWN": known, "ROWS": PART, "TILE": min(tile, PART), "WIDTH": width}
        with torch.cuda.device_of(x):
            sums_kernel[(parts, triton.cdiv(channels, width))](*tensors, rows, channels, slope, **constants)
    return found.double().sum(0)


def backward(
    grad: Tensor,
    x: Tensor,
    out: Tensor | None,
    mean: Tensor,
    scale: Tensor,
    shift: Tensor,
    slope: float,
    first: Tensor,
    second: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """Gradients of x and, where ``out`` is given, of what was added to z."""
    rows, channels = x.shape
    known = out is not None
    grad_x, grad_z = torch.empty_like(x), torch.empty_like(x) if known else None
    if x.numel():
        width, tile = tiles(channels)
        grid = (triton.cdiv(rows, tile), triton.cdiv(channels, width))
        tensors = (grad, x, out if known else x, mean, scale, shift, first, second, grad_x, grad_z if known else grad_x)
        with torch.cuda.device_of(x):
            norm_backward_kernel[grid](*tensors, rows, channels, slope, KNOWN=known, TILE=tile, WIDTH=width)
    return grad_x, grad_z
