"""Attention over variable-length key lists with relative position tables for query, key and value.

    logit(i, j)  = q_i . k_j + q_i . Tq(r) + k_j . Tk(r)        T(r) = T[b_x, :, x] + T[b_y, :, y] + T[b_z, :, z]
    out(i)       = sum_j softmax_j(logit)(v_j + Tv(r))          for every head by itself

Source: Stratified Transformer (Lai et al., CVPR 2022), facts of its kernels attention_v2 and rpe_v2; nothing copied.
The queries come scaled. Changed: no limit of keys or of head widths, nothing is padded to the fullest window, sums run
in the order of the list, so that results are the same bits every time on the CPU.

Nothing of the size (pairs, heads, width) is ever kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pointops import _dispatch, _native, _register, _window_torch
from pointops.windows import WindowPairs


def window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pairs: WindowPairs,
    query_table: Tensor,
    key_table: Tensor,
    value_table: Tensor,
) -> Tensor:
    """The attention above, in float32 (or float64) even under mixed precision.

    Args:
        query: (N, H, D), scaled.
        key: (N, H, D).
        value: (N, H, D).
        pairs: the keys of each query and their bins.
        query_table: (L, H, D, 3); likewise ``key_table`` and ``value_table``.

    Returns:
        (N, H, D) in float32 (float64 for float64 inputs). Gradients to everything but ``pairs``.

    Raises:
        ValueError: shapes that contradict each other.
    """
    _check_shapes(query, key, value, pairs, query_table, key_table, value_table)
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    tensors = (t.to(dtype) for t in (query, key, value, query_table, key_table, value_table))
    sorts = pairs.by_key if query.device.type != "cpu" or dtype == torch.float64 else (None, None)
    return _attend(*tensors, pairs.ends, pairs.key, pairs.bins, *sorts)[0]


def window_attention_reference(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pairs: WindowPairs,
    query_table: Tensor,
    key_table: Tensor,
    value_table: Tensor,
) -> Tensor:
    """What ``window_attention`` means: every pair's vectors gathered, for all heads at once."""
    row, column, bins = pairs.query, pairs.key.long(), pairs.bins.long()
    at = lambda table: sum(table[bins[:, axis], :, :, axis] for axis in range(3))  # noqa: E731
    logit = (query[row] * (key[column] + at(query_table)) + key[column] * at(key_table)).sum(-1)
    power = (logit - logit.detach().max()).exp()
    weight = power / torch.zeros_like(query[..., 0]).index_add(0, row, power)[row]
    return torch.zeros_like(query).index_add(0, row, weight.unsqueeze(-1) * (value[column] + at(value_table)))


def _check_shapes(query: Tensor, key: Tensor, value: Tensor, pairs: WindowPairs, *tables: Tensor) -> None:
    if query.ndim != 3 or key.shape != query.shape or value.shape != query.shape:
        shapes = [tuple(part.shape) for part in (query, key, value)]
        raise ValueError(f"query, key and value must all be (N, H, D), not {shapes}")
    if pairs.ends.shape[0] != query.shape[0]:
        raise ValueError(f"pairs are of {pairs.ends.shape[0]} points, query has {query.shape[0]}")
    for name, table in zip(("query_table", "key_table", "value_table"), tables, strict=True):
        if table.shape != (tables[0].shape[0], *query.shape[1:], 3):
            raise ValueError(f"{name} must be (L, {query.shape[1]}, {query.shape[2]}, 3), not {tuple(table.shape)}")


def _check_pairs(query: Tensor, table: Tensor, keys: Tensor, bins: Tensor) -> None:
    """Raises ValueError for pairs that name points or bins that do not exist."""
    if keys.dtype != torch.int32 or bins.dtype != torch.uint8 or bins.shape != (keys.shape[0], 3):
        raise ValueError(f"pairs: key must be int32 and bins (M, 3) uint8, not {keys.dtype} and {bins.dtype}")
    if keys.numel() and not 0 <= int(keys.min()) <= int(keys.max()) < query.shape[0]:
        raise ValueError(f"pairs: key must lie in 0..{query.shape[0] - 1}")
    if bins.numel() and int(bins.max()) >= table.shape[0]:
        raise ValueError(f"pairs: bins must lie in 0..{table.shape[0] - 1}, the rows of the tables")


def _run(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_table: Tensor,
    key_table: Tensor,
    value_table: Tensor,
    ends: Tensor,
    keys: Tensor,
    bins: Tensor,
    order: Tensor | None,
    first: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The output (N, H, D), and the weights (M, H) for the way back."""
    tables = (query_table, key_table, value_table)
    if query.device.type == "cpu":
        _check_pairs(query, query_table, keys, bins)
    how = _dispatch.kernels(query)
    if how == "Triton":
        from pointops.triton import window

        given = _contiguous(query, key, value, tables, ends, keys, bins)
        return window.forward(*given[:3], given[3:6], *given[6:])  # pyright: ignore[reportCallIssue]
    if how == "torch":
        with torch.autocast(query.device.type, enabled=False):
            return _window_torch.forward(query, key, value, tables, WindowPairs(ends, keys, bins))
    out, weight = _fake(query, key, value, *tables, ends, keys, bins, order, first)
    given = _contiguous(query, key, value, tables, ends, keys, bins)
    _native.call(
        "pointops_window_attention", *given, *query.shape, query_table.shape[0], _native.threads(), weight, out
    )
    return out, weight


def _fake(query: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return query.new_empty(query.shape), query.new_empty((others[6].shape[0], query.shape[1]))


def _run_backward(
    grad: Tensor,
    weight: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_table: Tensor,
    key_table: Tensor,
    value_table: Tensor,
    ends: Tensor,
    keys: Tensor,
    bins: Tensor,
    order: Tensor | None,
    first: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    tables = (query_table, key_table, value_table)
    how = _dispatch.kernels(query)
    pairs = WindowPairs(ends, keys, bins)
    if how == "Triton":
        from pointops.triton import window

        given = _contiguous(query, key, value, tables, ends, keys, bins)
        sorts = pairs.by_key if order is None or first is None else (order, first)
        lists = (*given[6:], pairs.query, sorts)
        grads = window.backward(grad.contiguous(), weight, *given[:3], given[3:6], *lists)  # pyright: ignore
        return *grads[:3], *(part.permute(2, 0, 3, 1).contiguous() for part in grads[3:])  # pyright: ignore
    if how == "torch":
        sorts = pairs.by_key if order is None or first is None else (order, first)
        with torch.autocast(query.device.type, enabled=False):
            return _window_torch.backward(grad, weight, query, key, value, tables, pairs, sorts)  # pyright: ignore
    out = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in (query, key, value)]
    table_out = query.new_empty((3, query.shape[1], 3, query_table.shape[0], query.shape[2]))
    given = _contiguous(query, key, value, tables, ends, keys, bins)
    sizes = (*query.shape, query_table.shape[0], _native.threads())
    _native.call("pointops_window_attention_backward", grad.contiguous(), weight, *given, *sizes, *out, table_out)
    first_table, second_table, third_table = (part.permute(2, 0, 3, 1).contiguous() for part in table_out)
    return out[0], out[1], out[2], first_table, second_table, third_table


def _fake_backward(grad: Tensor, weight: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(value.new_empty(value.shape) for value in inputs[:6])


def _contiguous(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    tables: tuple[Tensor, ...],
    ends: Tensor,
    keys: Tensor,
    bins: Tensor,
) -> list[Tensor]:
    """Arguments as the kernel wants them; tables as (H, 3, L, D)."""
    turned = (table.permute(1, 3, 0, 2) for table in tables)
    return [part.contiguous() for part in (query, key, value, *turned, ends.long(), keys, bins)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1], *inputs)
    ctx.mark_non_differentiable(output[1])


def _gradient(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    return *_attend_backward(grad, *ctx.saved_tensors), None, None, None, None, None


_INPUTS = (
    "Tensor query, Tensor key, Tensor value, Tensor query_table, Tensor key_table, Tensor value_table, "
    "Tensor ends, Tensor keys, Tensor bins, Tensor? order, Tensor? first"
)
_attend_backward = _register.operation(
    f"window_attention_backward(Tensor grad, Tensor weight, {_INPUTS})"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _run_backward,
    _fake_backward,
)
_attend = _register.differentiable(f"window_attention({_INPUTS}) -> (Tensor, Tensor)", _run, _fake, _save, _gradient)
