"""The cost benchmark of pre-training measures both steps of a backbone and says where the time goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.small_runs import write_rooms

from mm3d_benchmarks.datasets.scene import PreparedDataset, open_dataset
from speed import pretraining as bench_pretraining

PARTS = {"statistic", "plans", "student", "teacher", "decoders", "chamfer", "consistency", "backward", "update", "rest"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return open_dataset(write_rooms(tmp_path_factory.mktemp("rooms"), points=1200))


@pytest.mark.parametrize("backbone", ["point_transformer", "votenet"])
def test_the_shares_of_everything_a_step_needs_add_up(data: PreparedDataset, backbone: str):
    cost = bench_pretraining.measure(backbone, data, points=1024, repeats=1, profile="smoke")
    assert set(cost.shares) == PARTS
    assert min(cost.shares.values()) >= 0
    assert sum(cost.shares.values()) == pytest.approx(1.0)
    assert min(cost.supervised, cost.pretraining, cost.statistic, cost.plans) > 0
    assert cost.ratio == pytest.approx(cost.pretraining / cost.supervised)


def test_the_command_prints_tables_or_json_and_names_what_is_wrong(data: PreparedDataset, tmp_path: Path, capsys):
    given = ["--backbone", "point_transformer", "--points", "600", "--repeats", "1", "--profile", "smoke"]
    assert bench_pretraining.main([*given, "--data", str(data.root)]) == 0
    assert "| point_transformer |" in capsys.readouterr().out
    assert bench_pretraining.main([*given, "--data", str(data.root), "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["ratio_with_loading"] > 0
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    assert bench_pretraining.main(["--data", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert bench_pretraining.main(["--backbone", "no_such", "--data", str(data.root)]) == 1
    assert "no_such" in capsys.readouterr().err
