"""Vector attention over neighbors (Point Transformer) without tensors of the size (N, k, C) that nobody needs.

A layer is two of these operations around a small network that torch computes:

    relation[n, j] = key[idx[n, j]] - query[n] + position[n, j]                        (neighbor_relation)
    logit = network(relation)                                                          (N, k, W)
    out[n, c] = sum_j softmax_j(logit)[n, j, c mod W] (value[idx[n, j], c] + position[n, j, c])   (softmax_aggregation)

Source of the layer: Zhao et al., ICCV 2021; see facts of POSTECH-CVLab/point-transformer (nothing copied).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pointops import _check, _dispatch, _native, _register
from pointops.gather import gather_rows_reference, scatter_rows_reference
from pointops.inverse import InverseTable, table_for


def neighbor_relation(
    query: Tensor, key: Tensor, position: Tensor | None, idx: Tensor, *, inverse: InverseTable | None = None
) -> Tensor:
    """key[idx[n, j]] - query[n] + position[n, j].

    Args:
        query: (N, C).
        key: (M, C).
        position: (N, k, C), or None for none.
        idx: (N, k) int32 or int64 rows of ``key``; -1 stands for a row of zeros.
        inverse: of ``idx`` over the M rows, see :func:`pointops.gather.gather_rows`.

    Returns:
        (N, k, C) in the widest of the types. Gradients to all three.

    Raises:
        ValueError: bad shapes or types, rows out of range (on the CPU), or an inverse of another table.
    """
    return related("query", "key", query, key, position, idx, inverse, False)


def softmax_aggregation(
    value: Tensor, position: Tensor | None, logit: Tensor, idx: Tensor, *, inverse: InverseTable | None = None
) -> Tensor:
    """:func:`pointops.aggregation.aggregation` whose weights are the softmax of ``logit`` over the neighbors.

    Args:
        value: (M, C).
        position: (N, k, C), or None for none.
        logit: (N, k, W), W divides C: channel c uses weight c mod W.
        idx: (N, k) int32 or int64 rows of ``value``; -1 contributes its position term only.
        inverse: of ``idx`` over the M rows, see :func:`pointops.gather.gather_rows`.

    Returns:
        (N, C) in the widest of the types; softmax and sums are float32 for half precision. Gradients to all three.

    Raises:
        ValueError: bad shapes or types, rows out of range (on the CPU), or an inverse of another table.
    """
    return aggregated("value", "logit", value, position, logit, idx, inverse, True)


def relation_reference(query: Tensor, key: Tensor, position: Tensor | None, idx: Tensor, negate: bool) -> Tensor:
    """What ``neighbor_relation`` means (with the difference the other way round if ``negate``)."""
    query, key = _dispatch.accumulated(query), _dispatch.accumulated(key)
    difference = gather_rows_reference(key, idx) - query.unsqueeze(1)
    difference = -difference if negate else difference
    return difference if position is None else difference + position


def aggregate_reference(value: Tensor, position: Tensor | None, weight: Tensor, idx: Tensor, softmax: bool) -> Tensor:
    """What ``softmax_aggregation`` and ``aggregation`` mean: gather, add, multiply, sum."""
    value, weight = _dispatch.accumulated(value), _dispatch.accumulated(weight)
    weight = weight.softmax(1) if softmax else weight
    terms = gather_rows_reference(value, idx)
    terms = terms if position is None else terms + _dispatch.accumulated(position)
    shared = terms.view(*idx.shape, terms.shape[2] // weight.shape[2], weight.shape[2])
    return (shared * weight.unsqueeze(2)).sum(1).flatten(1)


def related(
    query_name: str,
    key_name: str,
    query: Tensor,
    key: Tensor,
    position: Tensor | None,
    idx: Tensor,
    inverse: InverseTable | None,
    negate: bool,
) -> Tensor:
    """Checked arguments for the operation; the names are those of the caller's arguments."""
    _dispatch.check_index(idx, 2)
    _dispatch.check_features(query_name, query, idx.shape[0], None)
    _dispatch.check_features(key_name, key, None, None)
    if key.shape[1] != query.shape[1]:
        raise ValueError(f"{query_name} has {query.shape[1]} channels, {key_name} has {key.shape[1]}")
    _dispatch.check_device(idx, query_name, query, key)
    if position is not None:
        _dispatch.check_features("position", position, *idx.shape, query.shape[1])
        query, key, position = _dispatch.common_dtype(query, key, position)
    else:
        query, key = _dispatch.common_dtype(query, key)
    return _relation(query, key, position, idx, *_dispatch.tables(inverse, idx, key.shape[0]), negate)


def aggregated(
    value_name: str,
    weight_name: str,
    value: Tensor,
    position: Tensor | None,
    weight: Tensor,
    idx: Tensor,
    inverse: InverseTable | None,
    softmax: bool,
) -> Tensor:
    """Checked arguments for the operation; the names are those of the caller's arguments."""
    _dispatch.check_index(idx, 2)
    _dispatch.check_features(value_name, value, None, None)
    if position is not None:
        _dispatch.check_features("position", position, *idx.shape, value.shape[1])
    _dispatch.check_features(weight_name, weight, *idx.shape, None)
    if weight.shape[2] == 0 or value.shape[1] % weight.shape[2]:
        raise ValueError(
            f"{weight_name} must be (N, k, W) with W dividing {value.shape[1]} channels, not {tuple(weight.shape)}"
        )
    _dispatch.check_device(idx, value_name, value, weight, *([] if position is None else [position]))
    if position is None:
        value, weight = _dispatch.common_dtype(value, weight)
    else:
        value, position, weight = _dispatch.common_dtype(value, position, weight)
    return _aggregate(value, position, weight, idx, *_dispatch.tables(inverse, idx, value.shape[0]), softmax)


def _run_relation(
    query: Tensor,
    key: Tensor,
    position: Tensor | None,
    idx: Tensor,
    start: Tensor | None,
    entry: Tensor | None,
    negate: bool,
) -> Tensor:
    how = _dispatch.kernels(query)
    if how == "torch":
        idx = _check.index("idx", idx, key.shape[0])
        return relation_reference(query, key, position, idx, negate).to(query.dtype)
    rows = _dispatch.rows32(idx, key.shape[0])
    query, key, position = query.contiguous(), key.contiguous(), None if position is None else position.contiguous()
    sign = -1.0 if negate else 1.0
    if how == "Triton":
        from pointops.triton import features

        return features.relation(query, key, position, rows, sign)
    out = _fake_relation(query, key, position, idx, start, entry, negate)
    _native.call(
        "pointops_relation", query, key, key.shape[0], position, rows, *out.shape, sign, _native.threads(), out
    )
    return out


def _fake_relation(query: Tensor, key: Tensor, position: Any, idx: Tensor, start: Any, entry: Any, negate: bool):
    return query.new_empty((*idx.shape, query.shape[1]))


def _run_relation_backward(
    grad: Tensor, idx: Tensor, start: Tensor | None, entry: Tensor | None, rows: int, negate: bool
) -> tuple[Tensor, Tensor]:
    """Gradients with respect to query and key."""
    how = _dispatch.kernels(grad)
    sign = -1.0 if negate else 1.0
    if how == "torch":
        wide = sign * _dispatch.accumulated(grad)
        return -wide.sum(1).to(grad.dtype), scatter_rows_reference(wide, idx, rows).to(grad.dtype)
    named, grad = _dispatch.rows32(idx, rows), grad.contiguous()
    if how == "Triton":
        from pointops.triton import features

        table = table_for(named, rows, start, entry)
        return features.sum_neighbors(grad, -sign), features.scatter(grad, *table, sign=sign)
    out = _fake_relation_backward(grad, idx, start, entry, rows, negate)
    _native.call("pointops_relation_backward", grad, rows, named, *grad.shape, sign, _native.threads(), *out)
    return out


def _fake_relation_backward(grad: Tensor, idx: Tensor, start: Any, entry: Any, rows: int, negate: bool):
    return grad.new_empty((idx.shape[0], grad.shape[2])), grad.new_empty((rows, grad.shape[2]))


def _save_relation(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.rows, ctx.negate, ctx.placed = inputs[1].shape[0], inputs[6], inputs[2] is not None
    ctx.save_for_backward(*inputs[3:6])


def _relation_gradient(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    query_grad, key_grad = _relation_backward(grad, *ctx.saved_tensors, ctx.rows, ctx.negate)
    return query_grad, key_grad, grad if ctx.placed else None, None, None, None, None


def _run_aggregate(
    value: Tensor,
    position: Tensor | None,
    weight: Tensor,
    idx: Tensor,
    start: Tensor | None,
    entry: Tensor | None,
    softmax: bool,
) -> Tensor:
    how = _dispatch.kernels(value)
    if how == "torch":
        idx = _check.index("idx", idx, value.shape[0])
        return aggregate_reference(value, position, weight, idx, softmax).to(value.dtype)
    rows = _dispatch.rows32(idx, value.shape[0])
    value, weight, position = (
        value.contiguous(),
        weight.contiguous(),
        None if position is None else position.contiguous(),
    )
    if how == "Triton":
        from pointops.triton import aggregate

        return aggregate.forward(value, position, weight, rows, softmax)
    out = _fake_aggregate(value, position, weight, idx, start, entry, softmax)
    sizes = (*idx.shape, value.shape[1], weight.shape[2], int(softmax), _native.threads())
    _native.call("pointops_aggregate", value, value.shape[0], position, weight, rows, *sizes, out)
    return out


def _fake_aggregate(value: Tensor, position: Any, weight: Tensor, idx: Tensor, start: Any, entry: Any, softmax: bool):
    return value.new_empty((idx.shape[0], value.shape[1]))


def _run_aggregate_backward(
    grad: Tensor,
    value: Tensor,
    position: Tensor | None,
    weight: Tensor,
    idx: Tensor,
    start: Tensor | None,
    entry: Tensor | None,
    softmax: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients with respect to value, position (empty without one) and weight."""
    how = _dispatch.kernels(value)
    if how == "torch":
        return _aggregate_gradient_reference(grad, value, position, weight, idx, softmax)
    rows = _dispatch.rows32(idx, value.shape[0])
    grad, value, weight = (part.contiguous() for part in (grad, value, weight))
    position = None if position is None else position.contiguous()
    if how == "Triton":
        from pointops.triton import aggregate

        table = table_for(rows, value.shape[0], start, entry)
        return aggregate.backward(grad, value, position, weight, rows, *table, softmax)
    out = _fake_aggregate_backward(grad, value, position, weight, idx, start, entry, softmax)
    sizes = (*idx.shape, value.shape[1], weight.shape[2], int(softmax), _native.threads())
    placed = (out[0], None if position is None else out[1], out[2])
    _native.call("pointops_aggregate_backward", grad, value, value.shape[0], position, weight, rows, *sizes, *placed)
    return out


def _fake_aggregate_backward(
    grad: Tensor, value: Tensor, position: Any, weight: Tensor, idx: Tensor, start: Any, entry: Any, softmax: bool
) -> tuple[Tensor, Tensor, Tensor]:
    placed = value.new_empty(0 if position is None else position.shape)
    return value.new_empty(value.shape), placed, weight.new_empty(weight.shape)


def _aggregate_gradient_reference(
    grad: Tensor, value: Tensor, position: Tensor | None, weight: Tensor, idx: Tensor, softmax: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The chain rule, written out."""
    wide, used = _dispatch.accumulated(grad), _dispatch.accumulated(weight)
    terms = gather_rows_reference(_dispatch.accumulated(value), idx)
    terms = terms if position is None else terms + _dispatch.accumulated(position)
    used = used.softmax(1) if softmax else used
    shape = (*idx.shape, value.shape[1] // weight.shape[2], weight.shape[2])
    position_grad = (used.unsqueeze(2) * wide.view(shape[0], 1, *shape[2:])).flatten(2)
    slope = (terms * wide.unsqueeze(1)).view(shape).sum(2)
    if softmax:
        slope = used * (slope - (used * slope).sum(1, keepdim=True))
    value_grad = scatter_rows_reference(position_grad, idx, value.shape[0])
    placed = value.new_empty(0) if position is None else position_grad.to(value.dtype)
    return value_grad.to(value.dtype), placed, slope.to(value.dtype)


def _save_aggregate(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.softmax, ctx.placed = inputs[6], inputs[1] is not None
    ctx.save_for_backward(*inputs[:6])


def _aggregate_gradient(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    value_grad, position_grad, weight_grad = _aggregate_backward(grad, *ctx.saved_tensors, ctx.softmax)
    return value_grad, position_grad if ctx.placed else None, weight_grad, None, None, None, None


_TABLE = "Tensor idx, Tensor? start, Tensor? entry"
_relation_backward = _register.operation(
    f"relation_backward(Tensor grad, {_TABLE}, int rows, bool negate) -> (Tensor, Tensor)",
    _run_relation_backward,
    _fake_relation_backward,
)
_relation = _register.differentiable(
    f"relation(Tensor query, Tensor key, Tensor? position, {_TABLE}, bool negate) -> Tensor",
    _run_relation,
    _fake_relation,
    _save_relation,
    _relation_gradient,
)
_aggregate_backward = _register.operation(
    f"aggregate_backward(Tensor grad, Tensor value, Tensor? position, Tensor weight, {_TABLE}, bool softmax)"
    " -> (Tensor, Tensor, Tensor)",
    _run_aggregate_backward,
    _fake_aggregate_backward,
)
_aggregate = _register.differentiable(
    f"aggregate(Tensor value, Tensor? position, Tensor weight, {_TABLE}, bool softmax) -> Tensor",
    _run_aggregate,
    _fake_aggregate,
    _save_aggregate,
    _aggregate_gradient,
)
