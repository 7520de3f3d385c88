"""What an encoder is: the part that pre-training learns and fine-tuning keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from mm3d_core.points import PointBatch


class Encoder(nn.Module):
    """Turns points into feature levels. Networks here derive from it; any module with the same members serves as well.

    Attributes:
        channels: width of ``feat`` of each returned level, finest first.
    """

    channels: tuple[int, ...]
    __call__: Callable[[PointBatch], list[PointBatch]]  # as ``forward``

    def forward(self, points: PointBatch) -> list[PointBatch]:
        """One PointBatch per level, finest first; each scene stays isolated from its batch mates."""
        raise NotImplementedError

    def plan_spec(self) -> Any:
        """What ``pointops.plan.make_plan`` must compute for one forward pass, or None if nothing can be prepared."""
        return None
