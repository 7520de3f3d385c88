"""Figures 2, 6, 7 and 8: what the statistic sees, what the masks keep, what is rebuilt, what is predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mm3d_benchmarks.reports import scenes
from mm3d_benchmarks.reports.artefacts import Artefact
from mm3d_benchmarks.reports.style import UNLABELED, label_colors, new_figure, plain

SCENES = 3  # lines of a figure
METHODS = 6  # columns of a figure that compares runs


def statistic_heat_map(found: Sequence[Artefact]) -> Figure | None:
    """Figure 2: the scan in its colors, and the heat map of its local statistic."""
    picked = _distinct([a for a in found if a.has("coord", "statistic")])[:SCENES]
    if not picked:
        return None
    figure = new_figure(7.2, 2.8 * len(picked) + 0.4)
    axes = figure.subplots(len(picked), 2, squeeze=False)
    for line, artefact in zip(axes, picked, strict=True):
        coord, statistic = artefact.arrays["coord"], artefact.arrays["statistic"]
        scenes.draw_points(line[0], coord, _color(artefact))
        scenes.draw_points(line[1], coord, scenes.statistic_colors(statistic))
        plain(line[0], "scan")
        plain(line[1], f"local statistic ({artefact.label})")
    scale = ScalarMappable(cmap="viridis")
    bar = figure.colorbar(scale, ax=axes[:, 1].tolist(), shrink=0.6, ticks=[0, 1])
    bar.ax.set_yticklabels(["low", "high"])
    return figure


def segmentation(found: Sequence[Artefact]) -> Figure | None:
    """Figure 6: scan, ground truth, and the prediction of each run, scene by scene."""
    usable = [a for a in found if a.has("coord", "segment", "prediction")]
    if not usable:
        return None
    names = list(dict.fromkeys(a.name for a in usable))[:SCENES]
    labels = list(dict.fromkeys(a.label for a in usable))[:METHODS]
    classes = max(int(max(a.arrays["segment"].max(), a.arrays["prediction"].max())) for a in usable) + 1
    columns = 2 + len(labels)
    figure = new_figure(min(2.4 * columns, 14.0), 2.4 * len(names) + 0.8)
    axes = figure.subplots(len(names), columns, squeeze=False)
    for line, name in zip(axes, names, strict=True):
        first = next(a for a in usable if a.name == name)
        scenes.draw_points(line[0], first.arrays["coord"], _color(first))
        truth = scenes.segment_colors(first.arrays["segment"], classes)
        scenes.draw_points(line[1], first.arrays["coord"], truth)
        plain(line[0], "scan")
        plain(line[1], "ground truth")
        for axes_, label in zip(line[2:], labels, strict=True):
            plain(axes_, label)
            match = next((a for a in usable if (a.name, a.label) == (name, label)), None)
            if match:
                colors = scenes.segment_colors(match.arrays["prediction"], classes)
                scenes.draw_points(axes_, match.arrays["coord"], colors, limits=first.arrays["coord"])
    _class_legend(figure, usable, classes)
    return figure


def masks(found: Sequence[Artefact]) -> Figure | None:
    """Figure 7: what remains of one scan when the mask is guided by different statistics."""
    picked = list({a.label: a for a in reversed([a for a in found if _kept(a) is not None])}.values())[::-1][:METHODS]
    if not picked:
        return None
    columns = min(3, len(picked) + 1)
    rows = -(-(len(picked) + 1) // columns)
    figure = new_figure(2.6 * columns, 2.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in axes:
        plain(empty)
    first = picked[0]
    if first.has("coord"):
        scenes.draw_points(axes[0], first.arrays["coord"], _color(first))
        plain(axes[0], "scan")
    for panel, artefact in zip(axes[1:], picked, strict=False):
        points, colors = _kept(artefact) or (np.zeros((0, 3)), "black")
        frame = artefact.arrays.get("coord", points)
        scenes.draw_points(panel, points, colors, limits=frame)
        share = f", {100 * len(points) / len(frame):.0f} % kept" if artefact.has("coord") else ""
        plain(panel, artefact.label + share)
    return figure


def reconstruction(found: Sequence[Artefact]) -> Figure | None:
    """Figure 8: masked input, target, and reconstruction."""
    picked = _distinct([a for a in found if a.has("input", "target", "reconstruction")])[:SCENES]
    if not picked:
        return None
    several = len({artefact.label for artefact in picked}) > 1
    figure = new_figure(7.6, 2.5 * len(picked) + 0.3)
    axes = figure.subplots(len(picked), 3, squeeze=False)
    for line, artefact in zip(axes, picked, strict=True):
        scan = artefact.arrays.get("coord", artefact.arrays["target"])
        frame = np.concatenate([scan, artefact.arrays["reconstruction"]])  # for all three, uncut
        for panel, name, title in zip(
            line, ("input", "target", "reconstruction"), ("masked input", "target", "reconstruction"), strict=True
        ):
            points = artefact.arrays[name]
            scenes.draw_points(panel, points, point_colors(artefact, name), limits=frame)
            label = f"{artefact.label}: " if several and name == "input" else ""
            plain(panel, f"{label}{title}, {len(points):,} points")
    return figure


PICTURES: dict[str, Callable[[Sequence[Artefact]], Figure | None]] = {
    "statistic": statistic_heat_map,
    "segmentation": segmentation,
    "masks": masks,
    "reconstruction": reconstruction,
}


def _distinct(found: Sequence[Artefact]) -> list[Artefact]:
    """The first artefact of each scan, so that a figure does not show the same scan several times."""
    scans: dict[bytes, Artefact] = {}
    for artefact in found:
        points = artefact.arrays.get("coord", artefact.arrays.get("target"))
        scans.setdefault(b"" if points is None else sha256(points.tobytes()).digest(), artefact)
    return list(scans.values())


def _color(artefact: Artefact) -> np.ndarray:
    return artefact.arrays["color"] if artefact.has("color") else scenes.height_colors(artefact.arrays["coord"])


def _kept(artefact: Artefact) -> tuple[np.ndarray, np.ndarray | str] | None:
    """(points, colors) that a mask leaves: the middle rung of ``kept``, or ``input``."""
    if artefact.has("coord", "kept"):
        rows = artefact.arrays["kept"][len(artefact.arrays["kept"]) // 2].astype(bool)
        return artefact.arrays["coord"][rows], _color(artefact)[rows]
    if not artefact.has("input"):
        return None
    return artefact.arrays["input"], point_colors(artefact, "input")


def point_colors(artefact: Artefact, name: str) -> np.ndarray:
    """(n, 3) colors of the points of an array: its own, those of its rows of the scan, or of the nearest points."""
    points, own = artefact.arrays[name], artefact.arrays.get(f"{name}_color")
    if name == "coord":
        return _color(artefact)
    if own is not None and own.shape == points.shape:
        return own
    rows = artefact.arrays.get(f"{name}_rows")
    if artefact.has("coord") and rows is not None and len(rows) == len(points):
        return _color(artefact)[rows]
    if artefact.has("coord", "color") and len(points):
        from scipy.spatial import KDTree

        return artefact.arrays["color"][KDTree(artefact.arrays["coord"]).query(points)[1]]
    return scenes.height_colors(points)


def _class_legend(figure: Figure, found: Sequence[Artefact], classes: int) -> None:
    names = next((a.class_names() for a in found if a.class_names()), [])
    colors = label_colors(classes)
    handles = [Patch(color=c, label=names[i] if i < len(names) else f"class {i}") for i, c in enumerate(colors)]
    figure.legend(handles=[*handles, Patch(color=UNLABELED, label="unlabeled")], loc="outside lower center", ncols=7)
