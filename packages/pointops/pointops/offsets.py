"""Scene structure: cumulative ends (``offset``) and scene numbers (``batch``)."""

from __future__ import annotations

import torch
from torch import Tensor

from pointops import _check


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
    return torch.arange(offset.shape[0], device=offset.device).repeat_interleave(counts)


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
