"""Colors of synthetic surfaces: patterns in object coordinates, light, exposure, white balance and sensor noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm3d_benchmarks.synthetic.rooms.primitives import Primitive

WHITE_BALANCE = (1.04, 0.98, 0.92)  # of the real scan that the statistics were measured on


def smooth_noise(points: np.ndarray, wavelength: float, random: np.random.Generator, terms: int = 10) -> np.ndarray:
    """(N,) a smooth random field of mean 0 and deviation 1: a sum of ``terms`` plane waves."""
    direction = random.normal(size=(3, terms))
    direction *= 2 * np.pi / wavelength * random.uniform(0.7, 1.4, terms) / np.linalg.norm(direction, axis=0)
    phase = random.uniform(0, 2 * np.pi, terms).astype(np.float32)
    waves = points.astype(np.float32) @ direction.astype(np.float32) + phase
    return np.cos(waves).sum(axis=1) * np.sqrt(2 / terms)


@dataclass(frozen=True)
class Looks:
    """Materials of a scene's solids as arrays (S = solids).

    Attributes:
        albedo: (S, 3) first color.
        second: (S, 3) second color.
        scale: (S,) metres per repeat.
        salt: (S,) number that tells two solids of the same material apart.
        texture: (S,) names.
        glass: (S,) whether the sensor often sees through.
    """

    albedo: np.ndarray
    second: np.ndarray
    scale: np.ndarray
    salt: np.ndarray
    texture: np.ndarray
    glass: np.ndarray

    @classmethod
    def of(cls, parts: list[Primitive]) -> Looks:
        """Collect the materials."""
        materials = [part.material for part in parts]
        return cls(
            np.array([m.albedo for m in materials]),
            np.array([m.second for m in materials]),
            np.array([m.scale for m in materials]),
            np.arange(len(parts)) * 0.754877666 % 1.0,
            np.array([m.texture for m in materials]),
            np.array([m.glass for m in materials]),
        )

    def paint(self, local: np.ndarray, which: np.ndarray) -> np.ndarray:
        """(N, 3) reflectance in [0, 1] of points ``local`` (metres in their solid's own axes) on solids ``which``."""
        color = self.albedo[which].copy()
        for texture in np.unique(self.texture[which]):
            if texture == "plain":
                continue
            rows = np.flatnonzero(self.texture[which] == texture)
            solids = which[rows]
            mix = _PATTERNS[texture](local[rows], self.scale[solids], self.salt[solids])
            if mix.ndim == 2:  # the pattern brings colors of its own
                color[rows] = mix
            else:
                color[rows] += (self.second[solids] - color[rows]) * mix[:, None]
        return color


def _grain(x: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """Pseudo-random numbers in [0, 1), constant over each whole step of ``x``."""
    return np.modf(np.abs(np.sin((np.floor(x) + 0.5) * 12.9898 + salt * 78.233) * 43758.5453))[0]


def _wood(p: np.ndarray, scale: np.ndarray, salt: np.ndarray) -> np.ndarray:
    rings = p[:, 1] * 9 + p[:, 2] * 7 + np.sin(p[:, 0] * 5 + salt * 20) * 0.7 + salt * 50
    return 0.35 + 0.3 * np.sin(rings / scale * 0.6) + 0.25 * (_grain(rings * 4 / scale, salt) - 0.5)


def _planks(p: np.ndarray, scale: np.ndarray, salt: np.ndarray) -> np.ndarray:
    row = np.floor(p[:, 1] / scale * 2)
    board = _grain(p[:, 0] / (4 * scale) + row * 3.7, salt + row * 0.13)
    seam = np.modf(np.abs(p[:, 1] / scale * 2))[0] < 0.06
    return np.where(seam, 1.0, 0.7 * board)


def _fabric(p: np.ndarray, scale: np.ndarray, salt: np.ndarray) -> np.ndarray:
    weave = (
        np.sin(p[:, 0] / scale * 19 + salt * 9) * np.sin(p[:, 1] / scale * 17) * np.sin(p[:, 2] / scale * 18 + salt * 5)
    )
    return 0.4 + 0.5 * weave


def _stripes(p: np.ndarray, scale: np.ndarray, salt: np.ndarray) -> np.ndarray:
    return (np.sin((p[:, 0] + p[:, 1]) / scale * 6.28 + salt * 6) > 0.2) * 0.9


def _carpet(p: np.ndarray, scale: np.ndarray, salt: np.ndarray) -> np.ndarray:
    figure = np.sin(p[:, 0] / scale * 6 + salt * 6) * np.sin(p[:, 1] / scale * 6 + salt * 4)
    speckle = _grain(p[:, 0] * 41 + salt, salt) * _grain(p[:, 1] * 43, salt + 0.3)
    return 0.3 + 0.35 * figure + 0.6 * (speckle - 0.25)


def _tiles(p: np.ndarray, scale: np.ndarray, salt: np.ndarray) -> np.ndarray:
    joint = (np.modf(np.abs(p / scale[:, None] + 0.37 + salt[:, None]))[0] < 0.07).any(axis=1)
    shade = _grain(p[:, 0] / scale + np.floor(p[:, 1] / scale) * 7 + np.floor(p[:, 2] / scale) * 3, salt)
    return np.where(joint, 0.9, 0.25 * shade)


def _books(p: np.ndarray, scale: np.ndarray, salt: np.ndarray) -> np.ndarray:
    """Spines of random colors along y, a few dark gaps, some shorter."""
    spine = p[:, 1] / 0.035 + salt * 97
    channels = [_grain(spine, salt + shift) for shift in (0.11, 0.42, 0.73)]
    color = np.stack(channels, axis=1) ** 1.3 * 0.8 + 0.05
    label = (np.abs(np.modf(np.abs(p[:, 2] / scale * 2.3))[0] - 0.5) < 0.1)[:, None]
    return np.where(_grain(spine, salt + 0.9)[:, None] < 0.1, 0.06, np.where(label, color * 0.4 + 0.5, color))


def _poster(p: np.ndarray, scale: np.ndarray, salt: np.ndarray) -> np.ndarray:
    waves = [
        np.sin(p[:, 1] / scale * a + salt * 31) * np.cos(p[:, 2] / scale * b + salt * 17)
        for a, b in ((5, 4), (3, 7), (8, 3))
    ]
    base = np.stack([_grain(np.zeros(len(p)), salt + shift) for shift in (0.2, 0.5, 0.8)], axis=1)
    return (0.25 + 0.5 * base + 0.3 * np.stack(waves, axis=1)).clip(0.03, 0.97)


def _panels(p: np.ndarray, scale: np.ndarray, salt: np.ndarray) -> np.ndarray:
    seam = (np.modf(np.abs(p[:, 1] / scale + salt))[0] < 0.05) | (np.modf(np.abs(p[:, 2] / scale + 0.3))[0] < 0.05)
    return np.where(seam, 0.85, 0.05)


def _speckle(p: np.ndarray, scale: np.ndarray, salt: np.ndarray) -> np.ndarray:
    return (
        _grain(p[:, 0] * 61 / scale + np.floor(p[:, 1] * 57 / scale) * 5 + np.floor(p[:, 2] * 59 / scale) * 3, salt)
        ** 2
    )


_PATTERNS = {
    "wood": _wood,
    "planks": _planks,
    "fabric": _fabric,
    "stripes": _stripes,
    "carpet": _carpet,
    "tiles": _tiles,
    "books": _books,
    "poster": _poster,
    "panels": _panels,
    "speckle": _speckle,
}


@dataclass(frozen=True)
class Light:
    """How a room is lit and recorded.

    Attributes:
        lamps: (L, 3) positions in metres.
        strength: (L,) relative.
        ambient: share of light that comes from everywhere.
        balance: (3,) white balance.
        gain: overall exposure.
        contrast: exponent of the response curve around middle grey.
    """

    lamps: np.ndarray
    strength: np.ndarray
    ambient: float
    balance: np.ndarray
    gain: float
    contrast: float


def random_light(random: np.random.Generator, size: np.ndarray, gain: float = 1.0) -> Light:
    """One to three ceiling lamps in a room of ``size`` (3,) metres that is centered on the origin."""
    count = int(random.integers(1, 4))
    place = random.uniform(-0.35, 0.35, (count, 2)) * size[:2]
    return Light(
        lamps=np.column_stack([place, np.full(count, size[2] - 0.15)]),
        strength=random.uniform(0.6, 1.4, count) / count,
        ambient=random.uniform(0.38, 0.55),
        balance=np.array(WHITE_BALANCE) * random.normal(1, 0.04, 3),
        gain=gain * random.normal(1, 0.1),
        contrast=random.uniform(1.0, 1.3),
    )


def record(
    reflectance: np.ndarray,
    points: np.ndarray,
    normal: np.ndarray,
    light: Light,
    random: np.random.Generator,
    exposure: float,
    noise: float,
) -> np.ndarray:
    """(N, 3) uint8 of lit surfaces.

    Args:
        reflectance: (N, 3) in [0, 1].
        points: (N, 3) metres.
        normal: (N, 3) unit.
        exposure: deviation of the slow drift of exposure between parts of the room.
        noise: deviation of the color noise in units of 255, where it is strongest.
    """
    power = np.full(len(points), light.ambient)
    for lamp, strength in zip(light.lamps, light.strength, strict=True):
        way = lamp - points
        distance = np.linalg.norm(way, axis=1)
        cosine = np.abs((way * normal).sum(axis=1)) / np.maximum(distance, 0.3)
        power += strength * cosine / (0.55 + 0.13 * distance**2)
    power *= 1 - 0.22 * np.exp(-np.maximum(points[:, 2], 0) / 0.12) * (normal[:, 2] < 0.5)  # darker near the floor
    power *= np.exp(exposure * smooth_noise(points, 1.6, random))
    value = (reflectance * power[:, None] * light.balance * light.gain * 1.1).clip(0, None)
    value = value / (1 + 0.28 * value)  # the response saturates slowly
    value = 0.5 * (value / 0.5) ** light.contrast
    strength = noise * np.exp(0.9 * smooth_noise(points, 0.8, random) - 0.5)
    grey, tint = random.normal(size=(len(points), 1)), random.normal(size=(len(points), 3))
    value = value * 255 + (0.85 * grey + 0.45 * tint) * strength[:, None]
    return value.round().clip(0, 255).astype(np.uint8)
