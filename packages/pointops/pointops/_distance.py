"""How distances are computed and padded, the same in every back end."""

from __future__ import annotations

from torch import Tensor

MISSING_DISTANCE = 1e5  # square root of the 1e10 with which the reference kernels fill missing neighbors
NO_DOUBLE = ("mps",)  # kinds of devices without float64


def squared_distances(query: Tensor, support: Tensor) -> Tensor:
    """(M, N) float32 squared distances, (dx*dx + dy*dy) + dz*dz and so on, each operation rounded on its own."""
    columns, total = support.T.contiguous(), query.new_zeros(query.shape[0], support.shape[0])
    for axis in range(query.shape[1]):
        total += (columns[axis] - query[:, axis, None]).square_()
    return total


def root(distance2: Tensor) -> Tensor:
    """Correctly rounded float32 square roots where there is double; torch's own on the CPU may be off by one place."""
    return distance2.sqrt() if distance2.device.type in NO_DOUBLE else distance2.double().sqrt().float()
