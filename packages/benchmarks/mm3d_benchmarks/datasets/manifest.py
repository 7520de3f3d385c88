"""The manifest of a prepared data set: summed from the scenes' records, whatever their order and the machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.scene import VERSION
from mm3d_core.files.untrusted import parse_json

WHOLE = ""  # key of the remarks on the whole data set; no scene has an empty name
MARK = "synthetic.json"  # the generator leaves it beside the raw files it writes
FORMER_MARK = "embedded.json"
FORMER_KINDS = {"embedded": "synthetic"}  # in data that were prepared, and results that were collected, before


def build_manifest(
    *,
    facts: DatasetFacts,
    splits: Mapping[str, list[str]],
    records: Mapping[str, dict[str, Any]],
    remarks: Mapping[str, list[str]],
    left_out: Mapping[str, str],
    options: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that loaders, run keys and reports need to know about a prepared folder.

    Returns a JSON-able dict with the keys
        version, dataset, units, origin ({"kind": "synthetic"|"official"|"user", ...}), options,
        classes {"segmentation": [...], "detection": [...]}, splits {split: [scene]},
        scenes {scene: {"points", "files" {file: sha256}, "segment_counts", "boxes", ...}},
        points {split: count}, class_shares {split: {class: percent of the labelled points}}, labelled {split: percent},
        box_counts {split: {class: count}}, mean_sizes {class: [l, w, h]}, mean_sizes_from {class: "train"|"published"},
        remarks {scene: [repairs and assumptions], "": [what no scene was made from]}, left_out {scene: reason}.
    """
    complete = {split: [name for name in names if name in records] for split, names in splits.items()}
    train = [records[name] for name in complete.get("train", [])]
    mean_sizes, mean_sizes_from = _mean_sizes(facts, train)
    per_split = {split: [records[name] for name in names] for split, names in complete.items()}
    manifest: dict[str, Any] = {
        "version": VERSION,
        "dataset": facts.name,
        "units": "metres",
        "origin": dict(origin),
        "options": dict(options),
        "classes": {"segmentation": list(facts.segment_classes), "detection": list(facts.detection_classes)},
        "splits": complete,
        "scenes": {
            name: {k: v for k, v in record.items() if k not in ("source", "remarks")}
            for name, record in sorted(records.items())
        },
        "points": {split: sum(r["points"] for r in rows) for split, rows in per_split.items()},
        "class_shares": {split: _class_shares(facts, rows) for split, rows in per_split.items()},
        "labelled": {split: _labelled(rows) for split, rows in per_split.items()},
        "box_counts": {split: _box_counts(facts, rows) for split, rows in per_split.items()},
        "mean_sizes": mean_sizes,
        "mean_sizes_from": mean_sizes_from,
        "remarks": dict(sorted(remarks.items())),
        "left_out": dict(sorted(left_out.items())),
    }
    return manifest


def origin_of(raw: Path, unmarked: str = "official") -> dict[str, Any]:
    """Where raw files come from: the generator leaves a mark; without one it is what ``unmarked`` says."""
    path = raw / MARK if (raw / MARK).exists() else raw / FORMER_MARK
    try:
        mark = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {"kind": unmarked}
    if not isinstance(mark, dict):
        return {"kind": unmarked}
    return {"kind": "synthetic", **{key: mark[key] for key in ("generator", "profile", "seed", "knobs") if key in mark}}


def origin_kind(word: str) -> str:
    """``synthetic``, ``official`` or ``user``, whichever word of its time a manifest or a provenance holds."""
    return FORMER_KINDS.get(word, word)


def _class_shares(facts: DatasetFacts, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Percent of the labelled points per class."""
    counts = [sum(r.get("segment_counts", {}).get(str(i), 0) for r in rows) for i in range(len(facts.segment_classes))]
    total = sum(counts)
    return {
        name: round(100 * n / total, 4) if total else 0.0 for name, n in zip(facts.segment_classes, counts, strict=True)
    }


def _labelled(rows: list[dict[str, Any]]) -> float:
    """Percent of the points that carry a class."""
    total = sum(r["points"] for r in rows)
    labelled = sum(n for r in rows for i, n in r.get("segment_counts", {}).items() if int(i) >= 0)
    return round(100 * labelled / total, 4) if total else 0.0


def _box_counts(facts: DatasetFacts, rows: list[dict[str, Any]]) -> dict[str, int]:
    """Boxes per class."""
    return {
        name: sum(r.get("box_counts", {}).get(str(i), 0) for r in rows)
        for i, name in enumerate(facts.detection_classes)
    }


def _mean_sizes(facts: DatasetFacts, train: list[dict[str, Any]]) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Mean full size of the train boxes per class; the published one for a class without a train box."""
    sizes, sources = {}, {}
    for i, name in enumerate(facts.detection_classes):
        count = sum(r.get("box_counts", {}).get(str(i), 0) for r in train)
        if count:
            total = np.sum([r["box_size_sums"][str(i)] for r in train if str(i) in r.get("box_size_sums", {})], axis=0)
            sizes[name] = [round(float(s) / count, 6) for s in total]
        else:
            sizes[name] = list(facts.mean_sizes[i])
        sources[name] = "train" if count else "published"
    return sizes, sources
