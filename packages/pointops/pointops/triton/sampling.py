# Triton gives its kernels no types:
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportOperatorIssue=false
# pyright: reportArgumentType=false, reportIndexIssue=false
"""Farthest point sampling of scenes whose points fit one program's registers: votes, seeds and small clouds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from pointops.transfer import to_device

LARGEST = 16_384  # points of a scene; more would not stay in registers
ORIGIN_RADIUS2 = 1e-3  # see pointops.sampling


@triton.jit
def sample_kernel(xyz, bounds, out, radii2, SKIP: tl.constexpr, WIDTH: tl.constexpr):
    """One scene, in registers; ``bounds`` holds (first row, end, first sample, end, row to begin with)."""
    bound = bounds + 5 * tl.program_id(0)
    low, high, first, last = tl.load(bound), tl.load(bound + 1), tl.load(bound + 2), tl.load(bound + 3)
    p = tl.arange(0, WIDTH)
    there = p < high - low
    points = xyz + 3 * low.to(tl.int64)
    x = tl.load(points + 3 * p, there, 0.0)
    y = tl.load(points + 3 * p + 1, there, 0.0)
    z = tl.load(points + 3 * p + 2, there, 0.0)
    nearest = tl.where(there, 1e38, float("-inf"))
    if SKIP:
        nearest = tl.where(there & ((x * x + y * y) + z * z <= 1e-3), -1.0, nearest)
    begin = tl.load(bound + 4) - low
    chosen = begin
    farthest = float("inf")
    for at in range(first, last):
        tl.store(out + at, low + chosen)
        tl.store(radii2 + at, tl.maximum(farthest, 0.0))
        dx = x - tl.load(points + 3 * chosen)
        dy = y - tl.load(points + 3 * chosen + 1)
        dz = z - tl.load(points + 3 * chosen + 2)
        nearest = tl.minimum(nearest, (dx * dx + dy * dy) + dz * dz)
        farthest = tl.max(nearest, 0)
        lowest = tl.min(tl.where(nearest == farthest, p, WIDTH), 0)
        chosen = tl.where(farthest < 0, begin, lowest)


def sample(
    xyz: Tensor, ends: Sequence[int], new_ends: Sequence[int], starts: Sequence[int] | None, skip_origin: bool
) -> tuple[Tensor, Tensor] | None:
    """(M,) int32 rows and squared radii, or None if a scene is too large for this kernel."""
    lows = [0, *ends][:-1]
    begins = lows if starts is None else starts
    rows = list(zip(lows, ends, [0, *new_ends][:-1], new_ends, begins, strict=True))
    largest = max((high - low for low, high, first, last, _ in rows if last > first), default=0)
    if largest > LARGEST:
        return None
    out = torch.empty(new_ends[-1] if new_ends else 0, dtype=torch.int32, device=xyz.device)
    radii2 = torch.empty(out.shape, device=xyz.device)
    asked = [row for row in rows if row[3] > row[2]]
    bounds = to_device(torch.tensor(asked, dtype=torch.int32).view(-1, 5), xyz.device)
    if bounds.shape[0]:
        width = max(32, triton.next_power_of_2(largest))
        with torch.cuda.device_of(xyz):
            sample_kernel[(bounds.shape[0],)](
                xyz, bounds, out, radii2, SKIP=skip_origin, WIDTH=width, num_warps=warps(width), enable_fp_fusion=False
            )
    return out, radii2


def warps(width: int) -> int:
    """About 16 points a thread, within 1 to 32 warps."""
    return min(32, max(1, width // 512))
