"""Clouds to test and measure with: rooms as scanners see them, and every awkward shape we know of."""

from __future__ import annotations

import numpy as np

ROOM = (6.5, 5.5, 2.8)  # metres
FURNITURE = 18
NOISE = 0.004  # metres, a depth camera's


def room(count: int, seed: int, grid: float | None = None) -> np.ndarray:
    """A furnished room: (count, 3) float32 points on walls, floor and boxes, of uneven density, in random order.

    Args:
        count: points; with ``grid`` the room is first thinned to one point per cell, and must fill ``count`` cells.
        seed: of furniture, points and order.
        grid: cell edge in metres, or None.

    Raises:
        ValueError: the room has fewer occupied cells than ``count``.
    """
    random = np.random.default_rng(seed)
    corner, side_u, side_v, density = _faces(random)
    area = np.linalg.norm(np.cross(side_u, side_v), axis=1) * density
    drawn = count if grid is None else 12 * count
    face = random.choice(len(area), drawn, p=area / area.sum())
    u, v = random.random((2, drawn, 1))
    points = corner[face] + u * side_u[face] + v * side_v[face] + random.normal(0, NOISE, (drawn, 3))
    points = points.astype(np.float32)
    if grid is not None:
        cell = np.floor(points / grid).astype(np.int64)
        _, first = np.unique((cell * [1 << 40, 1 << 20, 1]).sum(1), return_index=True)
        if len(first) < count:
            raise ValueError(f"the room fills {len(first)} cells of {grid} m, not {count}")
        points = points[random.permutation(first)[:count]]
    return np.ascontiguousarray(points)


def _faces(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Corners (F, 3), two sides (F, 3) each, and densities (F,) of all faces."""
    faces = _box(np.zeros(3), np.array(ROOM), [0.7, 0.7, 0.7, 0.7, 1.0, 0.4])
    for _ in range(FURNITURE):
        corner = random.uniform((0.2, 0.2, 0.0), (ROOM[0] - 1.5, ROOM[1] - 1.5, 0.2))
        size = random.uniform((0.3, 0.3, 0.3), (1.4, 1.2, 1.1))
        faces += _box(corner, size, random.uniform(0.5, 2.5, 6))
    corner, side_u, side_v, density = zip(*faces, strict=True)
    return np.array(corner), np.array(side_u), np.array(side_v), np.array(density)


def _box(corner: np.ndarray, size: np.ndarray, density: np.ndarray | list[float]) -> list[tuple]:
    """Six faces of a box, low and high side of x, y and z."""
    faces = []
    for axis in range(3):
        u, v = np.eye(3)[(axis + 1) % 3] * size, np.eye(3)[(axis + 2) % 3] * size
        for end in range(2):
            faces.append((corner + end * np.eye(3)[axis] * size, u, v, density[2 * axis + end]))
    return faces


def _uniform(count: int, random: np.random.Generator) -> np.ndarray:
    return random.random((count, 3))


def _clustered(count: int, random: np.random.Generator) -> np.ndarray:
    return random.normal(size=(5, 3))[random.integers(0, 5, count)] + 0.01 * random.normal(size=(count, 3))


def _coplanar(count: int, random: np.random.Generator) -> np.ndarray:
    return random.random((count, 3)) * [1, 1, 0]


def _collinear(count: int, random: np.random.Generator) -> np.ndarray:
    return random.random((count, 1)) * [1.0, 2.0, -1.0]


def _duplicate(count: int, random: np.random.Generator) -> np.ndarray:
    return random.random((max(1, count // 7), 3))[random.integers(0, max(1, count // 7), count)]


def _equal(count: int, random: np.random.Generator) -> np.ndarray:
    return np.full((count, 3), 0.3)


def _lattice(count: int, random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 6, (count, 3)) * 0.25


def _far(count: int, random: np.random.Generator) -> np.ndarray:
    return random.random((count, 3)) + np.array([1e4, -1e4, 1e5])


def _huge(count: int, random: np.random.Generator) -> np.ndarray:
    return random.normal(size=(count, 3)) * 1e17


def _tiny(count: int, random: np.random.Generator) -> np.ndarray:
    return random.normal(size=(count, 3)) * 1e-30


def _outlier(count: int, random: np.random.Generator) -> np.ndarray:
    points = random.random((count, 3))
    points[:1] = 1e9
    return points


def _surface(count: int, random: np.random.Generator) -> np.ndarray:
    return room(count, int(random.integers(1 << 30)))


KINDS = {
    "uniform": _uniform,
    "clustered": _clustered,
    "coplanar": _coplanar,
    "collinear": _collinear,
    "duplicate": _duplicate,
    "equal": _equal,
    "lattice": _lattice,
    "far": _far,
    "huge": _huge,
    "tiny": _tiny,
    "outlier": _outlier,
    "room": _surface,
}


def cloud(kind: str, count: int, seed: int) -> np.ndarray:
    """(count, 3) float32 points of one of the ``KINDS``."""
    return np.ascontiguousarray(KINDS[kind](count, np.random.default_rng(seed)), dtype=np.float32).reshape(count, 3)
