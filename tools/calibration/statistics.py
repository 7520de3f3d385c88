"""What a scan looks like in numbers: the statistics by which synthetic scans are held against a real one."""

from __future__ import annotations

import numpy as np
from scipy.spatial import ConvexHull, KDTree

from mm3d_benchmarks.datasets.scene import Scene

BANDS = (0.1, 0.5, 1.0, 1.5, 2.0, 2.4)  # metres above the floor
CELL = 0.1  # metres, of the floor plan
BALL = 0.1  # metres, for roughness and normals
SAMPLE = 4000  # points at which neighborhoods are looked at
DEPTHS = ((1.5, 2.0), (2.0, 2.5), (3.0, 4.0), (5.0, 6.0))  # metres, for the noise of depth frames
BALLS = 300  # balls per interval of depth


def scan_statistics(scene: Scene, half: bool = True, seed: int = 0) -> dict[str, float]:
    """Statistics of a ScanNet-like scan whose floor is near z = 0.

    Args:
        scene: aligned, with colors.
        half: look at a random half of the points, as the published real values do (counts per area are of all points).
    """
    random = np.random.default_rng(seed)
    points = len(scene.coord)
    rows = np.sort(random.choice(points, points // 2, replace=False)) if half else np.arange(points)
    assert scene.color is not None
    coord, color = scene.coord[rows].astype(np.float64), scene.color[rows].astype(np.float64)
    statistics = {**_plan(coord, points), **_colors(color)}
    height = np.digitize(coord[:, 2], BANDS)
    statistics |= {f"band {i}": float((height == i).mean()) for i in range(len(BANDS) + 1)}
    statistics |= _neighborhoods(coord, color, random)
    if scene.segment is not None:
        statistics["annotated"] = float((scene.segment >= 0).mean())
    if scene.boxes is not None:
        statistics["boxes"] = float(len(scene.boxes))
    return statistics


def depth_noise(coord: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Median roughness of a depth frame at some distances, millimetres: ``{"noise at 2 m": ...}``.

    Roughness is the root of the smallest eigenvalue in a ball of 4 cm at 2 m, larger in proportion to the depth.

    Args:
        coord: (N, 3) metres in the camera's frame, y forward.
    """
    random, tree = np.random.default_rng(seed), KDTree(coord)
    noise = {}
    for low, high in DEPTHS:
        rows = np.flatnonzero((coord[:, 1] > low) & (coord[:, 1] < high))
        values = []
        for row in random.permutation(rows)[:BALLS] if len(rows) > BALLS else ():
            near = tree.query_ball_point(coord[row], 0.04 * coord[row, 1] / 2)
            if len(near) >= 9:
                values.append(np.sqrt(max(np.linalg.eigvalsh(np.cov(coord[near].T))[0], 0)))
        if len(values) > BALLS / 4:
            noise[f"noise at {low:g} m"] = 1000 * float(np.median(values))
    return noise


def _plan(coord: np.ndarray, points: int) -> dict[str, float]:
    """Floor plan: density, and how much of it was seen."""
    cells = np.floor(coord[:, :2] / CELL).astype(int)
    low = cells.min(axis=0)
    seen = np.zeros(cells.max(axis=0) - low + 1, bool)
    floor = seen.copy()
    seen[tuple((cells - low).T)] = True
    floor[tuple((cells - low)[np.abs(coord[:, 2]) < 0.1].T)] = True
    hull = ConvexHull(coord[:, :2])
    middles = (np.argwhere(np.ones_like(seen)) + low + 0.5) * CELL
    inside = (middles @ hull.equations[:, :2].T + hull.equations[:, 2] <= 0).all(axis=1).reshape(seen.shape)
    return {
        "per floor area": points / hull.volume,  # the volume of a 2-D hull is its area
        "floor seen": float(floor[inside].mean()),
        "any seen": float(seen[inside].mean()),
    }


def _colors(color: np.ndarray) -> dict[str, float]:
    mean, deviation = color.mean(axis=0), color.std(axis=0)
    high, low = color.max(axis=1), color.min(axis=1)
    saturation = np.divide(high - low, high, out=np.zeros_like(high), where=high > 0)
    names = ("red", "green", "blue")
    return {
        **{f"mean {n}": float(v) for n, v in zip(names, mean, strict=True)},
        **{f"std {n}": float(v) for n, v in zip(names, deviation, strict=True)},
        "saturation": float(saturation.mean()),
        "red-blue correlation": float(np.corrcoef(color[:, 0], color[:, 2])[0, 1]),
    }


def _neighborhoods(coord: np.ndarray, color: np.ndarray, random: np.random.Generator) -> dict[str, float]:
    """Spacing, roughness, normals, and the two terms of the informative-point statistic."""
    tree = KDTree(coord)
    at = random.choice(len(coord), min(SAMPLE, len(coord)), replace=False)
    distance, index = (np.asarray(a) for a in tree.query(coord[at], 17))
    spread = distance[:, 1:].sum(axis=1)
    contrast = np.linalg.norm(color[index[:, 1:]] - color[at][:, None], axis=2).sum(axis=1)
    sigma, up = _roughness(coord, tree, at)
    statistics = {
        "nearest": float(np.median(distance[:, 1])) * 1000,
        "color difference": float(np.abs(color[index[:, 1:9]] - color[at][:, None]).mean()),
        "normal up": float((up > 0.95).mean()),
        "normal wall": float((up < 0.1).mean()),
        "normal oblique": float(((up > 0.2) & (up < 0.9)).mean()),
    }
    for name, value, marks in (
        ("sigma", sigma * 1000, (25, 50, 90)),
        ("spread", spread, (10, 50, 90, 99)),
        ("contrast", contrast, (10, 50, 90, 99)),
    ):
        level = np.percentile(value, marks)
        if name == "sigma":
            statistics |= {f"sigma p{m}": float(v) for m, v in zip(marks, level, strict=True)}
        else:
            statistics |= {
                f"{name} p{m}/p50": float(v / level[1]) for m, v in zip(marks, level, strict=True) if m != 50
            }
    return statistics


def _roughness(coord: np.ndarray, tree: KDTree, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Root of the smallest eigenvalue in a ball (metres), and |z| of its direction; at least 8 neighbors each."""
    sigma, up = [], []
    for rows in tree.query_ball_point(coord[at], BALL):
        if len(rows) < 9:
            continue
        values, vectors = np.linalg.eigh(np.cov(coord[rows].T))
        sigma.append(np.sqrt(max(values[0], 0)))
        up.append(abs(vectors[2, 0]))
    return np.array(sigma), np.array(up)
