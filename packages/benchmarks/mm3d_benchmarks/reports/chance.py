"""What a segmentation scores that predicts one class for every point, from the labels that an evaluation counted.

``scenes.json`` of an evaluation keeps the labeled points of each class. Predicting class c everywhere intersects its
T_c of T points and unites all T, so with C classes its mIoU is T_c / T / C, its accuracies are 1 for c and 0 else, and
OA is T_c / T; the class with the most points is the best of these predictors. A class that never occurs counts as
zero, as in the metric. A detector has no such predictor: one that predicts nothing scores 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mm3d_benchmarks.planning.table_spec import TableSpec
from mm3d_benchmarks.reports.scores import read_scenes
from mm3d_benchmarks.results.inputs import Inputs

COLUMNS = ("mIoU", "mAcc", "OA")


def one_class(points: Sequence[float]) -> dict[str, float]:
    """Scores in percent of always predicting the most frequent class.

    Args:
        points: labeled points of each class; at least one of them is positive.
    """
    total, most = sum(points), max(points)
    return {"mIoU": 100 * most / total / len(points), "mAcc": 100 / len(points), "OA": 100 * most / total}


def chance_levels(spec: TableSpec, inputs: Inputs, store: Path | None) -> dict[tuple[str, str], float]:
    """(row, column) to the mean over the row's seeds; rows whose evaluations kept no counts are left out."""
    known: dict[str, dict[str, float] | None] = {}
    found: dict[tuple[str, str], float] = {}
    for (row, name), measured in inputs.cells.items() if store is not None else ():
        if name not in COLUMNS or row not in spec.rows or not measured.values:
            continue
        levels = []
        for seed in measured.values:
            key = measured.runs.get(seed, "")
            if key not in known:
                known[key] = _of_run(read_scenes(store, key)) if key and store is not None else None
            levels.append(known[key])
        if all(levels):
            found[row, name] = sum(level[name] for level in levels if level) / len(levels)
    return found


def _of_run(scenes: Mapping[str, Any] | None) -> dict[str, float] | None:
    """The level of one evaluation; None where it kept no counts, or such as no metric writes."""
    try:
        counted = [scene["counts"]["target"] for scene in (scenes or {}).values() if scene]
        points = [float(sum(column)) for column in zip(*counted, strict=True)]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return one_class(points) if points and min(points) >= 0 and 0 < sum(points) < float("inf") else None
