"""Reductions over consecutive rows: segment s owns rows offset[s-1] .. offset[s]-1 of the value.

Order within a segment is the row order, so results are reproducible bit by bit, gradients included.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointops import _check, _register
from pointops.gather import gather_rows, scatter_rows
from pointops.inverse import InverseTable
from pointops.offsets import known_ends


def segment_sum(value: Tensor, offset: Tensor) -> Tensor:
    """(N, ...) and ends (S,) -> (S, ...) sums; an empty segment gives 0. Gradient to ``value``."""
    _check_segments(value, offset)
    return _sum(value, offset)


def segment_mean(value: Tensor, offset: Tensor) -> Tensor:
    """(N, ...) and ends (S,) -> (S, ...) means; an empty segment gives 0. Gradient to ``value``."""
    counts = torch.diff(offset, prepend=offset.new_zeros(1)).clamp_min(1).to(value.dtype)
    return segment_sum(value, offset) / counts.view(-1, *[1] * (value.ndim - 1))


def segment_max(value: Tensor, offset: Tensor) -> Tensor:
    """(N, ...) and ends (S,) -> (S, ...) maxima; an empty segment gives 0. Gradient shared among equal maxima."""
    _check_segments(value, offset)
    return _max(value, offset)


def segment_softmax(value: Tensor, offset: Tensor) -> Tensor:
    """Softmax over the rows of each segment, separately for every further axis: (N, ...) -> (N, ...)."""
    _check_segments(value, offset)
    return _softmax(value, offset)


def segment_broadcast(value: Tensor, offset: Tensor) -> Tensor:
    """(S, ...) values of segments -> (N, ...) values of their rows. Gradient to ``value``."""
    if value.shape[0] != offset.shape[0]:
        raise ValueError(f"value has {value.shape[0]} rows, offset has {offset.shape[0]} segments")
    rows = 0 if offset.shape[0] == 0 else int(offset[-1]) if offset.device.type == "cpu" else known_ends(offset)[-1]
    return _spread(value, offset, rows)


def _check_segments(value: Tensor, offset: Tensor) -> None:
    """Raises ValueError for bad ends; not while a graph is compiled, and not on a GPU, where it would wait."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim == 0:
        raise ValueError("value must be a floating-point tensor of rows")
    if offset.device.type == "cpu" and not torch.compiler.is_compiling():
        _check.ends("offset", offset, value.shape[0], "value")


def _owner(offset: Tensor, rows: int) -> Tensor:
    """(rows,) int32 segment of each row."""
    return torch.searchsorted(offset, torch.arange(rows, device=offset.device, dtype=offset.dtype), right=True).int()


def _inverse(offset: Tensor, rows: int) -> InverseTable:
    """The inverse of ``_owner``: rows lie together already."""
    start = torch.cat([offset.new_zeros(1), offset]).int()
    return InverseTable(start, torch.arange(rows, device=offset.device, dtype=torch.int32))


def _run_sum(value: Tensor, offset: Tensor) -> Tensor:
    rows, segments = value.shape[0], offset.shape[0]
    flat = value.reshape(rows, value[:1].numel() if rows else 0) if value.ndim != 2 else value
    out = scatter_rows(flat, _owner(offset, rows), segments, inverse=_inverse(offset, rows))
    return out.view(segments, *value.shape[1:]) if rows else value.new_zeros(segments, *value.shape[1:])


def _spread(value: Tensor, offset: Tensor, rows: int) -> Tensor:
    flat = value.reshape(value.shape[0], -1) if value.ndim != 2 else value
    out = gather_rows(flat, _owner(offset, rows), inverse=_inverse(offset, rows))
    return out.view(rows, *value.shape[1:])


def _peaks(value: Tensor, offset: Tensor) -> Tensor:
    """(S, ...) maxima, minus infinity for an empty segment."""
    index = _owner(offset, value.shape[0]).long().view(-1, *[1] * (value.ndim - 1)).expand_as(value)
    blank = value.new_full((offset.shape[0], *value.shape[1:]), -torch.inf)
    return blank.scatter_reduce(0, index, value, "amax", include_self=True)


def _run_max(value: Tensor, offset: Tensor) -> Tensor:
    empty = (torch.diff(offset, prepend=offset.new_zeros(1)) == 0).view(-1, *[1] * (value.ndim - 1))
    return _peaks(value, offset).masked_fill(empty, 0)


def _run_softmax(value: Tensor, offset: Tensor) -> Tensor:
    rows = value.shape[0]
    power = (value - _spread(_peaks(value.detach(), offset), offset, rows)).exp()
    return power / _spread(_run_sum(power, offset), offset, rows)


_sum = _register.composed("segment_sum(Tensor value, Tensor offset) -> Tensor", _run_sum)
_max = _register.composed("segment_max(Tensor value, Tensor offset) -> Tensor", _run_max)
_softmax = _register.composed("segment_softmax(Tensor value, Tensor offset) -> Tensor", _run_softmax)
