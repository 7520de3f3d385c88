"""From the host to a GPU without waiting for it: through page-locked memory, or once for what never changes."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


def to_device(value: Tensor, device: torch.device | str) -> Tensor:
    """``value`` on ``device``; to a GPU it goes through page-locked memory, so that the host does not wait."""
    if torch.device(device).type != "cuda" or value.device.type != "cpu":
        return value.to(device)
    return value.pin_memory().to(device, non_blocking=True)


@functools.lru_cache(maxsize=256)
def constant(values: tuple[object, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of these (nested tuples of) numbers, sent once and shared: do not change it in place."""
    return to_device(torch.tensor(values, dtype=dtype), device)
