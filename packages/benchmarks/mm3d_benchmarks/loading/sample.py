"""Sample: one scene on its way from disk to a network, as NumPy arrays that augmentations may change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from mm3d_benchmarks.datasets.scene import Scene

POINT_FIELDS = ("coord", "index", "color", "normal", "segment", "instance", "height")


@dataclass(frozen=True)
class Sample:
    """N points of one scene.

    Attributes:
        name: the scene's name.
        coord: (N, 3) float32 metres, z up.
        index: (N,) int64 row of each point in the prepared scene.
        color: (N, 3) float32, 0..255, or None.
        normal: (N, 3) float32, or None.
        segment: (N,) int64, -1 = ignored, or None.
        instance: (N,) int64, -1 = none, or None.
        height: (N,) float32 metres above the floor estimate, or None when not asked for.
        boxes: (K, 8) float32 cx cy cz l w h (full sizes) heading class, or None.
    """

    name: str
    coord: np.ndarray
    index: np.ndarray
    color: np.ndarray | None = None
    normal: np.ndarray | None = None
    segment: np.ndarray | None = None
    instance: np.ndarray | None = None
    height: np.ndarray | None = None
    boxes: np.ndarray | None = None

    @property
    def num_points(self) -> int:
        """N."""
        return len(self.coord)

    def take(self, rows: np.ndarray) -> Sample:
        """The given rows (numbers, repeats allowed, or a mask); boxes stay whole."""
        present = {f.name: getattr(self, f.name) for f in fields(self) if f.name in POINT_FIELDS}
        return replace(self, **{name: value[rows] for name, value in present.items() if value is not None})


Augmentation = Callable[[Sample, np.random.Generator], Sample]
"""A random change of a sample; randomness from the generator only."""


def sample_of(scene: Scene, rows: np.ndarray | None = None) -> Sample:
    """The scene's points (or only ``rows`` of them, so that a memory-mapped scene is not read whole)."""

    def pick(value: np.ndarray | None, dtype: type) -> np.ndarray | None:
        return None if value is None else np.array(value if rows is None else value[rows], dtype=dtype)

    coord = pick(scene.coord, np.float32)
    assert coord is not None
    return Sample(
        scene.name,
        coord,
        np.arange(scene.num_points) if rows is None else rows.astype(np.int64),
        pick(scene.color, np.float32),
        pick(scene.normal, np.float32),
        pick(scene.segment, np.int64),
        pick(scene.instance, np.int64),
        boxes=None if scene.boxes is None else np.array(scene.boxes, dtype=np.float32),
    )
