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

LARGEST = 16_384  # points of a scene; more would not stay in registers
ORIGIN_RADIUS2 = 1e-3  # see pointops.sampling


@triton.jit
def sample_kernel(xyz, bounds, out, SKIP: tl.constexpr, WIDTH: tl.constexpr):
    """One scene, in registers; ``bounds`` holds (first row, end, first sample, end)."""
    bound = bounds + 4 * tl.program_id(0)
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
    chosen = 0
    for at in range(first, last):
        tl.store(out + at, low + chosen)
        dx = x - tl.load(points + 3 * chosen)
        dy = y - tl.load(points + 3 * chosen + 1)
        dz = z - tl.load(points + 3 * chosen + 2)
        nearest = tl.minimum(nearest, (dx * dx + dy * dy) + dz * dz)
        farthest = tl.max(nearest, 0)
        chosen = tl.min(tl.where(nearest == farthest, p, WIDTH), 0)


def sample(xyz: Tensor, ends: Sequence[int], new_ends: Sequence[int], skip_origin: bool) -> Tensor | None:
    """(M,) int32 rows, or None if a scene is too large for this kernel."""
    rows = list(zip([0, *ends[:-1]], ends, [0, *new_ends[:-1]], new_ends, strict=True))
    largest = max((high - low for low, high, first, last in rows if last > first), default=0)
    if largest > LARGEST:
        return None
    out = torch.empty(new_ends[-1], dtype=torch.int32, device=xyz.device)
    bounds = torch.tensor([row for row in rows if row[3] > row[2]], dtype=torch.int32).view(-1, 4).to(xyz.device)
    if bounds.shape[0]:
        width = max(32, triton.next_power_of_2(largest))
        with torch.cuda.device_of(xyz):
            sample_kernel[(bounds.shape[0],)](
                xyz, bounds, out, SKIP=skip_origin, WIDTH=width, num_warps=warps(width), enable_fp_fusion=False
            )
    return out


def warps(width: int) -> int:
    """About 16 points a thread, within 1 to 32 warps."""
    return min(32, max(1, width // 512))
