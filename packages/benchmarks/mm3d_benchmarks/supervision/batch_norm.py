"""Statistics of a frozen encoder's batch norms, measured on whole scenes without their labels.

A frozen encoder reads with the statistics it carries: those of masked or cropped views after a pre-training, mean 0 and
variance 1 (no normalization at all) before any training. A probe would then compare treatments of batch norm rather
than features, in favor of the untrained network. Measured anew, in one pass over the same whole scenes for every row,
all encoders read alike (``protocol.batch_norm: measured``); ``carried`` leaves them as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mm3d_core.points import PointBatch

CHOICES = ("measured", "carried")
SCENES = 20  # at most, spread over the training scenes
MAX_POINTS = 800_000  # of a scene: that of voxel validation, which shows whole rooms
NONE = "none: the network has no batch norm, so measured and carried are the same"


def norms_of(encoder: nn.Module) -> list[_BatchNorm]:
    """The encoder's batch norms that keep running statistics."""
    return [m for m in encoder.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def spread_over(scenes: Sequence[str], count: int = SCENES) -> list[str]:
    """At most ``count`` scenes at equal distances in the list."""
    return [scenes[number * len(scenes) // min(count, len(scenes))] for number in range(min(count, len(scenes)))]


@torch.no_grad()
def measure(encoder: nn.Module, scenes: Iterable[PointBatch]) -> str:
    """Set the running statistics to the plain mean of the statistics of ``scenes``, one forward pass each.

    Nothing else moves, and the encoder is left in evaluation mode.

    Returns:
        A sentence for the run's result.
    """
    norms = norms_of(encoder)
    if not norms:
        return NONE
    momenta = [norm.momentum for norm in norms]
    encoder.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: a cumulative average
        norm.train()
    count = 0
    for points in scenes:
        encoder(points)
        count += 1
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.eval()
    return f"measured on {count} whole training scenes, without labels"
