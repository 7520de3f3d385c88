"""Farthest point sampling that goes on from rows chosen before, so that one order begins with another."""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
from torch import Tensor

from pointops import _check, _native
from pointops.offsets import moved_offset
from pointops.sampling import checked
from pointops.transfer import to_device


def continued_sampling(
    xyz: Tensor, offset: Tensor, chosen: Tensor, chosen_offset: Tensor, new_offset: Tensor
) -> Tensor:
    """Per scene: the chosen rows, then again and again the point farthest from all rows so far.

    A point at the place of a chosen one comes last (in row order); a sample larger than its scene repeats the scene's
    first row. On a GPU it is made by the CPU's kernel and sent.

    Args:
        xyz: (N, 3) float32.
        offset: (B,) cumulative ends of ``xyz``.
        chosen: (K,) rows of ``xyz``, scene by scene; repeats count once, and what exceeds the sample is left out.
        chosen_offset: (B,) cumulative ends of ``chosen``.
        new_offset: (B,) cumulative ends of the sample.

    Returns:
        (M,) int32 rows of ``xyz``. No gradient.

    Raises:
        ValueError: bad shapes or offsets, rows of another scene, or a sample asked of an empty scene.
    """
    device = xyz.device
    if device.type == "cuda":
        offsets = (moved_offset(each, "cpu") for each in (offset, chosen_offset, new_offset))
        offset, chosen_offset, new_offset = offsets
        xyz, chosen = xyz.cpu(), chosen.cpu()
    xyz, ends, new_ends = checked(xyz, offset, new_offset)
    given_ends = _check.ends("chosen_offset", chosen_offset, chosen.shape[0], "chosen")
    _check.same_scenes("chosen_offset", given_ends, "offset", ends)
    scenes = zip(*(pairwise([0, *each]) for each in (ends, given_ends, new_ends)), strict=True)
    kept = []
    for (start, end), (first, last), (low, high) in scenes:
        rows = list(dict.fromkeys(chosen[first:last].tolist()))[: min(high - low, end - start)]
        if any(not start <= row < end for row in rows):
            raise ValueError(f"chosen names rows outside of their scene, which holds {start}..{end - 1}")
        kept.append(rows)
    return to_device(_continued(xyz, ends, kept, new_ends), device)


def _continued(xyz: Tensor, ends: list[int], chosen: list[list[int]], new_ends: list[int]) -> Tensor:
    """The sample of checked arguments on the CPU; ``chosen`` are different rows of each scene."""
    sample = torch.full((new_ends[-1],), -1, dtype=torch.int32)
    if _native.library() is not None:
        rows = torch.tensor([row for scene in chosen for row in scene], dtype=torch.int32)
        given_ends = list(accumulate(len(scene) for scene in chosen))
        threads = _native.threads()
        _native.call("pointops_fps_continue", xyz, ends, len(ends), rows, given_ends, new_ends, threads, sample)
    else:
        for (start, end), rows, (low, high) in zip(pairwise([0, *ends]), chosen, pairwise([0, *new_ends]), strict=True):
            found = _continued_scene(xyz[start:end], [row - start for row in rows], high - low)
            sample[low : low + len(found)] = torch.tensor(found, dtype=torch.int32) + start
    for (start, end), (low, high) in zip(pairwise([0, *ends]), pairwise([0, *new_ends]), strict=True):
        part = sample[low:high]
        lacking = (part < 0).nonzero()[:, 0]
        if len(lacking):
            free = torch.ones(end - start, dtype=torch.bool)
            free[(part[part >= 0] - start).long()] = False
            rest = free.nonzero()[:, 0][: len(lacking)].int() + start
            part[lacking] = torch.cat([rest, rest.new_full((len(lacking) - len(rest),), start)])
    return sample


def _continued_scene(xyz: Tensor, rows: list[int], asked: int) -> list[int]:
    """What going on means: one sweep over the scene per sample, until only copies of chosen points are left."""
    x, y, z = (axis.contiguous() for axis in xyz.unbind(1))
    nearest, order = torch.full_like(x, 1e38), list[int]()
    while len(order) < asked:
        if len(order) < len(rows):
            row = rows[len(order)]
        elif nearest.max() <= 0:
            break
        else:
            row = int((nearest == nearest.max()).nonzero()[0])
        order.append(row)
        dx, dy, dz = x - x[row], y - y[row], z - z[row]
        nearest = torch.minimum(nearest, (dx * dx + dy * dy) + dz * dz)
    return order
