"""Weighted sum over neighbors with shared weights (Pointcept's ``pointops.aggregation``, MIT; nothing copied)."""

from torch import Tensor

from pointops.grouping import grouping2


def aggregation(input: Tensor, position: Tensor, weight: Tensor, idx: Tensor) -> Tensor:
    """out[n, c] = sum_j (input[idx[n, j], c] + position[n, j, c]) * weight[n, j, c mod W].

    Args:
        input: (M, C).
        position: (N, k, C).
        weight: (N, k, W), W divides C: channel c uses weight c mod W.
        idx: (N, k) int32 or int64 rows of ``input``; -1 contributes its position term only.

    Returns:
        (N, C). Gradients to ``input``, ``position`` and ``weight``.
    """
    neighbors, channels = idx.shape[1], input.shape[1]
    if position.shape != (idx.shape[0], neighbors, channels):
        raise ValueError(f"position must be {(idx.shape[0], neighbors, channels)}, not {tuple(position.shape)}")
    if weight.ndim != 3 or weight.shape[:2] != idx.shape or weight.shape[2] == 0 or channels % weight.shape[2]:
        raise ValueError(f"weight must be (N, k, W) with W dividing {channels} channels, not {tuple(weight.shape)}")
    value = grouping2(input, idx) + position
    shared = value.view(*idx.shape, channels // weight.shape[2], weight.shape[2])
    return (shared * weight.unsqueeze(2)).sum(1).flatten(1)
