"""Attention over variable-length key lists with relative position tables for query, key and value.

    logit(i, j)  = q_i . k_j + q_i . Tq(r) + k_j . Tk(r)        T(r) = T[b_x, :, x] + T[b_y, :, y] + T[b_z, :, z]
    out(i)       = sum_j softmax_j(logit)(v_j + Tv(r))          for every head by itself

Source: Stratified Transformer (Lai et al., CVPR 2022), facts of its kernels attention_v2 and rpe_v2; nothing copied.
The queries come scaled. Changed: no limit of keys or of head widths, nothing is padded to the fullest window, sums run
in the order of the list, so that results are the same bits every time on the CPU.

No (pairs, heads, width) value is ever kept: products with the tables are taken per point (N, 3 L) and gathered as
scalars, and gradients of the tables come from per-point sums over bins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pointops.windows import WindowPairs

BLOCK = 1 << 20  # pairs whose key vectors are in memory at once


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
    tensors = [query, key, value, query_table, key_table, value_table]
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    with torch.autocast(query.device.type, enabled=False):
        return _WindowAttention.apply(pairs, *(tensor.to(dtype) for tensor in tensors))  # pyright: ignore


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


class _WindowAttention(torch.autograd.Function):
    """Head by head; keeps the weights (M, H) for the way back."""

    @staticmethod
    def forward(ctx: Any, pairs: WindowPairs, query: Tensor, key: Tensor, value: Tensor, *tables: Tensor) -> Tensor:
        bins = _Bins.of(pairs, tables[0].shape[0])
        weights, out = [], torch.empty_like(query)
        for head in range(query.shape[1]):
            q, k, v = (part[:, head].contiguous() for part in (query, key, value))
            tq, tk, tv = (_flat(table, head) for table in tables)
            logit = _products(q, k, pairs)
            logit += _gathered(q @ tq.T, bins.of_query)
            logit += _gathered(k @ tk.T, bins.of_key)
            weight = _softmax(logit, pairs)
            weights.append(weight)
            out[:, head] = _summed(v, pairs.key, pairs.starts, weight) + bins.histogram(weight, bins.of_query) @ tv
        ctx.pairs = pairs
        ctx.save_for_backward(query, key, value, *tables, *weights)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grad, pairs = grads[0], ctx.pairs
        query, key, value, query_table, key_table, value_table, *weights = ctx.saved_tensors
        tables = (query_table, key_table, value_table)
        bins = _Bins.of(pairs, query_table.shape[0])
        order, first = pairs.by_key
        query_of = pairs.query.index_select(0, order)
        out = [torch.empty_like(part) for part in (query, key, value)]
        table_out = [torch.empty_like(table) for table in tables]
        for head, weight in enumerate(weights):
            q, k, v, g = (part[:, head].contiguous() for part in (query, key, value, grad))
            tq, tk, tv = (_flat(table, head) for table in tables)
            slope = _products(g, v, pairs)
            slope += _gathered(g @ tv.T, bins.of_query)
            mean = torch.zeros_like(q[:, 0]).index_add_(0, pairs.query, weight * slope)
            slope = weight * (slope - mean.index_select(0, pairs.query))
            by_query, by_key = bins.histogram(slope, bins.of_query), bins.histogram(slope, bins.of_key)
            seen = bins.histogram(weight, bins.of_query)
            out[0][:, head] = _summed(k, pairs.key, pairs.starts, slope) + by_query @ tq
            out[1][:, head] = _summed(q, query_of, first, slope.index_select(0, order)) + by_key @ tk
            out[2][:, head] = _summed(g, query_of, first, weight.index_select(0, order))
            for into, sums, vectors in zip(table_out, (by_query, by_key, seen), (q, k, g), strict=True):
                into[:, head] = (sums.T @ vectors).view(3, -1, q.shape[1]).permute(1, 2, 0)
        return None, *out, *table_out


class _Bins(NamedTuple):
    """Where each pair finds its three bins in flat (N, 3 L) values, by its query and by its key: (3 M,) int64."""

    of_query: Tensor
    of_key: Tensor
    points: int
    width: int

    @classmethod
    def of(cls, pairs: WindowPairs, length: int) -> _Bins:
        width = 3 * length
        column = pairs.bins.long() + length * torch.arange(3, device=pairs.bins.device)
        of_query = (pairs.query.unsqueeze(1) * width + column).view(-1)
        of_key = (pairs.key.long().unsqueeze(1) * width + column).view(-1)
        return cls(of_query, of_key, pairs.ends.shape[0], width)

    def histogram(self, weight: Tensor, at: Tensor) -> Tensor:
        """(N, 3 L) sums of the pairs' weights (M,) by row and bin."""
        tripled = weight.unsqueeze(1).expand(-1, 3).reshape(-1)
        return weight.new_zeros(self.points * self.width).index_add_(0, at, tripled).view(self.points, self.width)


def _check_shapes(query: Tensor, key: Tensor, value: Tensor, pairs: WindowPairs, *tables: Tensor) -> None:
    if query.ndim != 3 or key.shape != query.shape or value.shape != query.shape:
        shapes = [tuple(part.shape) for part in (query, key, value)]
        raise ValueError(f"query, key and value must all be (N, H, D), not {shapes}")
    if pairs.ends.shape[0] != query.shape[0]:
        raise ValueError(f"pairs are of {pairs.ends.shape[0]} points, query has {query.shape[0]}")
    for name, table in zip(("query_table", "key_table", "value_table"), tables, strict=True):
        if table.shape != (tables[0].shape[0], *query.shape[1:], 3):
            raise ValueError(f"{name} must be (L, {query.shape[1]}, {query.shape[2]}, 3), not {tuple(table.shape)}")


def _flat(table: Tensor, head: int) -> Tensor:
    """(3 L, D): the table of one head, x above y above z."""
    return table[:, head].permute(2, 0, 1).reshape(-1, table.shape[2]).contiguous()


def _products(left: Tensor, right: Tensor, pairs: WindowPairs) -> Tensor:
    """(M,) left[query] . right[key], a block of pairs at a time."""
    parts = [
        (left.index_select(0, rows) * right.index_select(0, columns)).sum(1)
        for rows, columns in zip(pairs.query.split(BLOCK), pairs.key.split(BLOCK), strict=True)
    ]
    return torch.cat(parts)


def _gathered(products: Tensor, at: Tensor) -> Tensor:
    """(M,) sums over the three axes of a pair's entries in products (N, 3 L)."""
    return products.reshape(-1).index_select(0, at).view(-1, 3).sum(1)


def _softmax(logit: Tensor, pairs: WindowPairs) -> Tensor:
    """(M,) softmax over the pairs of each query."""
    peak = logit.new_full(pairs.ends.shape, -torch.inf).scatter_reduce_(0, pairs.query, logit, "amax")
    power = (logit - peak.index_select(0, pairs.query)).exp_()
    total = torch.zeros_like(peak).index_add_(0, pairs.query, power)
    return power / total.index_select(0, pairs.query)


def _summed(vectors: Tensor, rows: Tensor, starts: Tensor, weight: Tensor) -> Tensor:
    """(N, D) sums of weight * vectors[row] over consecutive pairs; ``starts`` is each sum's first pair."""
    return functional.embedding_bag(rows.long(), vectors, starts, mode="sum", per_sample_weights=weight)
