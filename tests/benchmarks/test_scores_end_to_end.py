"""A score keeps its unit from a real evaluation run to the table: perfect is 100.0, a known half its value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
import toy_readers
from benchmarks.reports.synthetic import write_sweep
from benchmarks.small_runs import config
from safetensors.torch import save_file

from mm3d_benchmarks.datasets.manifest import build_manifest
from mm3d_benchmarks.datasets.readers.s3dis import facts
from mm3d_benchmarks.datasets.scene import Scene, write_scene
from mm3d_benchmarks.planning.planner import Plan, PlannedCell
from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.reports.build import build_report
from mm3d_benchmarks.results.collect import collect, write_results
from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.store.result_form import FORM
from mm3d_benchmarks.store.store import Store, adopt
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json
from mm3d_core.files.sealed import CHECKSUM

CLASSES = len(facts().segment_classes)
SCORES = {  # of each task: column -> what half of the answer scores, in percent
    "segmentation": {
        "mIoU": (12 * 50 + 100 / 7) / 13,  # class 0 is said of half of the twelve others
        "mAcc": (12 * 50 + 100) / 13,
        "OA": (12 * 50 + 100) / 13,
        "IoU/ceiling": 100 / 7,
        "IoU/wall": 50.0,
        "Acc/wall": 50.0,
    },
    "detection": dict.fromkeys(
        ["mAP@0.25", "mAP@0.5", "AR@0.25", "AR@0.5", "AP@0.25/table", "AP@0.5/table", "recall@0.5/table"], 50.0
    ),
}
METRICS = {
    "segmentation": {"_target_": "mm3d_benchmarks.evaluation.segmentation_metric.SegmentationMetric"},
    "detection": {"_target_": "mm3d_benchmarks.evaluation.detection_metric.DetectionMetric"},
}
PROTOCOLS = {
    "segmentation": {"_target_": "mm3d_benchmarks.evaluation.voxel_validation.VoxelValidation", "voxel": 0.01},
    "detection": {"_target_": "mm3d_benchmarks.evaluation.detection_pass.DetectionPass", "num_points": None},
}


def tell_tale_room(name: str) -> Scene:
    """Every class as often, on a grid as fine as no voxel; four objects of 26 points with boxes, all of class 0."""
    grid = np.stack(np.meshgrid(np.arange(26), np.arange(52)), -1).reshape(-1, 2)
    coord = np.concatenate([0.1 * grid, 0.1 * (grid[:, :1] % 7)], 1).astype(np.float32)
    segment = (grid[:, 1] % CLASSES).astype(np.int16)
    instance = np.where(grid[:, 1] < 8, grid[:, 1] // 2, -1).astype(np.int32)
    color = toy_readers.STEP * np.stack([segment, instance + 1, grid[:, 0] % 2], -1)
    ends = [coord[instance == number] for number in range(4)]
    boxes = [[*(p.min(0) + p.max(0)) / 2, *(p.max(0) - p.min(0)), 0, 0] for p in ends]
    return Scene(name, coord, color.astype(np.uint8), None, segment, instance, np.array(boxes, np.float32))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms")
    splits = {"train": ["one"], "val": ["two", "three"]}
    records = {name: write_scene(folder, tell_tale_room(name)) for name in ("one", "two", "three")}
    manifest = build_manifest(
        facts=facts(), splits=splits, records=records, remarks={}, left_out={}, options={}, origin={"kind": "synthetic"}
    )
    write_json(folder / "manifest.json", manifest)
    return folder


def evaluation(root: Path, task: str, half: bool) -> dict[str, Any]:
    heads = {"segmentation": "toy_readers.SegmentReader", "detection": "toy_readers.BoxReader"}
    backbone = {
        "name": "reader",
        "input": ["coord", "color"],
        "encoder": {"_target_": "toy_readers.NoEncoder", "in_channels": 6},
        "task": {task: {"_target_": heads[task], "half": half}},
    }
    return config(root, task=task, backbone=backbone, evaluation={"protocol": PROTOCOLS[task], "metric": METRICS[task]})


@pytest.fixture
def tables(root: Path, store: Store, tmp_path: Path) -> tuple[Plan, Path, Path]:
    """Both tasks evaluated by real runs, perfectly and by half: the plan, the results and the sweeps."""
    plan, results = Plan("smoke"), tmp_path / "results"
    for task, columns in SCORES.items():
        name = f"table_{task}"
        sweeps = write_sweep(tmp_path / "sweeps", name, sweep(task, list(columns)))
        plan.kinds[name], plan.cells[name] = "evaluate", []
        for row in ("perfect", "half"):
            spec = toy.spec("evaluate", task=task, row=row)
            run = store.register(spec)
            weights = run.folder / "model.safetensors"
            save_file({"encoder.unused": toy_readers.NoEncoder(6).unused.detach()}, weights)
            run_evaluate(evaluation(root, task, row == "half"), run.folder, {"finetune": weights})
            plan.specs[spec.key] = spec
            plan.cells[name].append(PlannedCell(row, 0, {"evaluate": spec.key}))
    return plan, results, sweeps


def sweep(task: str, columns: list[str]) -> dict[str, Any]:
    return {
        "runs": {"base": {}, "each": [{"row": "perfect"}, {"row": "half"}], "cross": {"seed": [0]}},
        "table": {"title": task, "columns": columns, "over": "seed", "axis": "row", "baseline": "half"},
    }


def test_perfect_predictions_print_100_and_half_of_them_their_value_everywhere(
    tables: tuple[Plan, Path, Path], store: Store
) -> None:
    plan, results, sweeps = tables
    write_results(plan.specs.values(), store, results / "smoke/runs/evaluate", "evaluate", prune=True)
    collect([load_sweep(path) for path in sorted(sweeps.glob("*.yaml"))], plan, results / "smoke", store)
    assert build_report(None, "smoke", results, sweeps, store.root) == 0
    for task, columns in SCORES.items():
        table = f"table_{task}"
        for cell in plan.cells[table]:
            metrics = store.run(cell.runs["evaluate"]).metrics()["metrics"]
            expected = dict.fromkeys(columns, 100.0) if cell.row == "perfect" else columns
            assert {name: metrics[name] for name in columns} == pytest.approx(expected)
        page = (results / "smoke/index.html").read_text()
        texts = {ending: (results / f"smoke/{table}.{ending}").read_text() for ending in ("csv", "md", "tex")}
        texts["html"] = page[page.index(f'id="{table}"') :]
        for ending, text in texts.items():
            assert "100.0" in text
            for value in columns.values():
                assert f"{value:.{6 if ending == 'csv' else 1}f}" in text, (ending, value)
            for column in columns:
                assert f"{columns[column] / 100:.3f}" not in text  # as a fraction
        inputs = (results / f"smoke/inputs/{table}.csv").read_text().splitlines()[1:]
        values = {tuple(line.split(",")[:2]): float(line.split(",")[3]) for line in inputs}
        assert values == pytest.approx(
            {("perfect", name): 100.0 for name in columns} | {("half", name): v for name, v in columns.items()},
            abs=1e-6,
        )


def test_metrics_of_the_old_form_are_refused_by_name(tables: tuple[Plan, Path, Path], store: Store) -> None:
    plan, results, sweeps = tables
    spec = plan.specs[plan.cells["table_detection"][0].runs["evaluate"]]
    run, found = store.run(spec.key), Path("smoke/runs/evaluate")
    value = json.loads((run.folder / "metrics.json").read_text())
    assert value.pop("form") == FORM
    value.pop(CHECKSUM)
    value["metrics"] = {"mAP@0.25": 0.587}
    run.write("metrics.json", value)
    with pytest.raises(UserError, match=rf"{spec.key}/metrics.json: metrics of form 1, .*`mm3d store rm {spec.key}`"):
        write_results([spec], store, results / found, "evaluate", prune=False)
    with pytest.raises(UserError, match="metrics of form 1"):
        adopt(store, run, toy.spec("evaluate", task="detection", row="new"), "me", "the same")
    write_json(results / found / f"{spec.key}.json", {**value, "efficiency": {}, "provenance": {}})
    with pytest.raises(UserError, match=rf"{spec.key}.json: metrics of form 1, .*fractions instead of percent"):
        collect([load_sweep(sweeps / "table_detection.yaml")], plan, results / "smoke")
