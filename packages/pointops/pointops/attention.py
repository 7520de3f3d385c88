"""Pairwise attention steps (Pointcept's ``pointops.attention_*_step``, MIT; nothing copied)."""

import torch
from torch import Tensor

from pointops import _check


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
    """
    _pairs(index_target, query.shape[0], index_refer, key.shape[0])
    target = query.index_select(0, index_target) * weight
    return (target * key.index_select(0, index_refer)).sum(-1)


def attention_fusion_step(weight: Tensor, value: Tensor, index_target: Tensor, index_refer: Tensor) -> Tensor:
    """out[n, g, c] = sum over pairs p with target n of weight[p, g] * value[refer_p, g, c].

    Args:
        weight: (P, G).
        value: (N, G, C); the output has as many rows.
        index_target: (P,) rows of the output.
        index_refer: (P,) rows of ``value``.

    Returns:
        (N, G, C). Gradients to ``weight`` and ``value``.
    """
    _pairs(index_target, value.shape[0], index_refer, value.shape[0])
    terms = weight.unsqueeze(-1) * value.index_select(0, index_refer)
    return torch.zeros_like(value).index_add(0, index_target, terms)


def _pairs(index_target: Tensor, targets: int, index_refer: Tensor, refers: int) -> None:
    if index_target.shape != index_refer.shape:
        raise ValueError(f"index_refer has {index_refer.shape[0]} pairs, index_target has {index_target.shape[0]}")
    for name, value, rows in (("index_target", index_target, targets), ("index_refer", index_refer, refers)):
        _check.index(name, value, rows, 1)
        if value.device.type == "cpu" and value.numel() and int(value.min()) < 0:
            raise ValueError(f"{name} must not hold -1: a pair has two ends")
