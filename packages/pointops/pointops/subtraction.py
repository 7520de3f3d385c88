"""Query minus neighbor features (Pointcept's ``pointops.subtraction``, MIT; nothing copied)."""

from __future__ import annotations

from torch import Tensor

from pointops.inverse import InverseTable
from pointops.vector_attention import related


def subtraction(input1: Tensor, input2: Tensor, idx: Tensor, *, inverse: InverseTable | None = None) -> Tensor:
    """out[n, j] = input1[n] - input2[idx[n, j]].

    Args:
        input1: (N, C).
        input2: (M, C).
        idx: (N, k) int32 or int64 rows of ``input2``; -1 subtracts zeros.
        inverse: of ``idx`` over the M rows, see :func:`pointops.gather.gather_rows`.

    Returns:
        (N, k, C) in the wider of the types. Gradients to both inputs.

    Raises:
        ValueError: bad shapes or types, rows out of range (on the CPU), or an inverse of another table.
    """
    return related("input1", "input2", input1, input2, None, idx, inverse, True)
