"""Stratified Transformer's ``pointops2``: its functions under its names, in its argument order.

Source: dvlab-research/Stratified-Transformer (MIT) and Pointcept's libs/pointops2; nothing copied. The kernels' limits
(1,024 keys a query, heads of 16 or 32 channels) do not exist here, so ``n_max`` is taken and not needed.

    pairs       M pairs of a query row and a key row. Either ``index0`` (M,) and ``index1`` (M,), or sorted by query:
                ``index0_offsets`` (N + 1,), first pair of each query and the end, and ``index1``.
    position    ``table`` (L, H, D, 3) and ``rel_idx`` (M, 3) rows of it:
                T(r) = table[r_x, :, :, 0] + table[r_y, :, :, 1] + table[r_z, :, :, 2]

A whole attention in one call is :func:`pointops.window_attention`; it keeps far less and is faster.
No (M, H, D) value is made for the tables: products with them are taken per row and bin, and sums likewise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pointops import _check, _dispatch
from pointops.aggregation import aggregation
from pointops.compat.postech import (
    furthestsampling,
    grouping,
    interpolation,
    interpolation2,
    knnquery,
    rows_of,
    subtraction,
)
from pointops.compat.postech import queryandgroup as _queryandgroup
from pointops.gather import gather_rows, scatter_rows
from pointops.interpolation import EPSILON, interpolate

__all__ = [
    "aggregation",
    "attention_step1",
    "attention_step1_v2",
    "attention_step2",
    "attention_step2_v2",
    "attention_step2_with_rel_pos_value",
    "attention_step2_with_rel_pos_value_v2",
    "dot_prod_with_idx",
    "dot_prod_with_idx_v2",
    "dot_prod_with_idx_v3",
    "furthestsampling",
    "grouping",
    "interpolation",
    "interpolation2",
    "interpolation_v2",
    "knnquery",
    "precompute_all",
    "queryandgroup",
    "subtraction",
]


def attention_step1(q: Tensor, k: Tensor, index0: Tensor, index1: Tensor) -> Tensor:
    """out[m, h] = q[index0[m], h] . k[index1[m], h], from (N, H, D) and (N', H, D) to (M, H). Gradients to both."""
    _heads("q", q)
    _heads("k", k, q)
    _pairs("index0", index0, q, "index1", index1, k)
    return (rows_of(q, index0) * rows_of(k, index1)).sum(-1)


def attention_step1_v2(q: Tensor, k: Tensor, index1: Tensor, index0_offsets: Tensor, n_max: int | Tensor) -> Tensor:
    """:func:`attention_step1` of pairs sorted by query."""
    _heads("q", q)
    return attention_step1(q, k, _owners("index0_offsets", index0_offsets, q.shape[0], "index1", index1), index1)


def attention_step2(attn: Tensor, v: Tensor, index0: Tensor, index1: Tensor) -> Tensor:
    """out[n, h] = sum over the pairs of query n of attn[m, h] v[index1[m], h]: (max(index0) + 1, H, D).

    Args:
        attn: (M, H) weights.
        v: (N, H, D).

    Returns:
        As many rows as the largest of ``index0`` asks for. Gradients to ``attn`` and ``v``.
    """
    return _weighed(attn, v, index0, index1, _queries(index0))


attention_step2_v2 = attention_step2


def dot_prod_with_idx(q: Tensor, index: Tensor, table: Tensor, rel_idx: Tensor) -> Tensor:
    """out[m, h] = q[index[m], h] . T(rel_idx[m])[h], (M, H). Gradients to ``q`` (N, H, D) and ``table``."""
    _heads("q", q)
    _table("table", table, q)
    places = _places("index", index, q.shape[0], table, rel_idx)
    products = _contracted("nhd,lhda->nalh", q, table).reshape(-1, q.shape[1])
    return gather_rows(products, places).sum(1)


def dot_prod_with_idx_v2(
    q: Tensor, index_q: Tensor, k: Tensor, index_k: Tensor, table_q: Tensor, table_k: Tensor, rel_idx: Tensor
) -> Tensor:
    """:func:`dot_prod_with_idx` of the queries, plus that of the keys."""
    _pairs("index_q", index_q, q, "index_k", index_k, k)
    return dot_prod_with_idx(q, index_q, table_q, rel_idx) + dot_prod_with_idx(k, index_k, table_k, rel_idx)


def dot_prod_with_idx_v3(
    q: Tensor,
    index_q_offsets: Tensor,
    n_max: int | Tensor,
    k: Tensor,
    index_k: Tensor,
    table_q: Tensor,
    table_k: Tensor,
    rel_idx: Tensor,
) -> Tensor:
    """:func:`dot_prod_with_idx_v2` of pairs sorted by query."""
    _heads("q", q)
    index_q = _owners("index_q_offsets", index_q_offsets, q.shape[0], "index_k", index_k)
    return dot_prod_with_idx_v2(q, index_q, k, index_k, table_q, table_k, rel_idx)


def attention_step2_with_rel_pos_value(
    attn: Tensor, v: Tensor, index0: Tensor, index1: Tensor, table: Tensor, rel_idx: Tensor
) -> Tensor:
    """out[n, h] = sum over the pairs of query n of attn[m, h] (v[index1[m], h] + T(rel_idx[m])[h]).

    Returns:
        (max(index0) + 1, H, D). Gradients to ``attn``, ``v`` and ``table``.
    """
    return _with_position(attn, v, index0, index1, table, rel_idx, _queries(index0))


def attention_step2_with_rel_pos_value_v2(
    attn: Tensor,
    v: Tensor,
    index0_offsets: Tensor,
    n_max: int | Tensor,
    index1: Tensor,
    table: Tensor,
    rel_idx: Tensor,
) -> Tensor:
    """:func:`attention_step2_with_rel_pos_value` of pairs sorted by query: (N, H, D), a row for each of ``v``."""
    _heads("v", v)
    index0 = _owners("index0_offsets", index0_offsets, v.shape[0], "index1", index1)
    return _with_position(attn, v, index0, index1, table, rel_idx, v.shape[0])


def precompute_all(
    points: int, windows: int, n_max: int | Tensor, counts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All pairs within windows of points that lie window after window (SphereFormer's and later forks').

    Args:
        points: N.
        windows: n.
        n_max: points of the fullest window; not needed.
        counts: (n,) points of each window.

    Returns:
        index_0_offsets: (N + 1,) int64 first pair of each query, and the end.
        index_1_offsets: (N,) int32 first pair of each key.
        index_0: (M,) int32 query rows.
        index_1: (M,) int32 key rows.
    """
    if not isinstance(counts, Tensor) or counts.ndim != 1 or counts.dtype not in (torch.int32, torch.int64):
        raise ValueError("counts must be a vector of int32 or int64")
    counts = counts.long()
    _check.same("windows", int(windows), "the number of counts", counts.shape[0])
    _check.same("points", int(points), "the sum of counts", int(counts.sum()))
    window = torch.arange(counts.shape[0], device=counts.device).repeat_interleave(counts)
    size = counts[window]
    start = (counts.cumsum(0) - counts)[window]  # first row of the window of each point
    squares = counts * counts
    place = (squares.cumsum(0) - squares)[window]  # first pair of that window
    within = torch.arange(window.shape[0], device=counts.device) - start
    ends = size.cumsum(0)
    index_0 = torch.arange(window.shape[0], device=counts.device).repeat_interleave(size)
    index_1 = torch.arange(index_0.shape[0], device=counts.device) + (start - (ends - size)).repeat_interleave(size)
    return torch.cat([ends.new_zeros(1), ends]), (place + within).int(), index_0.int(), index_1.int()


def queryandgroup(
    nsample: int,
    xyz: Tensor,
    new_xyz: Tensor | None,
    feat: Tensor,
    idx: Tensor | None,
    offset: Tensor,
    new_offset: Tensor | None,
    use_xyz: bool = True,
    return_indx: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """:func:`pointops.compat.postech.queryandgroup`; with ``return_indx`` also the (M, nsample) rows."""
    if idx is None:
        idx, _ = knnquery(nsample, xyz, new_xyz, offset, new_offset)
    grouped = _queryandgroup(nsample, xyz, new_xyz, feat, idx, offset, new_offset, use_xyz)
    return (grouped, idx) if return_indx else grouped


def interpolation_v2(
    xyz: Tensor, new_xyz: Tensor, feat: Tensor, offset: Tensor, new_offset: Tensor, k: int = 3
) -> Tensor:
    """:func:`interpolation` with d = sqrt(d^2 + 1e-8), whose gradient also reaches ``xyz`` and ``new_xyz``."""
    idx, _ = knnquery(k, xyz, new_xyz, offset, new_offset)
    distance = ((new_xyz.unsqueeze(1) - grouping(xyz, idx)).square().sum(-1) + 1e-8).sqrt()
    closeness = 1.0 / (distance + EPSILON)
    return interpolate(feat, idx, closeness / closeness.sum(1, keepdim=True))


def _weighed(attn: Tensor, v: Tensor, index0: Tensor, index1: Tensor, queries: int) -> Tensor:
    _heads("v", v)
    _dispatch.check_features("attn", attn, index1.shape[0], v.shape[1])
    _pairs("index0", index0, v.new_empty(queries, 0), "index1", index1, v)
    terms = attn.unsqueeze(-1) * rows_of(v, index1)
    return scatter_rows(terms.flatten(1), index0, queries).view(queries, *v.shape[1:])


def _with_position(
    attn: Tensor, v: Tensor, index0: Tensor, index1: Tensor, table: Tensor, rel_idx: Tensor, queries: int
) -> Tensor:
    out = _weighed(attn, v, index0, index1, queries)
    _table("table", table, v)
    places = _places("index0", index0, queries, table, rel_idx)
    spread = attn.unsqueeze(1).expand(-1, 3, -1).contiguous()
    seen = scatter_rows(spread, places, queries * 3 * table.shape[0]).view(queries, 3, table.shape[0], -1)
    return out + _contracted("nalh,lhda->nhd", seen, table)


def _contracted(how: str, value: Tensor, table: Tensor) -> Tensor:
    """An einsum in the wider of both types, under autocast too."""
    with torch.autocast(value.device.type, enabled=False):
        return torch.einsum(how, *_dispatch.common_dtype(value, table))


def _places(name: str, index: Tensor, rows: int, table: Tensor, rel_idx: Tensor) -> Tensor:
    """(M, 3) int64 places of each pair's three bins in values laid out as (rows, 3, L)."""
    _check.index(name, index, rows, 1)
    length = table.shape[0]
    if _check.index("rel_idx", rel_idx, length, 2).shape != (index.shape[0], 3):
        raise ValueError(f"rel_idx must be ({index.shape[0]}, 3), not {tuple(rel_idx.shape)}")
    _check.no_gaps("rel_idx", rel_idx)
    if rows * 3 * length > _check.MAX_ROWS:
        raise ValueError(f"table has {length} rows for {rows} points; places are int32")
    return (index.long() * (3 * length)).unsqueeze(1) + length * torch.arange(3, device=index.device) + rel_idx.long()


def _owners(name: str, offsets: Tensor, rows: int, index_name: str, index: Tensor) -> Tensor:
    """(M,) query row of each pair, from the (rows + 1,) first pairs."""
    _dispatch.check_index(index, 1)
    if not isinstance(offsets, Tensor) or offsets.shape != (rows + 1,):
        raise ValueError(f"{name} must be ({rows + 1},): the first pair of each query, and the end")
    if offsets.device.type == "cpu" and _check.ends(name, offsets, index.shape[0], index_name)[0] != 0:
        raise ValueError(f"{name} must begin with 0")
    return torch.arange(rows, device=offsets.device).repeat_interleave(
        offsets.diff().long(), output_size=index.shape[0]
    )


def _queries(index0: Tensor) -> int:
    """Rows of the result: one more than the largest of ``index0``."""
    _check.index("index0", index0, _check.MAX_ROWS, 1)
    return int(index0.max()) + 1 if index0.numel() else 0


def _heads(name: str, value: Tensor, like: Tensor | None = None) -> None:
    _dispatch.check_features(name, value, None, *((None, None) if like is None else like.shape[1:]))


def _table(name: str, table: Tensor, like: Tensor) -> None:
    _dispatch.check_features(name, table, None, *like.shape[1:], 3)


def _pairs(name: str, index: Tensor, rows: Tensor, other_name: str, other: Tensor, other_rows: Tensor) -> None:
    for label, value, of in ((name, index, rows), (other_name, other, other_rows)):
        _check.index(label, value, of.shape[0], 1)
        _check.no_gaps(label, value)
    _check.same(name, index.shape[0], other_name, other.shape[0])
