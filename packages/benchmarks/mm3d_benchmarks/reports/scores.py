"""Scores of single scenes, as evaluations leave them in ``scenes.json``.

The file maps a scene to its scores, or to None where nothing could be scored. A scene that also carries ``counts`` with
``intersection``, ``target`` and ``predicted`` (one number per class) allows the exact bootstrap of mIoU and mAcc.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.reports.verdicts.statistics import Interval, SceneScores, scene_interval
from mm3d_benchmarks.results.inputs import Inputs
from mm3d_benchmarks.store.layout import SCENES, read_json

MOST_FILES = 400  # files of scene scores that a report reads; beyond, intervals over scenes are left out


def readable_store(tables: Iterable[Inputs], store: Path | None) -> Path | None:
    """The store, if the tables' evaluations are few enough that the scores of their scenes can be read; else None."""
    runs = {key for inputs in tables for measured in inputs.cells.values() for key in measured.runs.values()}
    return store if len(runs) <= MOST_FILES else None


def read_scenes(store: Path, key: str) -> dict[str, Any] | None:
    """Scene to what was recorded for it; None when the run left nothing readable."""
    return read_json(store / key / SCENES) or None


def scene_scores(runs: Sequence[Mapping[str, Any]], column: str) -> tuple[SceneScores, bool] | None:
    """The scores of one row's runs (one per seed) in a column.

    Returns:
        (scores, exact): ``exact`` when they add up to the table's own metric; None when a run lacks scenes or column.
    """
    names = tuple(sorted(runs[0]))
    if not names or any(tuple(sorted(run)) != names for run in runs):
        return None
    counted = _counted(runs, names, column)
    if counted is not None:
        return counted, True
    scores = np.array([[_number(run[name], column) for name in names] for run in runs])
    if not np.isfinite(scores).any(axis=1).all():
        return None
    return SceneScores.of_scores(names, scores), False


class SceneReader:
    """The scores of scenes of a store's runs, each file read and each row's scores formed once.

    Args:
        store: the run store; None: there is nothing to read.
    """

    def __init__(self, store: Path | None) -> None:
        self._store = store
        self._runs: dict[str, dict[str, Any] | None] = {}
        self._rows: dict[tuple[tuple[str, ...], str], tuple[SceneScores, bool] | None] = {}

    def interval(
        self, inputs: Inputs, row: str, base: str, name: str, seeds: Sequence[str]
    ) -> tuple[Interval, bool] | None:
        """The bootstrap over scenes for paired seeds, and whether it is of the table's own metric.

        None where a run did not leave the scores of its scenes, or the two rows' scenes differ.
        """
        parts = [self._row(tuple(inputs.run_of(label, name, seed) for seed in seeds), name) for label in (row, base)]
        if parts[0] is None or parts[1] is None:
            return None
        (ours, exact), (theirs, also) = parts[0], parts[1]
        if ours.scenes != theirs.scenes or ours.above.shape != theirs.above.shape or exact != also:
            return None
        return scene_interval(ours, theirs), exact

    def _row(self, keys: tuple[str, ...], name: str) -> tuple[SceneScores, bool] | None:
        if self._store is None:
            return None
        if (keys, name) not in self._rows:
            runs = [self._run(key) for key in keys]
            self._rows[keys, name] = scene_scores([run for run in runs if run], name) if all(runs) else None
        return self._rows[keys, name]

    def _run(self, key: str) -> dict[str, Any] | None:
        if key not in self._runs:
            self._runs[key] = read_scenes(self._store, key) if self._store else None
        return self._runs[key]


def _counted(runs: Sequence[Mapping[str, Any]], names: tuple[str, ...], column: str) -> SceneScores | None:
    """mIoU and mAcc from counts; a class that never occurs counts as zero, as in the metric.

    A scene with nothing to score has no counts and adds nothing.
    """
    if column not in ("mIoU", "mAcc"):
        return None
    try:
        filled = next(scene["counts"] for scene in runs[0].values() if scene)
        nothing = {part: [0] * len(values) for part, values in filled.items()}
        counts = [[nothing if run[name] is None else run[name]["counts"] for name in names] for run in runs]
        hit, truth, said = (
            np.array([[scene[part] for scene in run] for run in counts], dtype=float)
            for part in ("intersection", "target", "predicted")
        )
        below = truth + said - hit if column == "mIoU" else truth
        if hit.ndim != 3 or not np.isfinite([hit, truth, said]).all():
            return None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, StopIteration):
        return None
    return SceneScores(names, 100 * hit, np.maximum(below, 1e-10))


def _number(scene: Any, column: str) -> float:
    value = scene.get(column) if isinstance(scene, Mapping) else None
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > sys.float_info.max:
        return float("nan")
    return float(value)
