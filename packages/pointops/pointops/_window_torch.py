"""Window attention in plain torch, head by head: for float64, half-built installations and GPUs without Triton.

No (pairs, heads, width) value is ever kept: products with the tables are taken per point (N, 3 L) and gathered as
scalars, and gradients of the tables come from per-point sums over bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pointops.windows import WindowPairs

BLOCK = 1 << 20  # pairs whose key vectors are in memory at once


def forward(
    query: Tensor, key: Tensor, value: Tensor, tables: Sequence[Tensor], pairs: WindowPairs
) -> tuple[Tensor, Tensor]:
    """The output (N, H, D), and the weights (M, H) for the way back."""
    bins = _Bins.of(pairs, tables[0].shape[0])
    weights, out = query.new_empty(pairs.key.shape[0], query.shape[1]), torch.empty_like(query)
    for head in range(query.shape[1]):
        q, k, v = (part[:, head].contiguous() for part in (query, key, value))
        tq, tk, tv = (_flat(table, head) for table in tables)
        logit = _products(q, k, pairs)
        logit += _gathered(q @ tq.T, bins.of_query)
        logit += _gathered(k @ tk.T, bins.of_key)
        weight = _softmax(logit, pairs)
        weights[:, head] = weight
        out[:, head] = _summed(v, pairs.key, pairs.starts, weight) + bins.histogram(weight, bins.of_query) @ tv
    return out, weights


def backward(
    grad: Tensor,
    weights: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    tables: Sequence[Tensor],
    pairs: WindowPairs,
    by_key: tuple[Tensor, Tensor],
) -> tuple[Tensor, ...]:
    """Gradients of query, key, value and the three tables."""
    bins = _Bins.of(pairs, tables[0].shape[0])
    order, first = by_key
    query_of = pairs.query.index_select(0, order)
    out = [torch.empty_like(part) for part in (query, key, value)]
    table_out = [torch.empty_like(table) for table in tables]
    for head in range(query.shape[1]):
        weight = weights[:, head].contiguous()
        q, k, v, g = (part[:, head].contiguous() for part in (query, key, value, grad))
        tq, tk, tv = (_flat(table, head) for table in tables)
        slope = _products(g, v, pairs)
        slope += _gathered(g @ tv.T, bins.of_query)
        mean = torch.zeros_like(q[:, 0]).index_add_(0, pairs.query, weight * slope)
        slope = weight * (slope - mean.index_select(0, pairs.query))
        by_query, of_key = bins.histogram(slope, bins.of_query), bins.histogram(slope, bins.of_key)
        seen = bins.histogram(weight, bins.of_query)
        out[0][:, head] = _summed(k, pairs.key, pairs.starts, slope) + by_query @ tq
        out[1][:, head] = _summed(q, query_of, first, slope.index_select(0, order)) + of_key @ tk
        out[2][:, head] = _summed(g, query_of, first, weight.index_select(0, order))
        for into, sums, vectors in zip(table_out, (by_query, of_key, seen), (q, k, g), strict=True):
            into[:, head] = (sums.T @ vectors).view(3, -1, q.shape[1]).permute(1, 2, 0)
    return (*out, *table_out)


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
