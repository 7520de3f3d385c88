"""What a network reads at every point of a scan, on the scale on which it learned to read it.

This suite's inputs have one scale each (``mm3d_core.features``). A network that was released elsewhere may have
learned on another: Stratified Transformer's ScanNet network reads colors in [-1, 1] where this suite gives [0, 1].
The difference stands in the description of its weights, as a factor and a number to add.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from mm3d_benchmarks.loading.features import points_of
from mm3d_benchmarks.loading.sample import Sample
from mm3d_core.features import FEATURES
from mm3d_core.points import PointBatch

Scaling = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Inputs:
    """The columns of ``feat``.

    Attributes:
        names: of ``FEATURES``, in their order.
        scaling: (factor, shift) of those names whose values become ``value * factor + shift``.
    """

    names: tuple[str, ...]
    scaling: Scaling = field(default_factory=dict)

    def points(self, sample: Sample) -> PointBatch:
        """The sample as one scene whose ``feat`` is what the network reads.

        Raises:
            UserError: the scene lacks what an input needs.
        """
        points = points_of(sample, self.names)
        if not self.scaling:
            return points
        pairs = [self.scaling.get(name, (1.0, 0.0)) for name in self.names for _ in range(FEATURES[name].width)]
        factor, shift = torch.tensor(pairs, dtype=points.feat.dtype).unbind(1)
        return replace(points, feat=points.feat * factor + shift)


def checked(scaling: Scaling, names: tuple[str, ...]) -> Scaling:
    """The same scaling, if a network can have it.

    Raises:
        ValueError: an input that is not read, or numbers that are not finite or forget the value.
    """
    for name, (factor, shift) in scaling.items():
        if name not in names:
            raise ValueError(f"scaling of {name!r}, which is not read")
        if not (math.isfinite(factor) and math.isfinite(shift) and factor):
            raise ValueError(f"scaling of {name!r} by {factor}, {shift}")
    return scaling
