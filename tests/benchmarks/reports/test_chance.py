"""At chance: the score of one class everywhere, by pencil and paper and by the metric, and the mark of a cell."""

from __future__ import annotations

import json

import pytest
import torch
from benchmarks.reports.synthetic import TABLE_7, done, table_7_values, write_inputs, write_sweep

from mm3d_benchmarks.evaluation.segmentation_metric import SegmentationMetric
from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.reports.build import build_report
from mm3d_benchmarks.reports.chance import chance_levels, one_class
from mm3d_benchmarks.results.inputs import load_inputs

NAME = "table_07_framework_ablation"


def test_one_class_everywhere_scores_what_the_metric_says():
    truth = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    metric = SegmentationMetric(["floor", "wall", "chair", "never seen"])
    metric.update({"segment": torch.zeros_like(truth)}, {"segment": truth})
    assert one_class([70, 20, 10, 0]) == pytest.approx({n: metric.compute()[n] for n in ("mIoU", "mAcc", "OA")})


def test_a_cell_that_is_no_better_is_marked_and_a_better_one_is_not(tmp_path):
    lines = done(table_7_values())
    write_sweep(tmp_path / "sweeps", NAME, TABLE_7)
    write_inputs(tmp_path / "results", NAME, lines)
    for line in lines:  # two classes, 84 of 100 points of one: mIoU 42, mAcc 50
        counts = {"target": [80, 10], "intersection": [0, 0], "predicted": [0, 0]}
        scenes = {"a": {"counts": counts}, "b": {"counts": {**counts, "target": [4, 6]}}, "empty": None}
        (tmp_path / "runs" / line[5]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / line[5] / "scenes.json").write_text(json.dumps(scenes))
    build_report(NAME, "smoke", tmp_path / "results", tmp_path / "sweeps", tmp_path / "runs")
    text = (tmp_path / "results" / "smoke" / f"{NAME}.md").read_text()
    assert "at chance: no better than predicting one class for every point (mIoU 42.00)" in text
    measured = {
        line.split("|")[1].strip(): line.split("|")[4].strip()
        for line in text.splitlines()
        if "| T" not in line and line.count("|") > 5
    }
    assert "<sup>" in measured["i"]  # 41
    assert "<sup>" in measured["ii"]  # 42: a tie is no better
    assert "<sup>" not in measured["iv"]  # 44
    kept = tmp_path / "results/smoke/runs/evaluate/scenes"
    kept.parent.mkdir(parents=True)
    (tmp_path / "runs").rename(kept)  # as collecting keeps them: who has the results alone reads the same
    build_report(NAME, "smoke", tmp_path / "results", tmp_path / "sweeps", tmp_path / "elsewhere")
    assert (tmp_path / "results" / "smoke" / f"{NAME}.md").read_text() == text


def test_without_counts_nothing_is_said(tmp_path):
    lines = done(table_7_values())
    sweep = load_sweep(write_sweep(tmp_path / "sweeps", NAME, TABLE_7) / f"{NAME}.yaml")
    write_inputs(tmp_path / "results", NAME, lines)
    inputs = load_inputs(tmp_path / "results" / "smoke" / "inputs", NAME)
    assert sweep.table is not None
    assert chance_levels(sweep.table, inputs, None) == {}
    (tmp_path / "runs" / lines[0][5]).mkdir(parents=True)
    (tmp_path / "runs" / lines[0][5] / "scenes.json").write_text('{"a": {"counts": {"target": [-1, 2]}}}')
    assert chance_levels(sweep.table, inputs, tmp_path / "runs") == {}
