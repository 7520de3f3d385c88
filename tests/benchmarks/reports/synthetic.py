"""Made-up sweeps, inputs and stores for the tests of the reports."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

TABLE_7 = {
    "runs": {
        "base": {"backbone": "point_transformer", "dataset": "s3dis"},
        "each": [{"row": "i"}, {"row": "ii"}, {"row": "iii"}, {"row": "iv"}],
        "cross": {"seed": [0, 1, 2]},
    },
    "table": {
        "title": "Ablation of the framework on S3DIS semantic segmentation",
        "columns": ["mIoU", "mAcc"],
        "over": "seed",
        "baseline": "i",
        "axis": "pretrain",
        "heading": "No.",
        "describe": {
            "i": {"Pre-training method": "Scratch", "Loss": "-"},
            "ii": {"Pre-training method": "MM-3DScene (MM only)", "Loss": "L_PC"},
            "iii": {"Pre-training method": "MM-3DScene (consistency only)", "Loss": "L_CSD"},
            "iv": {"Pre-training method": "MM-3DScene", "Loss": "L_PC, L_CSD"},
        },
        "published": [
            {"cell": "T7-01", "row": "i", "mIoU": 70.4, "mAcc": 76.5, "origin": "quoted", "source": "paper, Table 7"},
            {"cell": "T7-02", "row": "ii", "mIoU": 71.1, "mAcc": 77.2, "delta": {"mIoU": 0.7, "mAcc": 0.7},
             "origin": "run", "source": "paper, Table 7"},
            {"cell": "T7-03", "row": "iii", "mIoU": 70.9, "mAcc": 77.1, "delta": {"mIoU": 0.5, "mAcc": 0.6},
             "origin": "run", "source": "paper, Table 7"},
            {"cell": "T7-04", "row": "iv", "mIoU": 71.9, "mAcc": 78.0, "delta": {"mIoU": 1.5, "mAcc": 1.5},
             "origin": "run", "source": "paper, Table 7"},
        ],
    },
}  # fmt: skip

SYNTHETIC = {"profile": "smoke", "datasets": {"s3dis": "synthetic"}, "commits": ["abc1234"], "devices": ["cpu"]}


def write_sweep(folder: Path, name: str, sweep: dict[str, Any]) -> Path:
    """A sweep file; returns the folder of the sweeps."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True))
    return folder


def write_inputs(
    results: Path,
    name: str,
    lines: Iterable[tuple[Any, ...]],
    provenance: dict[str, Any] | None = None,
    profile: str = "smoke",
) -> None:
    """``inputs/<name>.csv`` of (row, column, seed, value, status, run) and its provenance."""
    folder = results / profile / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["row", "column", "seed", "value", "status", "run"])
        writer.writerows(lines)
    if provenance is not None:
        (folder / f"{name}.provenance.json").write_text(json.dumps(provenance))


def done(values: dict[tuple[str, str], list[float]]) -> list[tuple[Any, ...]]:
    """Lines of finished runs: (row, column) to its value for seed 0, 1, ..."""
    return [
        (row, column, seed, f"{value:.6f}", "done", f"{row}{seed}".encode().hex().ljust(12, "0")[:12])
        for (row, column), seeds in sorted(values.items())
        for seed, value in enumerate(seeds)
    ]


def table_7_values() -> dict[tuple[str, str], list[float]]:
    """Three seeds of four rows whose means and deviations are easy to check by hand."""
    return {
        ("i", "mIoU"): [40.0, 41.0, 42.0],
        ("i", "mAcc"): [50.0, 50.0, 50.0],
        ("ii", "mIoU"): [41.0, 42.0, 43.0],
        ("ii", "mAcc"): [51.0, 52.0, 53.0],
        ("iii", "mIoU"): [40.0, 40.0, 40.0],
        ("iii", "mAcc"): [49.0, 50.0, 51.0],
        ("iv", "mIoU"): [42.0, 44.0, 46.0],
        ("iv", "mAcc"): [52.0, 53.0, 54.0],
    }
