"""Small tilts about a horizontal axis, for tasks that label points: boxes, which cannot be tilted, are left behind."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mm3d_benchmarks.loading.augment import RandomRotation
from mm3d_benchmarks.loading.sample import Sample


@dataclass(frozen=True)
class RandomTilt:
    """Turn about x or y through the origin by an angle within +-``degrees``; the sample's boxes are dropped.

    Values of Pointcept's recipes: 180/64 degrees, with probability 0.5 for each axis.

    Raises:
        ValueError: an axis that is not horizontal (:class:`mm3d_benchmarks.loading.augment.RandomRotation` turns about
            z and takes boxes along).
    """

    axis: str = "x"
    degrees: float = 180 / 64
    probability: float = 0.5

    def __post_init__(self) -> None:
        if self.axis not in ("x", "y"):
            raise ValueError(f"axis must be 'x' or 'y', not {self.axis!r}")

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        turn = RandomRotation(self.axis, self.degrees, probability=self.probability)
        return turn(replace(sample, boxes=None), random)
