"""Online clustering: how near features are to learned prototypes, and assignments that use all prototypes alike.

Source: Sinkhorn-Knopp centering as in SwAV (Caron et al., NeurIPS 2020, arXiv:2006.09882) and Sonata (Wu et al., CVPR
2025, arXiv:2503.16429); sizes of Pointcept/Pointcept, pointcept/models/sonata/sonata_v1m1_base.py (MIT; nothing
copied).
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

INIT_STD = 0.02  # of the perceptron, truncated at two of them


class Prototypes(nn.Module):
    """A perceptron to a unit sphere, and the cosine to each prototype there.

    Args:
        channels: C of the features.
        hidden: width of the perceptron.
        width: dimensions of the sphere's space.
        prototypes: K.

    Shapes:
        in: (N, C). out: (N, K) cosines.
    """

    def __init__(self, channels: int, *, hidden: int = 4096, width: int = 256, prototypes: int = 4096) -> None:
        super().__init__()
        if min(hidden, width) < 1 or prototypes < 2:
            raise ValueError(f"hidden={hidden} and width={width} must be positive, prototypes={prototypes} at least 2")
        self.perceptron = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, width))
        for layer in self.perceptron:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=INIT_STD, a=-2 * INIT_STD, b=2 * INIT_STD)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.empty(prototypes, width).uniform_(-1, 1) / width**0.5)

    def forward(self, feat: Tensor) -> Tensor:
        """(N, C) -> (N, K)."""
        return F.linear(F.normalize(self.perceptron(feat), dim=1), F.normalize(self.prototypes, dim=1))


@torch.no_grad()
def sinkhorn_knopp(similarity: Tensor, temperature: float | Tensor, iterations: int = 3) -> Tensor:
    """Soft assignments of samples to prototypes in which every prototype weighs about the same.

    Args:
        similarity: (N, K) cosines; over several processes each has its own N, which may be 0.
        temperature: the lower, the harder.
        iterations: of making rows and columns sum to the same.

    Returns:
        (N, K) float32, each row sums to 1, each column to about N / K (over all processes).
    """
    weight = (similarity.float() / temperature).exp()
    samples = _over_processes(weight.new_full((), float(len(weight)))).clamp_min(1)
    weight = weight / _over_processes(weight.sum()).clamp_min(torch.finfo(weight.dtype).tiny)
    for _ in range(iterations):
        column = _over_processes(weight.sum(0)).clamp_min(torch.finfo(weight.dtype).tiny)
        weight = weight / column / weight.shape[1]
        weight = weight / weight.sum(1, keepdim=True) / samples
    return weight * samples


def _over_processes(total: Tensor) -> Tensor:
    """The sum over all processes."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(total)
    return total
