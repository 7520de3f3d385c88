"""What a trained network says of a scan of one's own, for other programs and to look at."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.formats.ply import write_ply
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.viewing.image import draw, save, sheet
from mm3d_benchmarks.viewing.page import MAX_POINTS, box_palette, colors_of, label_colors, page_text, thinned
from mm3d_core.files.atomic import atomic_write, write_json, write_text

ENTRY, LINE = 130, 20  # pixels of a legend's entry and line
NO_BOXES = np.zeros((0, 8), np.float32)


def save_segmentation(
    out: Path,
    name: str,
    scene: Scene,
    rows: np.ndarray,
    segment: np.ndarray,
    confidence: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
) -> list[Path]:
    """Write ``<name>.ply``, ``<name>.labels.npy``, ``<name>.html`` and ``<name>.png``.

    Args:
        scene: the (K) points of the scan.
        rows: (K,) the row of the file that each is.
        segment: (N,) class of each row of the file, -1 for none.
        confidence: (K,) probability of the class.
        classes, palette: names and (red, green, blue) in the order of the numbers.
    """
    facts = DatasetFacts("your scan", tuple(classes), tuple(palette))
    own = segment[rows]
    colored = label_colors(own, facts)
    table = np.empty(len(rows), [*_PLACE, *_COLOR, ("label", "i2"), ("confidence", "f4")])
    for column, axis in enumerate("xyz"):
        table[axis] = scene.coord[:, column].astype(np.float64) + scene.offset[column]
    for column, shade in enumerate(("red", "green", "blue")):
        table[shade] = colored[:, column]
    table["label"], table["confidence"] = own, confidence
    names = " ".join(f"{number}={word.replace(' ', '_')}" for number, word in enumerate(classes))
    write_ply(out / f"{name}.ply", table, comment=f"label {names}".encode("ascii", "replace").decode())
    _save_array(out / f"{name}.labels.npy", segment.astype(np.int16))
    shown = thinned(replace(scene, segment=own.astype(np.int16)), MAX_POINTS)
    assert shown.segment is not None
    colors = {"labels": label_colors(shown.segment, facts), "color": colors_of(shown)}
    return [out / f"{name}.ply", out / f"{name}.labels.npy", *_pictures(out, name, shown, colors, NO_BOXES, facts)]


def save_boxes(
    out: Path, name: str, scene: Scene, boxes: np.ndarray, records: list[dict[str, Any]], classes: Sequence[str]
) -> list[Path]:
    """Write ``<name>.json``, ``<name>.html`` and ``<name>.png``.

    Args:
        boxes: (K, 8) in the frame of the scene: center, full size, heading, class.
        records: what the JSON file lists, in the frame of the scan.
    """
    told = {"units": "metres", "up": "z", "heading": "radians, from +x towards -y, the first size along it"}
    write_json(out / f"{name}.json", {**told, "classes": list(classes), "boxes": records})
    facts = DatasetFacts(
        "your scan", detection_classes=tuple(classes), mean_sizes=tuple((1.0, 1.0, 1.0) for _ in classes)
    )
    names = [f"{classes[int(box[7])]} {record['score']:.2f}" for box, record in zip(boxes, records, strict=True)]
    shown = thinned(scene, MAX_POINTS)
    return [out / f"{name}.json", *_pictures(out, name, shown, {"color": colors_of(shown)}, boxes, facts, names)]


def save_features(out: Path, name: str, scene: Scene, colors: np.ndarray) -> list[Path]:
    """Write ``<name>.features.html`` and ``.png``: a scan beside the colors (K, 3) of its features."""
    shown = thinned(replace(scene, color=colors), MAX_POINTS)
    assert shown.color is not None
    panels = {"features": np.asarray(shown.color), "color": colors_of(thinned(scene, MAX_POINTS))}
    return _pictures(out, f"{name}.features", shown, panels, NO_BOXES, DatasetFacts("your scan"))


def _pictures(
    out: Path,
    name: str,
    scene: Scene,
    colors: Mapping[str, np.ndarray],
    boxes: np.ndarray,
    facts: DatasetFacts,
    box_names: Sequence[str] = (),
) -> list[Path]:
    """The page, and the panels side by side; boxes also from above, where those on one another are told apart."""
    titled = replace(scene, name=name)
    ink = box_palette(facts)[boxes[:, 7].astype(int)] if len(boxes) else None
    panels = [
        (title, draw(scene.coord, value, boxes, ink, box_names)) for title, value in reversed(list(colors.items()))
    ]
    if len(boxes):
        plan = draw(scene.coord, colors["color"], boxes, ink, box_names, azimuth=-90, elevation=90)
        panels.append(("from above", plan))
    write_text(out / f"{name}.html", page_text(titled, dict(colors), boxes, facts))
    picture = _with_legend(sheet(panels), _found(scene, boxes, facts))
    return [out / f"{name}.html", save(picture, out / f"{name}.png")]


def _found(scene: Scene, boxes: np.ndarray, facts: DatasetFacts) -> list[tuple[str, tuple[int, int, int]]]:
    """Name and color of the classes that occur."""
    if len(boxes):
        palette = box_palette(facts)
        return [(facts.detection_classes[k], tuple(palette[k])) for k in np.unique(boxes[:, 7].astype(int))]
    if scene.segment is None or not facts.segment_classes:
        return []
    present = np.unique(scene.segment)
    return [(facts.segment_classes[k], facts.segment_palette[k]) for k in present[present >= 0]]


def _with_legend(picture: Image.Image, entries: Sequence[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    """The picture over a line, or several, of colored squares and names."""
    if not entries:
        return picture
    across = max(1, picture.width // ENTRY)
    lines = -(-len(entries) // across)
    whole = Image.new("RGB", (picture.width, picture.height + LINE * lines + 8), "white")
    whole.paste(picture, (0, 0))
    pen = ImageDraw.Draw(whole)
    for number, (name, color) in enumerate(entries):
        x, y = 10 + ENTRY * (number % across), picture.height + 4 + LINE * (number // across)
        pen.rectangle([x, y, x + 14, y + 14], fill=tuple(int(v) for v in color), outline=(120, 120, 120))
        pen.text((x + 20, y + 1), name, fill="black")
    return whole


def _save_array(path: Path, values: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    with atomic_write(path) as stream:
        stream.write(buffer.getbuffer())


_PLACE = [(axis, "f8") for axis in "xyz"]
_COLOR = [(shade, "u1") for shade in ("red", "green", "blue")]
