"""What stands in which column of ``feat``: so that views which move or recolor points can keep the features true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mm3d_core.points import PointBatch

WIDTHS = {"coord": 3, "color": 3, "color_votenet": 3, "color_centered": 3, "height": 1, "normal": 3}
COLOR_SCALES = {"color": 1.0, "color_votenet": 255 / 256, "color_centered": 1.0}  # feature = scale * color + constant


@dataclass(frozen=True)
class FeatureLayout:
    """The named inputs that make up ``feat``, in order (the backbone's ``input``).

    Raises:
        ValueError: a name of which views do not know how it follows a motion.
    """

    inputs: Sequence[str] = ("coord", "color")

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        unknown = [name for name in self.inputs if name not in WIDTHS]
        if unknown:
            raise ValueError(f"inputs names {', '.join(unknown)}, but views can only keep {', '.join(WIDTHS)} true")

    @property
    def width(self) -> int:
        """Columns of ``feat``."""
        return sum(WIDTHS[name] for name in self.inputs)

    def columns(self, *names: str) -> list[int]:
        """The columns of these inputs; an input that is not among them has none."""
        columns, start = [], 0
        for name in self.inputs:
            if name in names:
                columns += range(start, start + WIDTHS[name])
            start += WIDTHS[name]
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
