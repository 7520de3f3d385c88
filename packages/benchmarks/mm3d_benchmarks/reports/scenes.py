"""Drawing a scan on paper: an orthographic view from above one corner, nearest points last."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mm3d_benchmarks.reports.artefacts import subsample
from mm3d_benchmarks.reports.style import UNLABELED, label_colors

AZIMUTH, ELEVATION = -60.0, 38.0  # degrees; the view of the paper's figures, roughly
CUT = 0.82  # share of a room's height that is drawn; the ceiling would hide the room
POINTS = 40_000  # of one panel


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
    colors = color if isinstance(color, str) else color[rows][order]
    size = float(np.clip(9_000 / max(len(rows), 1), 0.35, 5.0))
    axes.scatter(*position[order].T, s=size, c=colors, marker="o", linewidths=0, rasterized=True)
    corners, _ = view(frame[below_ceiling(frame)])
    low, high = corners.min(0), corners.max(0)
    margin = 0.02 * (high - low).max() + 1e-6
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)


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
