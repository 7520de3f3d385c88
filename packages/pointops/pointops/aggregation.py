"""Weighted sum over neighbors with shared weights (Pointcept's ``pointops.aggregation``, MIT; nothing copied)."""

from __future__ import annotations

from torch import Tensor

from pointops.inverse import InverseTable
from pointops.vector_attention import aggregated


def aggregation(
    input: Tensor, position: Tensor | None, weight: Tensor, idx: Tensor, *, inverse: InverseTable | None = None
) -> Tensor:
    """out[n, c] = sum_j (input[idx[n, j], c] + position[n, j, c]) * weight[n, j, c mod W].

    Args:
        input: (M, C).
        position: (N, k, C), or None for none.
        weight: (N, k, W), W divides C: channel c uses weight c mod W.
        idx: (N, k) int32 or int64 rows of ``input``; -1 contributes its position term only.
        inverse: of ``idx`` over the M rows, see :func:`pointops.gather.gather_rows`.

    Returns:
        (N, C) in the widest of the types. Gradients to ``input``, ``position`` and ``weight``.

    Raises:
        ValueError: bad shapes or types, rows out of range (on the CPU), or an inverse of another table.
    """
    return aggregated("input", "weight", input, position, weight, idx, inverse, False)
