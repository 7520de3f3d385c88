"""Drawing a scan on paper: an orthographic view from above one corner, nearest points last, darker behind edges.

Points say little about depth. As in eye-dome lighting (Boucheny, 2009), a point is darkened where something
nearer stands beside it on paper: outlines of furniture and corners of the room appear.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from scipy.ndimage import maximum_filter

from mm3d_benchmarks.reports.artefacts import subsample
from mm3d_benchmarks.reports.style import UNLABELED, label_colors

AZIMUTH, ELEVATION = -60.0, 38.0  # degrees; the view of the paper's figures, roughly
CUT = 0.82  # share of a room's height that is drawn; the ceiling would hide the room
POINTS = 40_000  # of one panel
CELLS = 110  # of the paper's longer side, in which depths are compared
DARKEST = 0.45  # share of its color that a point keeps far behind an edge
SLOPE = 0.03  # of the scan's depth between neighboring cells that an ordinary surface spans
REACH = 0.05  # of the scan's depth; so far behind an edge, half of the darkening is reached
INK = 30_000.0  # square points of paper that the points of a panel cover together


def view(coord: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((N, 2) position on paper, (N,) depth, larger is nearer) of (N, 3) points."""
    azimuth, elevation = np.radians([AZIMUTH, ELEVATION])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    toward = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    up = np.cross(toward, right)
    return np.stack([coord @ right, coord @ up], axis=1), coord @ toward


def below_ceiling(coord: np.ndarray) -> np.ndarray:
    """(N,) bool: points in the lower part of a room. Scans without points under the cut are drawn whole."""
    low, high = coord[:, 2].min(), coord[:, 2].max()
    kept = coord[:, 2] <= low + CUT * (high - low)
    has_ceiling = (coord[:, 2] > high - 0.12 * (high - low)).mean() > 0.05
    return kept if has_ceiling and kept.any() else np.ones(len(coord), dtype=bool)


def draw_points(axes: Axes, coord: np.ndarray, color: np.ndarray | str, limits: np.ndarray | None = None) -> None:
    """Scatter (N, 3) points in (N, 3) colors, or one color.

    Args:
        limits: (M, 3) points that set the extent, so that panels of one scan share a frame; by default ``coord``.
    """
    frame = coord if limits is None else limits
    rows = np.flatnonzero(below_ceiling(coord)) if limits is None else np.flatnonzero(coord[:, 2] <= _top(frame))
    rows = rows[subsample(len(rows), POINTS)]
    position, depth = view(coord[rows])
    order = np.argsort(depth, kind="stable")
    colors = np.tile(to_rgb(color), (len(rows), 1)) if isinstance(color, str) else color[rows]
    colors = (colors * shading(position, depth)[:, None])[order]
    size = float(np.clip(INK / max(len(rows), 1), 0.45, 9.0))
    axes.scatter(*position[order].T, s=size, c=colors, marker="o", linewidths=0, rasterized=True)
    corners, _ = view(frame[below_ceiling(frame)])
    low, high = corners.min(0), corners.max(0)
    margin = 0.02 * (high - low).max() + 1e-6
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)


def shading(position: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(N,) share of its color, from ``DARKEST`` to 1, that each point keeps.

    Args:
        position: (N, 2) on paper; ``depth``: (N,), larger is nearer, in the same unit.
    """
    if not len(position):
        return np.ones(0)
    low, extent = position.min(0), max(float(np.ptp(position, axis=0).max()), 1e-9)
    cell = np.minimum(((position - low) / extent * CELLS).astype(int), CELLS - 1)
    nearest = np.full((CELLS, CELLS), -np.inf)
    np.maximum.at(nearest, (cell[:, 0], cell[:, 1]), depth)
    behind = np.maximum(maximum_filter(nearest, 3)[cell[:, 0], cell[:, 1]] - depth, 0)
    span = max(float(np.ptp(depth)), 1e-9)
    return DARKEST + (1 - DARKEST) * np.exp2(-np.maximum(behind / span - SLOPE, 0) / REACH)


def statistic_colors(statistic: np.ndarray) -> np.ndarray:
    """(N, 3) viridis colors of a statistic, stretched between its 1 % and 99 % quantiles."""
    from matplotlib import colormaps

    low, high = np.quantile(statistic, [0.01, 0.99]) if len(statistic) else (0.0, 1.0)
    scaled = np.clip((statistic - low) / max(high - low, 1e-12), 0, 1)
    return colormaps["viridis"](scaled)[:, :3]


def segment_colors(segment: np.ndarray, classes: int) -> np.ndarray:
    """(N, 3) colors of labels; unlabeled points are gray."""
    from matplotlib.colors import to_rgb

    palette = np.array([*(to_rgb(c) for c in label_colors(max(classes, 1))), to_rgb(UNLABELED)])
    label = np.where((segment >= 0) & (segment < classes), segment, classes).astype(int)
    return palette[label]


def height_colors(coord: np.ndarray) -> np.ndarray:
    """(N, 3) gray levels by height, for scans without color."""
    z = coord[:, 2]
    level = 0.25 + 0.55 * (z - z.min()) / max(float(np.ptp(z)), 1e-9)
    return np.repeat(level[:, None], 3, axis=1)


def _top(frame: np.ndarray) -> float:
    """Height above which nothing is drawn."""
    return float(frame[below_ceiling(frame), 2].max()) + 1e-6
