"""What an encoder is: the part that pre-training learns and fine-tuning keeps."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from mm3d_core.points import PointBatch


@runtime_checkable
class Encoder(Protocol):
    """A ``torch.nn.Module`` that turns points into feature levels.

    Attributes:
        channels: width of ``feat`` of each returned level, finest first.
    """

    channels: tuple[int, ...]

    def __call__(self, points: PointBatch) -> list[PointBatch]:
        """One PointBatch per level, finest first; each scene stays isolated from its batch mates."""
        ...

    def plan_spec(self) -> Any:
        """What ``pointops.plan.make_plan`` must compute for one forward pass, or None if nothing can be prepared."""
        ...
