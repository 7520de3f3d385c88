"""The three kinds of run, chained on a tiny data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.small_runs import config, write_rooms
from safetensors.torch import load_file

from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.pretrain import run_pretrain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("chain")
    settings = config(write_rooms(base / "data"))
    run_pretrain(settings, base / "pretrain", {})
    run_finetune(settings, base / "finetune", {"pretrain": base / "pretrain"})
    run_evaluate(settings, base / "evaluate", {"finetune": base / "finetune"})
    return base


def test_a_pretraining_leaves_the_students_encoder_and_nothing_else(chain: Path):
    weights = load_file(chain / "pretrain/encoder.safetensors")
    assert not [name for name in weights if "teacher" in name or "decoders" in name]
    metrics = json.loads((chain / "pretrain/metrics.json").read_text())
    assert metrics["steps"] == 6
    assert metrics["metrics"]["loss"] > 0


def test_a_pretraining_leaves_the_arrays_and_the_picture_of_the_figures(chain: Path):
    with np.load(chain / "pretrain/artefacts.npz", allow_pickle=False) as arrays:
        assert {"scan", "statistic", "input", "target", "reconstruction_level0", "ladder_kept"} <= set(arrays.files)
        assert len(arrays["input"]) < len(arrays["target"])
    assert (chain / "pretrain/reconstruction.png").read_bytes().startswith(b"\x89PNG")


def test_every_tensor_of_the_encoder_is_taken_over_and_only_the_head_is_fresh(chain: Path):
    account = json.loads((chain / "finetune/transfer.json").read_text())
    assert len(account["loaded"]) == len(load_file(chain / "pretrain/encoder.safetensors"))
    assert account["fresh"]
    assert all(name.startswith("head.") for name in account["fresh"])


def test_an_evaluation_scores_every_scene_and_all_together(chain: Path):
    metrics = json.loads((chain / "evaluate/metrics.json").read_text())
    assert {"mIoU", "mAcc", "OA", "IoU/floor"} <= set(metrics["metrics"])
    scenes = json.loads((chain / "evaluate/scenes.json").read_text())
    assert set(scenes) == {"held_0", "held_1"}
    assert not list((chain / "evaluate").glob("partial*"))


def test_an_evaluation_leaves_the_first_scenes_for_the_picture_of_predictions(chain: Path):
    found = sorted(path.name for path in (chain / "evaluate").glob("prediction_*.npz"))
    assert found == ["prediction_held_0.npz", "prediction_held_1.npz"]
    with np.load(chain / "evaluate/prediction_held_0.npz", allow_pickle=False) as arrays:
        points = len(arrays["coord"])
        assert arrays["coord"].shape == (points, 3)
        assert arrays["prediction"].shape == arrays["segment"].shape == arrays["statistic"].shape == (points,)
        assert 0 <= arrays["prediction"].min() <= arrays["prediction"].max() < len(arrays["class_names"])
    counts = json.loads((chain / "evaluate/scenes.json").read_text())["held_0"]["counts"]
    assert set(counts) == {"intersection", "target", "predicted"}


def test_the_cost_stands_in_a_file_of_its_own(chain: Path):
    for kind in ("pretrain", "finetune", "evaluate"):
        record = json.loads((chain / kind / "efficiency.json").read_text())
        assert record["peak_memory_bytes"] > 0
        assert kind == "evaluate" or 0 < record["parameters_beside_encoder"] < record["parameters_trainable"]
        assert "seconds" not in (chain / kind / "metrics.json").read_text()
