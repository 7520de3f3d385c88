"""Reductions over consecutive rows: segment s owns rows offset[s-1] .. offset[s]-1 of the value.

Order within a segment is the row order, so results are reproducible bit by bit.
"""

import torch
from torch import Tensor

from pointops import _check
from pointops.offsets import offset2batch


def segment_sum(value: Tensor, offset: Tensor) -> Tensor:
    """(N, ...) and ends (S,) -> (S, ...) sums; an empty segment gives 0. Gradient to ``value``."""
    return _reduce(value, offset, "sum")


def segment_mean(value: Tensor, offset: Tensor) -> Tensor:
    """(N, ...) and ends (S,) -> (S, ...) means; an empty segment gives 0. Gradient to ``value``."""
    counts = torch.diff(offset, prepend=offset.new_zeros(1)).clamp_min(1).to(value.dtype)
    return segment_sum(value, offset) / counts.view(-1, *[1] * (value.ndim - 1))


def segment_max(value: Tensor, offset: Tensor) -> Tensor:
    """(N, ...) and ends (S,) -> (S, ...) maxima; an empty segment gives 0. Gradient shared among equal maxima."""
    filled = _reduce(value, offset, "amax")
    empty = (torch.diff(offset, prepend=offset.new_zeros(1)) == 0).view(-1, *[1] * (value.ndim - 1))
    return filled.masked_fill(empty, 0)


def segment_softmax(value: Tensor, offset: Tensor) -> Tensor:
    """Softmax over the rows of each segment, separately for every further axis: (N, ...) -> (N, ...)."""
    owner = _owner(value, offset)
    peak = _reduce(value.detach(), offset, "amax").index_select(0, owner)
    power = (value - peak).exp()
    return power / segment_sum(power, offset).index_select(0, owner)


def segment_broadcast(value: Tensor, offset: Tensor) -> Tensor:
    """(S, ...) values of segments -> (N, ...) values of their rows. Gradient to ``value``."""
    if value.shape[0] != offset.shape[0]:
        raise ValueError(f"value has {value.shape[0]} rows, offset has {offset.shape[0]} segments")
    return value.index_select(0, offset2batch(offset))


def _owner(value: Tensor, offset: Tensor) -> Tensor:
    _check.ends("offset", offset, value.shape[0], "value") if offset.device.type == "cpu" else None
    return offset2batch(offset)


def _reduce(value: Tensor, offset: Tensor, how: str) -> Tensor:
    owner = _owner(value, offset)
    if how == "sum":
        return value.new_zeros(offset.shape[0], *value.shape[1:]).index_add(0, owner, value)
    index = owner.view(-1, *[1] * (value.ndim - 1)).expand_as(value)
    blank = value.new_full((offset.shape[0], *value.shape[1:]), -torch.inf)
    return blank.scatter_reduce(0, index, value, how, include_self=True)
