"""What a network may read at every point, each input once: its width, its values, how it follows color.

Readers, loaders, views and descriptions of weights all take an input's facts from ``FEATURES``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mm3d_core.points import PointBatch

MEAN_COLOR = np.array([109.8, 97.2, 83.8], dtype=np.float32)  # votenet, scannet/scannet_detection_dataset.py


@dataclass(frozen=True)
class Feature:
    """An input.

    Attributes:
        width: columns of ``feat``.
        needs: the attribute of a sample (``loading.sample.Sample``) that must be there.
        values: (N, width) numbers of a sample.
        says: what they are, in words.
        color_scale: of a color: feature = color_scale * (color in [0, 1]) + constant.
    """

    width: int
    needs: str
    values: Callable[[Any], np.ndarray]
    says: str
    color_scale: float | None = None


FEATURES = {
    "coord": Feature(
        3,
        "coord",
        lambda s: s.coord,
        "metres from the minimum corner of the crop (the scan's own, where sampling.shift is false)",
    ),
    "color": Feature(3, "color", lambda s: s.color / 255, "red, green, blue in [0, 1]", 1.0),
    "color_votenet": Feature(  # VoteNet on ScanNet
        3,
        "color",
        lambda s: (s.color - MEAN_COLOR) / 256,
        "(red, green, blue in 0..255 minus (109.8, 97.2, 83.8)) / 256",
        255 / 256,
    ),
    "color_centered": Feature(  # VoteNet on SUN RGB-D
        3, "color", lambda s: s.color / 255 - 0.5, "red, green, blue in [-0.5, 0.5]", 1.0
    ),
    "height": Feature(1, "height", lambda s: s.height[:, None], "metres above the 0.99th percentile of z"),
    "normal": Feature(3, "normal", lambda s: s.normal, "unit normals"),
}
COLOR_SCALES = {name: feature.color_scale for name, feature in FEATURES.items() if feature.color_scale is not None}


@dataclass(frozen=True)
class FeatureLayout:
    """The named inputs that make up ``feat``, in order (the backbone's ``input``).

    Raises:
        ValueError: a name of which views do not know how it follows a motion.
    """

    inputs: Sequence[str] = ("coord", "color")

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        unknown = [name for name in self.inputs if name not in FEATURES]
        if unknown:
            raise ValueError(f"inputs names {', '.join(unknown)}, but views can only keep {', '.join(FEATURES)} true")

    @property
    def width(self) -> int:
        """Columns of ``feat``."""
        return sum(FEATURES[name].width for name in self.inputs)

    def columns(self, *names: str) -> list[int]:
        """The columns of these inputs; an input that is not among them has none."""
        columns, start = [], 0
        for name in self.inputs:
            width = FEATURES[name].width
            if name in names:
                columns += range(start, start + width)
            start += width
        return columns

    @property
    def color_columns(self) -> list[int]:
        """The columns that hold color, whatever its scale."""
        return self.columns(*COLOR_SCALES)

    def check(self, points: PointBatch) -> None:
        """Raises ValueError unless ``feat`` has the width of these inputs."""
        if points.feat.shape[1] != self.width:
            raise ValueError(f"feat has {points.feat.shape[1]} columns, but {self.inputs} make {self.width}")

    def read(self, points: PointBatch, name: str) -> Tensor | None:
        """One input of some points, (N, width), or None if it is not among the inputs."""
        columns = self.columns(name)
        return points.feat[:, columns] if columns else None

    def build(self, points: PointBatch, reference: PointBatch, height: Tensor | None = None) -> Tensor:
        """(N, width) features of points from their coordinates and attributes.

        Args:
            points: ``coord``, and the attributes ``color`` and ``normal`` where they are inputs.
            reference: points of the same scan whose features are right; it shows what is added to colors.
            height: (N,) metres above the floor, if that is an input.

        Raises:
            ValueError: an input of which nothing is known.
        """
        parts = [points.coord.new_zeros(points.num_points, 0)]
        for name in self.inputs:
            if name == "coord":
                parts.append(points.coord)
            elif name == "height":
                parts.append(_known(height, name).unsqueeze(1))
            elif name == "normal":
                parts.append(_known(points.attributes.get("normal"), name))
            else:
                color = _known(points.attributes.get("color"), name)
                shown, true = _known(self.read(reference, name), name), reference.attributes["color"]
                parts.append(COLOR_SCALES[name] * color + (shown[0] - COLOR_SCALES[name] * true[0]))
        return torch.cat(parts, dim=1).float()


def _known(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ValueError(f"the network reads {name}, which these points do not have")
    return value
