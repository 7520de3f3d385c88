"""Query minus neighbor features (Pointcept's ``pointops.subtraction``, MIT; nothing copied)."""

from torch import Tensor

from pointops.grouping import grouping2


def subtraction(input1: Tensor, input2: Tensor, idx: Tensor) -> Tensor:
    """out[n, j] = input1[n] - input2[idx[n, j]].

    Args:
        input1: (N, C).
        input2: (M, C), same dtype.
        idx: (N, k) int32 or int64 rows of ``input2``; -1 subtracts zeros.

    Returns:
        (N, k, C). Gradients to both inputs.
    """
    if input1.ndim != 2 or input2.ndim != 2 or input1.shape[1] != input2.shape[1]:
        raise ValueError(f"input1 {tuple(input1.shape)} and input2 {tuple(input2.shape)} must share their channels")
    if idx.shape[0] != input1.shape[0]:
        raise ValueError(f"idx has {idx.shape[0]} rows, input1 has {input1.shape[0]}")
    return input1.unsqueeze(1) - grouping2(input2, idx)
