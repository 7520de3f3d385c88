"""Scans for the page's viewer: sampled, quantized, and written as text.

Positions take 16 bits per axis of the scan's box (a tenth of a millimetre in a room of 6 m), everything else 8 bits.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from mm3d_benchmarks.reports.artefacts import Artefact, subsample
from mm3d_benchmarks.reports.scenes import statistic_colors
from mm3d_benchmarks.reports.style import UNLABELED, label_colors

POINTS = 24_000  # of one scan
SCANS = 16
NO_LABEL = 255
PARTS = {"input": "Masked, what the student sees", "target": "Target", "reconstruction": "Reconstruction"}


def pack(artefacts: Sequence[Artefact], scans: int = SCANS) -> list[dict[str, Any]]:
    """One entry per scan, JSON-able; scans with predictions first."""
    usable = [a for a in artefacts if a.has("coord")]
    ordered = sorted(usable, key=lambda a: not a.has("prediction"))
    packed = [_scan(a) for a in ordered[:scans]]
    for artefact in ordered[:scans]:
        if artefact.has("input", "target", "reconstruction"):
            packed += [_plain(artefact, name) for name in PARTS]
    titles = [entry["title"] for entry in packed]
    for entry in packed:  # two runs of one row, as of two seeds, are told apart by their keys
        if titles.count(entry["title"]) > 1:
            entry["title"] += f" ({entry['run'][:6]})"
    return packed


def _shows(artefact: Artefact) -> str:
    """What a scan shows, in words: ``Prediction in room Area_5_office_1: MM-3DScene``."""
    room = artefact.name.removeprefix("prediction_")
    if artefact.has("prediction"):
        return f"Prediction in {room}: {artefact.label}" if room != artefact.name else f"Prediction: {artefact.label}"
    return f"A scan that pre-training sees: {artefact.label}"


def _scan(artefact: Artefact) -> dict[str, Any]:
    arrays = artefact.arrays
    rows = subsample(len(arrays["coord"]), POINTS)
    modes: dict[str, str] = {}
    if artefact.has("color"):
        modes["color"] = _bytes(np.round(arrays["color"][rows] * 255))
    if artefact.has("segment"):
        modes["label"] = _bytes(_labels(arrays["segment"][rows]))
    if artefact.has("prediction"):
        modes["prediction"] = _bytes(_labels(arrays["prediction"][rows]))
    if artefact.has("statistic"):
        modes["statistic"] = _bytes(np.round(statistic_colors(arrays["statistic"])[rows] * 255))
    labels = [arrays[name] for name in ("segment", "prediction") if name in arrays]
    classes = int(max((label.max(initial=-1) for label in labels), default=-1)) + 1
    names = artefact.class_names()
    return {
        **_positions(arrays["coord"][rows]),
        "title": _shows(artefact),
        "run": artefact.run,
        "modes": modes,
        "palette": [*label_colors(max(classes, 1)), UNLABELED],
        "classes": [names[i] if i < len(names) else f"class {i}" for i in range(classes)],
    }


def _plain(artefact: Artefact, name: str) -> dict[str, Any]:
    """Points without anything but positions; the viewer colors them by height."""
    points = artefact.arrays[name]
    points = points[subsample(len(points), POINTS)]
    title = f"{PARTS[name]}: {artefact.label}"
    return {**_positions(points), "title": title, "run": artefact.run, "modes": {}, "palette": [], "classes": []}


def _positions(coord: np.ndarray) -> dict[str, Any]:
    low, high = (coord.min(0), coord.max(0)) if len(coord) else (np.zeros(3), np.ones(3))
    size = np.maximum(high - low, 1e-6)
    grid = np.round((coord - low) / size * 65535).astype("<u2")
    return {
        "count": len(coord),
        "low": [round(float(v), 4) for v in low],
        "size": [round(float(v), 4) for v in size],
        "coord": base64.b64encode(grid.tobytes()).decode(),
    }


def _labels(segment: np.ndarray) -> np.ndarray:
    return np.where((segment >= 0) & (segment < NO_LABEL), segment, NO_LABEL)


def _bytes(values: np.ndarray) -> str:
    return base64.b64encode(values.astype(np.uint8).tobytes()).decode()
