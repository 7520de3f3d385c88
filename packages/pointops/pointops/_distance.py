"""How distances are computed and padded, the same in every back end."""

from __future__ import annotations

from torch import Tensor

MISSING_DISTANCE = 1e5  # square root of the 1e10 with which the reference kernels fill missing neighbors


def squared_distances(query: Tensor, support: Tensor) -> Tensor:
    """(M, N) float32 squared distances, (dx*dx + dy*dy) + dz*dz, each operation rounded on its own."""
    dx, dy, dz = (query[:, None, axis] - support[None, :, axis] for axis in range(3))
    return (dx * dx + dy * dy) + dz * dz


def root(distance2: Tensor) -> Tensor:
    """Correctly rounded float32 square roots; torch's own on the CPU may be off by one place."""
    return distance2.double().sqrt().float()
