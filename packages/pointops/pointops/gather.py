"""Rows by number, and its adjoint: sums of rows by number.

Everything that reads neighbors is built on these two. Both add in the order of the entries, so results and gradients
are the same bits every time: on the CPU for any number of threads, on a GPU by an inverse table instead of atomics.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointops import _check, _dispatch, _native, _register
from pointops.inverse import InverseTable, table_for


def gather_rows(feat: Tensor, idx: Tensor, *, inverse: InverseTable | None = None) -> Tensor:
    """feat[idx]; -1 gives a row of zeros.

    Args:
        feat: (N, C) features of any floating-point type.
        idx: (...) int32 or int64 rows of ``feat``, or -1.
        inverse: of ``idx`` over the N rows. A GPU's backward pass uses it; without one it makes its own.

    Returns:
        (..., C). Gradient to ``feat``.

    Raises:
        ValueError: bad shapes or types, rows out of range (on the CPU), or an inverse of another table.
    """
    _dispatch.check_features("feat", feat, None, None)
    _dispatch.check_index(idx)
    _dispatch.check_device(idx, "feat", feat)
    return _gather(feat, idx, *_dispatch.tables(inverse, idx, feat.shape[0]))


def gather_rows_reference(feat: Tensor, idx: Tensor) -> Tensor:
    """What ``gather_rows`` means: plain indexing, with a row of zeros at the end for -1."""
    return torch.cat([feat, feat.new_zeros(1, feat.shape[1])])[idx.long()]


def scatter_rows(value: Tensor, idx: Tensor, rows: int, *, inverse: InverseTable | None = None) -> Tensor:
    """Row r of the result sums the rows of ``value`` whose ``idx`` is r; those of -1 are left out.

    Args:
        value: (..., C).
        idx: (...) int32 or int64 in -1..rows-1.
        rows: of the result.
        inverse: of ``idx`` over ``rows``, see :func:`gather_rows`.

    Returns:
        (rows, C), summed in float32 for half precision. Gradient to ``value``.

    Raises:
        ValueError: bad shapes or types, rows out of range (on the CPU), or an inverse of another table.
    """
    _dispatch.check_index(idx)
    _dispatch.check_features("value", value, *idx.shape, None)
    _dispatch.check_device(idx, "value", value)
    rows = _check.integer("rows", rows, 0)
    return _scatter(value, idx, *_dispatch.tables(inverse, idx, rows), rows)


def scatter_rows_reference(value: Tensor, idx: Tensor, rows: int) -> Tensor:
    """What ``scatter_rows`` means: one addition after the other."""
    flat, total = _dispatch.accumulated(value).reshape(-1, value.shape[-1]), idx.reshape(-1).long()
    out = flat.new_zeros(rows + 1, value.shape[-1]).index_add(0, torch.where(total < 0, rows, total), flat)
    return out[:rows].to(value.dtype)


def _run_gather(feat: Tensor, idx: Tensor, start: Tensor | None, entry: Tensor | None) -> Tensor:
    how = _dispatch.kernels(feat)
    if how == "torch":
        return gather_rows_reference(feat, _check.index("idx", idx, feat.shape[0]))
    rows, feat = _dispatch.rows32(idx, feat.shape[0]), feat.contiguous()
    if how == "Triton":
        from pointops.triton import features

        return features.gather(feat, rows)
    out = _fake_gather(feat, idx, start, entry)
    _native.call("pointops_gather", feat, *feat.shape, rows, idx.numel(), _native.threads(), out)
    return out


def _fake_gather(feat: Tensor, idx: Tensor, start: Tensor | None, entry: Tensor | None) -> Tensor:
    return feat.new_empty((*idx.shape, feat.shape[1]))


def _run_scatter(value: Tensor, idx: Tensor, start: Tensor | None, entry: Tensor | None, rows: int) -> Tensor:
    how = _dispatch.kernels(value)
    if how == "torch":
        return scatter_rows_reference(value, _check.index("idx", idx, rows), rows)
    named, value = _dispatch.rows32(idx, rows), value.contiguous()
    if how == "Triton":
        from pointops.triton import features

        return features.scatter(value, *table_for(named, rows, start, entry))
    out = _fake_scatter(value, idx, start, entry, rows)
    _native.call("pointops_scatter", value, *out.shape, named, idx.numel(), _native.threads(), out)
    return out


def _fake_scatter(value: Tensor, idx: Tensor, start: Tensor | None, entry: Tensor | None, rows: int) -> Tensor:
    return value.new_empty((rows, value.shape[-1]))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.rows = inputs[0].shape[0]
    ctx.save_for_backward(*inputs[1:4])


def _gather_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return _scatter(grad, *ctx.saved_tensors, ctx.rows), None, None, None


def _scatter_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return _gather(grad, *ctx.saved_tensors), None, None, None, None


_gather = _register.differentiable(
    "gather(Tensor feat, Tensor idx, Tensor? start, Tensor? entry) -> Tensor",
    _run_gather,
    _fake_gather,
    _save,
    _gather_backward,
)
_scatter = _register.differentiable(
    "scatter(Tensor value, Tensor idx, Tensor? start, Tensor? entry, int rows) -> Tensor",
    _run_scatter,
    _fake_scatter,
    _save,
    _scatter_backward,
)
