"""Pairwise attention steps (Pointcept's ``pointops.attention_*_step``, MIT; nothing copied)."""

from __future__ import annotations

from torch import Tensor

from pointops import _check, _dispatch, _register
from pointops.gather import gather_rows, scatter_rows


def attention_relation_step(
    query: Tensor, key: Tensor, weight: Tensor, index_target: Tensor, index_refer: Tensor
) -> Tensor:
    """out[p, g] = sum_c query[target_p, g, c] * key[refer_p, g, c] * weight[c].

    Args:
        query: (N, G, C).
        key: (M, G, C).
        weight: (C,).
        index_target: (P,) rows of ``query``.
        index_refer: (P,) rows of ``key``.

    Returns:
        (P, G). Gradients to ``query``, ``key`` and ``weight``.

    Raises:
        ValueError: bad shapes or types, rows out of range (on the CPU).
    """
    _dispatch.check_features("query", query, None, None, None)
    _dispatch.check_features("key", key, None, *query.shape[1:])
    _dispatch.check_features("weight", weight, query.shape[2])
    _pairs(index_target, query.shape[0], index_refer, key.shape[0])
    return _relate(query, key, weight, index_target, index_refer)


def attention_fusion_step(weight: Tensor, value: Tensor, index_target: Tensor, index_refer: Tensor) -> Tensor:
    """out[n, g, c] = sum over pairs p with target n of weight[p, g] * value[refer_p, g, c].

    Args:
        weight: (P, G).
        value: (N, G, C); the output has as many rows.
        index_target: (P,) rows of the output.
        index_refer: (P,) rows of ``value``.

    Returns:
        (N, G, C). Gradients to ``weight`` and ``value``.

    Raises:
        ValueError: bad shapes or types, rows out of range (on the CPU).
    """
    _dispatch.check_features("value", value, None, None, None)
    _dispatch.check_features("weight", weight, index_refer.shape[0], value.shape[1])
    _pairs(index_target, value.shape[0], index_refer, value.shape[0])
    return _fuse(weight, value, index_target, index_refer)


def _pairs(index_target: Tensor, targets: int, index_refer: Tensor, refers: int) -> None:
    for name, value, rows in (("index_target", index_target, targets), ("index_refer", index_refer, refers)):
        _check.index(name, value, rows, 1)
        _check.no_gaps(name, value)
    if index_target.shape != index_refer.shape:
        raise ValueError(f"index_refer has {index_refer.shape[0]} pairs, index_target has {index_target.shape[0]}")


def _rows(value: Tensor, index: Tensor) -> Tensor:
    return gather_rows(value.flatten(1), index).view(index.shape[0], *value.shape[1:])


def _run_relate(query: Tensor, key: Tensor, weight: Tensor, index_target: Tensor, index_refer: Tensor) -> Tensor:
    return (_rows(query, index_target) * weight * _rows(key, index_refer)).sum(-1)


def _run_fuse(weight: Tensor, value: Tensor, index_target: Tensor, index_refer: Tensor) -> Tensor:
    terms = weight.unsqueeze(-1) * _rows(value, index_refer)
    return scatter_rows(terms.flatten(1), index_target, value.shape[0]).view(value.shape)


_INDEX = "Tensor index_target, Tensor index_refer"
_relate = _register.composed(
    f"attention_relation_step(Tensor query, Tensor key, Tensor weight, {_INDEX}) -> Tensor", _run_relate
)
_fuse = _register.composed(f"attention_fusion_step(Tensor weight, Tensor value, {_INDEX}) -> Tensor", _run_fuse)
