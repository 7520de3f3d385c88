"""The loading benchmark measures the pipeline that training uses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarks.small_runs import write_rooms

from mm3d_benchmarks.datasets.scene import open_dataset
from speed import loading as bench_loading


@pytest.mark.parametrize("task", bench_loading.TASKS)
def test_every_task_is_measured_step_by_step(tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch):
    data = open_dataset(write_rooms(tmp_path, points=4000))
    items = bench_loading.items_of(task)
    if task == "detection":
        monkeypatch.setattr(bench_loading, "make_plan", lambda *_: None)  # 2048 centers of these rooms take long
        items = type(items)(items.sampling, items.targets)
    found = bench_loading.steps(data, items, 2)
    assert {"read", "features", "join"} <= set(found)
    assert all(seconds >= 0 for seconds in found.values())
    assert sum(found.values()) > 0
    assert bench_loading.throughput(data, items, 0, 2) > 0


def test_the_steps_make_the_sample_that_training_gets(tmp_path: Path):
    data = open_dataset(write_rooms(tmp_path, points=4000))
    items = bench_loading.items_of("segmentation")
    from mm3d_core.seeding import numpy_generator

    stepwise = bench_loading._one(data, items, "room_0", 5, {})
    whole = items.sampling(data.load("room_0"), numpy_generator("bench", 5))
    assert torch.equal(stepwise.points.coord, torch.from_numpy(whole.coord))


def test_the_command_prints_a_report_and_names_a_missing_folder(tmp_path: Path, monkeypatch, capsys):
    root = write_rooms(tmp_path / "data", points=2000)
    monkeypatch.setattr("sys.argv", ["bench", str(root), "--workers", "0", "--scenes", "2"])
    assert bench_loading.main() == 0
    assert "scenes/s" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["bench", str(tmp_path / "nowhere")])
    assert bench_loading.main() == 1
    assert "nowhere" in capsys.readouterr().err
