"""Random rigid motions and color changes of a view, on CPU tensors and from a generator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from mm3d_core.features import FeatureLayout
from mm3d_core.points import PointBatch


@dataclass(frozen=True)
class Motion:
    """Rotation, mirroring, scale and noise of the points of a view.

    Args:
        rotation: about ``z`` by any angle, ``so3`` (any rotation: PointContrast's choice), or ``none``.
        tilt: with ``z``, further rotations about x and y by up to this angle, degrees (Pointcept: 180/64).
        flip: probability of mirroring each horizontal axis.
        scale: uniform range of one factor.
        jitter: standard deviation of the noise of each coordinate, metres, clipped at four times that.
        recenter: put the view's minimum at 0 (as the loaders do), its center, or leave it.
    """

    rotation: Literal["z", "so3", "none"] = "z"
    tilt: float = 180 / 64
    flip: float = 0.5
    scale: tuple[float, float] = (0.9, 1.1)
    jitter: float = 0.005
    recenter: Literal["minimum", "center", "none"] = "minimum"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(self.scale))
        if self.rotation not in ("z", "so3", "none"):
            raise ValueError(f"rotation must be 'z', 'so3' or 'none', not {self.rotation!r}")
        if self.recenter not in ("minimum", "center", "none"):
            raise ValueError(f"recenter must be 'minimum', 'center' or 'none', not {self.recenter!r}")

    def matrix(self, generator: Generator) -> Tensor:
        """(3, 3) random rotation with mirroring, to be multiplied from the left."""
        draw = torch.rand(5, generator=generator)
        if self.rotation == "so3":
            quaternion = torch.randn(4, generator=generator)
            turn = _from_quaternion(quaternion / quaternion.norm())
        elif self.rotation == "z":
            tilts = (2 * draw[1:3] - 1) * math.radians(self.tilt)
            turn = _about(0, float(tilts[0])) @ _about(1, float(tilts[1])) @ _about(2, 2 * math.pi * float(draw[0]))
        else:
            turn = torch.eye(3)
        mirror = torch.where(draw[3:5] < self.flip, -1.0, 1.0)
        return turn @ torch.diag(torch.cat([mirror, torch.ones(1)]))

    def __call__(self, points: PointBatch, layout: FeatureLayout, generator: Generator) -> PointBatch:
        """The moved points, features and the attribute ``normal`` along with them; ``height`` is scaled only."""
        matrix = self.matrix(generator)
        scale = self.scale[0] + (self.scale[1] - self.scale[0]) * float(torch.rand((), generator=generator))
        coord = points.coord @ (scale * matrix).T
        if self.jitter > 0:
            noise = torch.randn(coord.shape, generator=generator).clamp(-4, 4)
            coord = coord + self.jitter * noise
        if self.recenter == "minimum":
            coord = coord - coord.amin(0)
        elif self.recenter == "center":
            coord = coord - coord.mean(0)
        attributes = dict(points.attributes)
        if "normal" in attributes:
            attributes["normal"] = attributes["normal"] @ matrix.T
        height = layout.read(points, "height")
        moved = PointBatch(coord, points.feat, points.offset, points.index, attributes)
        return moved.with_feat(layout.build(moved, points, None if height is None else scale * height[:, 0]))


@dataclass(frozen=True)
class ColorChange:
    """Brightness, contrast, saturation and noise of a view's colors (attribute ``color``, in [0, 1]); 0 leaves them.

    Values of Pointcept/Pointcept's Masked Scene Contrast; its change of hue is left out.

    Args:
        brightness, contrast, saturation: each a factor from U(1 - x, 1 + x).
        probability: of these three, together.
        noise: standard deviation of independent noise, with probability ``noise_probability``.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    probability: float = 0.8
    noise: float = 0.05
    noise_probability: float = 0.95

    def __call__(self, points: PointBatch, layout: FeatureLayout, generator: Generator) -> PointBatch:
        """The recolored points, features included; points without color as they are."""
        color = points.attributes.get("color")
        if color is None:
            return points
        draw = torch.rand(5, generator=generator)
        noise = torch.randn(color.shape, generator=generator)
        changed = color
        if float(draw[0]) < self.probability:
            ranges = torch.tensor([self.brightness, self.contrast, self.saturation])
            factor = 1 + (2 * draw[2:] - 1) * ranges
            changed = (changed * factor[0]).clamp(0, 1)
            mean = changed.mean()
            changed = (mean + (changed - mean) * factor[1]).clamp(0, 1)
            gray = changed.mean(1, keepdim=True)
            changed = (gray + (changed - gray) * factor[2]).clamp(0, 1)
        if float(draw[1]) < self.noise_probability:
            changed = (changed + self.noise * noise).clamp(0, 1)
        recolored = points.with_attributes(color=changed)
        height = layout.read(points, "height")
        return recolored.with_feat(layout.build(recolored, points, None if height is None else height[:, 0]))


def _about(axis: int, angle: float) -> Tensor:
    """Rotation about a coordinate axis."""
    one, other = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = torch.eye(3)
    matrix[one, one] = matrix[other, other] = math.cos(angle)
    matrix[one, other], matrix[other, one] = -math.sin(angle), math.sin(angle)
    return matrix


def _from_quaternion(quaternion: Tensor) -> Tensor:
    """Rotation matrix of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion.tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
