"""Shows one prepared scene: a page that opens from disk (labels, boxes, statistic), and PNG views."""

from __future__ import annotations

import base64
import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.known import facts_of
from mm3d_benchmarks.datasets.scene import Scene, open_dataset
from mm3d_benchmarks.planning.strictness import did_you_mean
from mm3d_benchmarks.viewing.image import draw, save, sheet
from mm3d_benchmarks.viewing.statistic import heat, local_statistic
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_text

MAX_POINTS = 150_000  # shown; larger scenes are thinned at random
UNLABELLED = (190, 190, 190)


def view_scene(root: Path | str, scene: str | None, out: Path | str) -> list[Path]:
    """Write ``<scene>.html`` and ``<scene>_{color,labels,statistic,sheet}.png``.

    Args:
        root: prepared folder.
        scene: its name; None takes the first one of the manifest.
        out: folder for the pictures.

    Returns:
        The files written.

    Raises:
        UserError: no such scene, or the folder cannot be written.
    """
    dataset, out = open_dataset(root), Path(out)
    known = list(dataset.manifest["scenes"])
    if scene is not None and scene not in known:
        raise UserError(
            f"{dataset.root}: no scene {scene!r}{did_you_mean(scene, known)}; it has {len(known)}, {known[0]} for one"
        )
    name = scene if scene is not None else known[0]
    loaded = thinned(dataset.load(name), MAX_POINTS)
    facts = facts_of(dataset)
    colors = {"color": colors_of(loaded)}
    if loaded.segment is not None:
        colors["labels"] = label_colors(loaded.segment, facts)
    colors["statistic"] = heat(local_statistic(loaded.coord, loaded.color))
    boxes = loaded.boxes if loaded.boxes is not None else np.zeros((0, 8), np.float32)
    palette = box_palette(facts)
    strange = boxes[(boxes[:, 7] < 0) | (boxes[:, 7] >= len(palette)), 7]
    if len(strange):
        raise UserError(f"{dataset.root / name}: a box of class {strange[0]:.0f}, which {facts.name} does not have")
    ink = palette[boxes[:, 7].astype(int)] if len(boxes) else None
    panels = [
        (title, draw(loaded.coord, value, boxes if title != "statistic" else None, ink))
        for title, value in colors.items()
    ]
    written = [save(image, out / f"{name}_{title}.png") for title, image in panels]
    written.append(save(sheet(panels), out / f"{name}_sheet.png"))
    page = out / f"{name}.html"
    write_text(page, page_text(loaded, colors, boxes, facts))
    return [*written, page]


def thinned(scene: Scene, count: int) -> Scene:
    """At most ``count`` points, chosen by a fixed draw."""
    if scene.num_points <= count:
        return scene
    rows = np.sort(np.random.default_rng(0).choice(scene.num_points, count, replace=False))
    arrays = {key: value if key == "boxes" else value[rows] for key, value in scene.arrays().items()}
    return Scene(scene.name, **arrays, offset=scene.offset)


def colors_of(scene: Scene) -> np.ndarray:
    """(N, 3) uint8: the scan's own colors, or shades of height."""
    if scene.color is not None:
        return np.asarray(scene.color)
    height = scene.coord[:, 2]
    shade = (60 + 160 * (height - height.min()) / max(float(np.ptp(height)), 1e-6)).astype(np.uint8)
    return np.repeat(shade[:, None], 3, axis=1)


def label_colors(segment: np.ndarray, facts: DatasetFacts) -> np.ndarray:
    """(N, 3) uint8 by the data set's palette, grey where nothing is labelled."""
    palette = np.array([*facts.segment_palette, UNLABELLED], np.uint8)
    known = (segment >= 0) & (segment < len(facts.segment_palette))
    return palette[np.where(known, segment, len(facts.segment_palette))]


def box_palette(facts: DatasetFacts) -> np.ndarray:
    """(classes, 3) uint8: as the points of the same class are colored; without such, hues spread around the circle.

    Classes of similar hue (5, 8 or 13 apart) differ in lightness: plain, dark and pale take turns.
    """
    if facts.segment_classes and facts.detection_classes:
        other = {"garbagebin": "otherfurniture"}  # VoteNet's name
        rows = [other.get(name, name) for name in facts.detection_classes]
        if set(rows) <= set(facts.segment_classes):
            return np.array([facts.segment_palette[facts.segment_classes.index(name)] for name in rows], np.uint8)
    hue = np.arange(max(1, facts.num_detection_classes)) * 0.61803 % 1
    channel = np.stack([hue, (hue + 1 / 3) % 1, (hue + 2 / 3) % 1], axis=1)
    shade = 0.45 + 0.4 * np.cos(2 * np.pi * channel)
    shade[1::3] *= 0.6
    shade[2::3] += (1 - shade[2::3]) * 0.3
    return (shade * 255).clip(0, 255).astype(np.uint8)


def page_text(scene: Scene, colors: dict[str, np.ndarray], boxes: np.ndarray, facts: DatasetFacts) -> str:
    """The page: one file, no network, no library. Coordinates travel in millimetres as 16-bit integers."""
    low = scene.coord.min(axis=0)
    span = float(np.ptp(scene.coord, axis=0).max()) or 1.0
    grid = ((scene.coord - low) / span * 65535).round().astype("<u2")
    data = {
        "name": scene.name,
        "dataset": facts.name,
        "points": scene.num_points,
        "low": [round(float(v), 4) for v in low],
        "span": round(span, 6),
        "offset": [round(float(v), 4) for v in scene.offset],
        "coord": base64.b64encode(grid.tobytes()).decode(),
        "colors": {
            key: base64.b64encode(np.ascontiguousarray(value).tobytes()).decode() for key, value in colors.items()
        },
        "boxes": [[round(float(v), 4) for v in box] for box in boxes],
        "boxNames": list(facts.detection_classes),
        "boxPalette": box_palette(facts).tolist(),
        "legend": legend(facts),
    }
    template = files("mm3d_benchmarks.viewing").joinpath("page.html").read_text(encoding="utf-8")
    before, between, after = re.split(r"\{\{(?:name|data)\}\}", template)
    return before + html.escape(scene.name) + between + json.dumps(data).replace("<", "\\u003c") + after


def legend(facts: DatasetFacts) -> list[list[Any]]:
    """(name, color) of the classes of points; of the boxes where points have none."""
    if facts.segment_classes:
        rows = zip((*facts.segment_classes, "not labelled"), (*facts.segment_palette, UNLABELLED), strict=True)
        return [[name, list(rgb)] for name, rgb in rows]
    return [[name, rgb] for name, rgb in zip(facts.detection_classes, box_palette(facts).tolist(), strict=False)]
