"""Scene structure: cumulative ends (``offset``) and scene numbers (``batch``).

The ends are needed on the host again and again (to cut, to check, to launch), where reading them from a GPU would wait
for all work before. So an offset remembers them: made by :func:`make_offset` or carried over by :func:`moved_offset`
they are never read back, and any other offset is read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from pointops import _check
from pointops.transfer import to_device


def make_offset(counts: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """(B,) int64 ends of scenes with so many rows each; a GPU is not waited for."""
    values = list(accumulate(counts))
    return _check.remember(to_device(torch.tensor(values, dtype=torch.int64), device), values)


def moved_offset(offset: Tensor, device: torch.device | str, non_blocking: bool = False) -> Tensor:
    """The offset on another device; its ends stay known there."""
    return _check.remember(offset.to(device, non_blocking=non_blocking), _check.known_ends(offset))


def known_ends(offset: Tensor) -> list[int]:
    """The ends as integers; from a GPU they are read once in the life of the tensor."""
    return list(_check.known_ends(offset))


def known_counts(offset: Tensor) -> list[int]:
    """The rows of each scene as integers, see :func:`known_ends`."""
    ends = _check.known_ends(offset)
    return [end - start for start, end in zip([0, *ends][:-1], ends, strict=True)]


def offset2batch(offset: Tensor) -> Tensor:
    """Scene number of every row.

    Args:
        offset: (B,) int32 or int64, cumulative ends.

    Returns:
        (N,) int64 on the device of ``offset``.
    """
    if offset.device.type == "cpu":
        _check.ends("offset", offset, None)
    counts = torch.diff(offset.long(), prepend=offset.new_zeros(1, dtype=torch.int64))
    scenes = torch.arange(offset.shape[0], device=offset.device)
    if offset.device.type != "cuda" or offset.shape[0] == 0:
        return scenes.repeat_interleave(counts)
    return scenes.repeat_interleave(counts, output_size=_check.known_ends(offset)[-1])


def batch2offset(batch: Tensor) -> Tensor:
    """Cumulative ends from scene numbers; a scene number that does not occur is an empty scene.

    Args:
        batch: (N,) integers that never decrease.

    Returns:
        (B,) int32, B = largest scene number + 1.

    Raises:
        ValueError: not a vector of integers, or scene numbers that decrease (CPU only).
    """
    if batch.ndim != 1 or batch.is_floating_point() or batch.dtype == torch.bool:
        raise ValueError(f"batch must be a vector of integers, not {batch.dtype} {tuple(batch.shape)}")
    if batch.device.type == "cpu" and bool((torch.diff(batch) < 0).any()):
        raise ValueError("batch must not decrease: the rows of a scene lie together")
    return torch.cumsum(batch.bincount(), dim=0).int()


def offset2counts(offset: Tensor) -> Tensor:
    """(B,) rows per scene, in the dtype of ``offset``."""
    return torch.diff(offset, prepend=offset.new_zeros(1))


def scene_slices(offset: Tensor) -> list[slice]:
    """The rows of each scene as slices."""
    values = _check.ends("offset", offset, None)
    return [slice(start, end) for start, end in zip([0, *values][:-1], values, strict=True)]
