"""Random changes of a sample, each with the recipe it is from.

PT = POSTECH-CVLab/point-transformer util/transform.py (unchanged in MingyeXu/mm-3dscene), PC = Pointcept/Pointcept
pointcept/datasets/transform.py, VN = facebookresearch/votenet, ST = JIA-Lab-research/Stratified-Transformer
util/transform.py. Colors are floats 0..255; a sample without colors passes color operations unchanged. Normals and
boxes follow the points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mm3d_benchmarks.loading.sample import Sample


@dataclass(frozen=True)
class RandomScale:
    """One factor for all axes. PT: 0.9..1.1; ST: 0.8..1.2; VN on SUN RGB-D: 0.85..1.15."""

    low: float = 0.9
    high: float = 1.1

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        factor = np.float32(random.uniform(self.low, self.high))
        boxes = sample.boxes
        if boxes is not None:
            boxes = np.concatenate([boxes[:, :6] * factor, boxes[:, 6:]], axis=1)
        height = None if sample.height is None else sample.height * factor
        return replace(sample, coord=sample.coord * factor, height=height, boxes=boxes)


@dataclass(frozen=True)
class RandomFlip:
    """Mirror ``axis`` (x -> -x or y -> -y). VN: x and y on ScanNet, x on SUN RGB-D, 0.5 each; PC: both, 0.5."""

    axis: str = "x"
    probability: float = 0.5

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        if random.random() >= self.probability:
            return sample
        sign = np.array([-1, 1, 1] if self.axis == "x" else [1, -1, 1], dtype=np.float32)
        boxes = sample.boxes
        if boxes is not None:
            boxes = boxes.copy()
            boxes[:, :3] *= sign
            boxes[:, 6] = (np.pi if self.axis == "x" else 0.0) - boxes[:, 6]
        normal = None if sample.normal is None else sample.normal * sign
        return replace(sample, coord=sample.coord * sign, normal=normal, boxes=boxes)


@dataclass(frozen=True)
class RandomRotation:
    """Turn about an axis through the origin by an angle within +-``degrees``.

    Attributes:
        axis: ``"z"``, or ``"x"``/``"y"`` for small tilts (then boxes are refused).
        degrees: VN 5 (ScanNet) and 30 (SUN RGB-D); ST 180; PC 180 about z and 180/64 about x and y.
        boxes: ``"hull"``: boxes become the axis-aligned hull of the turned box (VN on ScanNet); ``"heading"``:
            they turn.
        probability: PC 0.5.
    """

    axis: str = "z"
    degrees: float = 5.0
    boxes: str = "hull"
    probability: float = 1.0

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        if random.random() >= self.probability:
            return sample
        angle = random.uniform(-self.degrees, self.degrees) * np.pi / 180
        cos, sin = np.cos(angle), np.sin(angle)
        first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[self.axis]
        matrix = np.eye(3, dtype=np.float32)
        matrix[first, first] = matrix[second, second] = cos
        matrix[second, first], matrix[first, second] = sin, -sin
        normal = None if sample.normal is None else sample.normal @ matrix.T
        return replace(sample, coord=sample.coord @ matrix.T, normal=normal, boxes=self._turn(sample, matrix, angle))

    def _turn(self, sample: Sample, matrix: np.ndarray, angle: float) -> np.ndarray | None:
        boxes = sample.boxes
        if boxes is None or len(boxes) == 0:
            return boxes
        if self.axis != "z":
            raise ValueError("RandomRotation: boxes stay upright, so only rotations about z can turn them")
        turned = boxes.copy()
        turned[:, :3] = boxes[:, :3] @ matrix.T
        if self.boxes == "heading":
            turned[:, 6] = boxes[:, 6] - angle
        else:
            cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
            turned[:, 3] = boxes[:, 3] * cos + boxes[:, 4] * sin
            turned[:, 4] = boxes[:, 3] * sin + boxes[:, 4] * cos
        return turned


@dataclass(frozen=True)
class CenterShift:
    """Move the middle of the bounding rectangle to x = y = 0 and the lowest point to z = 0 (PC, with z)."""

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        low, high = sample.coord.min(axis=0), sample.coord.max(axis=0)
        return _move(sample, -np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], dtype=np.float32))


@dataclass(frozen=True)
class CoordinateJitter:
    """Normal noise on each coordinate, clipped. PC and ST: std 0.005 m, clip 0.02 m."""

    std: float = 0.005
    clip: float = 0.02

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        noise = random.standard_normal(sample.coord.shape, dtype=np.float32) * np.float32(self.std)
        return replace(sample, coord=sample.coord + noise.clip(-self.clip, self.clip))


@dataclass(frozen=True)
class ElasticDistortion:
    """Bend space by smooth noise on a grid (PC on ScanNet, after SparseConvNet): grids in metres, strengths in metres.

    Attributes:
        granularity: spacing of each noise grid.
        magnitude: factor on each grid's smoothed noise.
        probability: PC 0.95.
    """

    granularity: tuple[float, ...] | list[float] = (0.2, 0.8)
    magnitude: tuple[float, ...] | list[float] = (0.4, 1.6)
    probability: float = 0.95

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        if random.random() >= self.probability:
            return sample
        from scipy import ndimage  # half a second, which only those who distort shall wait for

        coord = sample.coord
        for spacing, strength in zip(self.granularity, self.magnitude, strict=True):
            low = coord.min(axis=0)
            shape = ((coord.max(axis=0) - low) // spacing).astype(int) + 3
            noise = random.standard_normal((3, *shape), dtype=np.float32)
            for axis in (1, 2, 3, 1, 2, 3):
                noise = ndimage.uniform_filter1d(noise, 3, axis=axis, mode="constant")
            place = (coord - low).T / spacing + 1  # one cell of margin on each side
            bend = [ndimage.map_coordinates(n, place, order=1, mode="constant") for n in noise]
            coord = coord + np.stack(bend, axis=1).astype(np.float32) * np.float32(strength)
        return replace(sample, coord=coord)


@dataclass(frozen=True)
class RandomDropout:
    """Leave out a share of the points. PC on ScanNet: 0.2 with probability 0.2."""

    ratio: float = 0.2
    probability: float = 0.2

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        if random.random() >= self.probability:
            return sample
        kept = random.choice(sample.num_points, max(1, int(sample.num_points * (1 - self.ratio))), replace=False)
        return sample.take(kept)


# ----------------------------------------------------------------------------- color


@dataclass(frozen=True)
class ChromaticAutoContrast:
    """Blend with the colors stretched to 0..255 per channel, blend factor U(0, 1). PT, PC: probability 0.2."""

    probability: float = 0.2

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        if sample.color is None or random.random() >= self.probability:
            return sample
        low, high = sample.color.min(axis=0), sample.color.max(axis=0)
        span = np.where(high > low, high - low, 1)  # a constant channel cannot be stretched
        stretched = np.where(high > low, (sample.color - low) * (255 / span), sample.color)
        blend = np.float32(random.random())
        return replace(sample, color=((1 - blend) * sample.color + blend * stretched).astype(np.float32))


@dataclass(frozen=True)
class ChromaticTranslation:
    """One offset per channel, U(-1, 1) * 255 * ratio. PT, PC: probability 0.95, ratio 0.05."""

    probability: float = 0.95
    ratio: float = 0.05

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        if sample.color is None or random.random() >= self.probability:
            return sample
        offset = (random.random(3, dtype=np.float32) - 0.5) * 2 * 255 * np.float32(self.ratio)
        return replace(sample, color=(sample.color + offset).clip(0, 255))


@dataclass(frozen=True)
class ChromaticJitter:
    """Normal noise per point and channel, std in units of 255. PT: probability 0.95, 0.005; PC: 0.05."""

    probability: float = 0.95
    std: float = 0.005

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        if sample.color is None or random.random() >= self.probability:
            return sample
        noise = random.standard_normal(sample.color.shape, dtype=np.float32) * np.float32(self.std * 255)
        return replace(sample, color=(sample.color + noise).clip(0, 255))


@dataclass(frozen=True)
class HueSaturationTranslation:
    """Shift the hue by U(-hue, hue), scale saturation by 1 + U(-saturation, saturation), cut to whole numbers. PT."""

    hue: float = 0.5
    saturation: float = 0.2

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        if sample.color is None:
            return sample
        hue, saturation, value = rgb_to_hsv(sample.color)
        hue = (hue + np.float32(random.uniform(-self.hue, self.hue))) % 1
        saturation = (saturation * np.float32(1 + random.uniform(-self.saturation, self.saturation))).clip(0, 1)
        return replace(sample, color=np.floor(hsv_to_rgb(hue, saturation, value).clip(0, 255)))


@dataclass(frozen=True)
class ColorDrop:
    """Set a scene's colors to 0 with ``probability`` (ST 0.2), or with ``per_point`` those of that share of points."""

    probability: float = 0.2
    per_point: bool = False

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        if sample.color is None:
            return sample
        if self.per_point:
            return replace(
                sample,
                color=sample.color * (random.random((sample.num_points, 1)) > self.probability).astype(np.float32),
            )
        return sample if random.random() >= self.probability else replace(sample, color=np.zeros_like(sample.color))


def rgb_to_hsv(color: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue and saturation in [0, 1], value in 0..255, (N,) each; grey has hue 0."""
    red, green, blue = color.T
    value, low = color.max(axis=1), color.min(axis=1)
    span = value - low
    safe = np.where(span > 0, span, 1)
    hue = np.select(
        [span == 0, value == red, value == green],
        [np.zeros_like(value), (green - blue) / safe, 2 + (blue - red) / safe],
        4 + (red - green) / safe,
    )
    return (hue / 6) % 1, np.where(value > 0, span / np.where(value > 0, value, 1), 0), value


def hsv_to_rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """(N, 3) float32 colors in 0..255; the inverse of :func:`rgb_to_hsv`."""
    channels = [(n + hue * 6) % 6 for n in (5.0, 3.0, 1.0)]
    mixed = [value - value * saturation * np.minimum(np.minimum(k, 4 - k), 1).clip(0) for k in channels]
    return np.stack(mixed, axis=1).astype(np.float32)


def _move(sample: Sample, offset: np.ndarray) -> Sample:
    """Translate points and boxes."""
    boxes = sample.boxes
    if boxes is not None:
        boxes = boxes.copy()
        boxes[:, :3] += offset
    return replace(sample, coord=sample.coord + offset, boxes=boxes)
