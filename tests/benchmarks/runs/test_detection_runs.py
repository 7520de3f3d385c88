"""The detection path: dense batches, votes and boxes, from pre-training to mAP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.small_runs import config, write_rooms

from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.pretrain import run_pretrain
from mm3d_core.observing.logfile import read_log


def detection(root: Path, **changes) -> dict:
    """VoteNet on a small PointNet++."""
    flips = [
        {"_target_": "mm3d_benchmarks.loading.augment.RandomFlip", "axis": "x", "probability": 0.5},
        {"_target_": "mm3d_benchmarks.loading.augment.RandomRotation", "axis": "z", "degrees": 5, "boxes": "hull"},
    ]
    section = {
        "steps": 4,
        "batch": 2,
        "num_points": 600,
        "shift": False,
        "augmentation": flips,
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001},
        "schedule": {"_target_": "mm3d_core.training.schedules.MultiStep", "milestones": [0.5], "factor": 0.5},
        "batch_norm": {"_target_": "mm3d_core.training.schedules.BatchNormDecay", "every": 0.25},
    }
    encoder = {
        "_target_": "mm3d_backbones.pointnet2.PointNet2Encoder",
        "in_channels": 4,
        "samples": [128, 64, 32, 16],
        "neighbors": [16, 8, 8, 8],
    }
    value = config(
        root,
        task="detection",
        backbone={
            "name": "votenet",
            "input": ["color_votenet", "height"],
            "encoder": encoder,
            "task": {"detection": {"_target_": "mm3d_backbones.votenet.VoteNet", "num_proposals": 16}},
        },
        recipe={"pretrain": section, "finetune": {**section, "votes": "hull"}},
        evaluation={
            "protocol": {"_target_": "mm3d_benchmarks.evaluation.detection_pass.DetectionPass", "num_points": 600},
            "metric": {"_target_": "mm3d_benchmarks.evaluation.detection_metric.DetectionMetric"},
        },
    )
    return config(root, **{**value, **changes})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("rooms"))


def test_a_detector_is_pretrained_finetuned_and_scored(root: Path, tmp_path: Path):
    settings = detection(root)
    run_pretrain(settings, tmp_path / "pretrain", {})
    run_finetune(settings, tmp_path / "finetune", {"pretrain": tmp_path / "pretrain"})
    run_evaluate(settings, tmp_path / "evaluate", {"finetune": tmp_path / "finetune"})
    scores = json.loads((tmp_path / "evaluate/metrics.json").read_text())["metrics"]
    assert {"mAP@0.25", "mAP@0.5", "AP@0.25/table"} <= set(scores)
    assert {"vote", "objectness"} <= set(read_log(tmp_path / "finetune")[-1])
    account = json.loads((tmp_path / "finetune/transfer.json").read_text())
    assert account["loaded"]
    assert not [name for name in account["fresh"] if name.startswith("encoder.")]


def test_points_in_canonical_order_and_several_random_votes_run_through_every_stage(root: Path, tmp_path: Path):
    settings = detection(root)
    settings["backbone"]["encoder"]["canonical_order"] = True
    settings["backbone"]["task"]["detection"] |= {"vote_factor": 2, "train_sampling": "random"}
    run_pretrain(settings, tmp_path / "pretrain", {})
    run_finetune(settings, tmp_path / "finetune", {"pretrain": tmp_path / "pretrain"})
    run_evaluate(settings, tmp_path / "evaluate", {"finetune": tmp_path / "finetune"})
    assert json.loads((tmp_path / "evaluate/metrics.json").read_text())["metrics"]["classes_scored"] == 1


def test_a_frozen_detector_trains_its_head_alone(root: Path, tmp_path: Path):
    run_finetune(detection(root, protocol={"train": "head"}), tmp_path / "probe", {})
    assert len(json.loads((tmp_path / "probe/metrics.json").read_text())["frozen_encoder"]) == 64
