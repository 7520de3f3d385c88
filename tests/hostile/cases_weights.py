"""Readers of checkpoints and weights, and of what evaluations put aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from hostile.cases import Case
from hostile.cases_data import COLOR, COORD, INSTANCE, SEGMENT
from torch import nn

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.evaluation.votes import Votes
from mm3d_benchmarks.pretrained.description import Description, Sampling
from mm3d_benchmarks.pretrained.network import build, load
from mm3d_benchmarks.runs.evaluate import _read_partial
from mm3d_benchmarks.store.layout import describe
from mm3d_benchmarks.supervision.point_lists import ListedPoints
from mm3d_core.files.sealed import write_sealed
from mm3d_core.training.checkpoint import CURRENT, load_checkpoint, load_weights, save_checkpoint, save_weights
from mm3d_core.training.released import read_released

STATE: dict[str, Any] = {
    "step": 3,
    "module": {"weight": torch.arange(300.0)},
    "optimizer": {"state": {0: {"m": torch.ones(30)}}},
}
RELEASED = {"epoch": 3, "state_dict": {"module.cls.weight": torch.ones(13, 32), "module.cls.bias": torch.ones(13)}}


def weights(work: Path) -> None:
    save_weights(work / "model.safetensors", nn.Linear(5, 3).state_dict())


def described(work: Path) -> None:
    encoder = {"_target_": "mm3d_backbones.pointnet2.PointNet2Encoder", "samples": [8, 4, 2, 1]}
    told = Description("encoder", "votenet", {**encoder, "in_channels": 1}, ("height",), Sampling(num_points=9))
    file = work / "model.safetensors"
    save_weights(file, build(told, file).state_dict())
    describe(file, told.to_json())


def load_described(work: Path) -> None:
    load(work / "model.safetensors", device="cpu")


def released(legacy: bool) -> Any:
    def make(work: Path) -> None:
        torch.save(RELEASED, work / "model.pth", _use_new_zipfile_serialization=not legacy)

    return make


def votes(work: Path) -> None:
    Votes(20, 4).save(work / "votes.npz", "room")


def read_votes(work: Path) -> None:
    aside = Votes(20, 4)
    taken = aside.load(work / "votes.npz", "room")
    assert not taken or (aside.scores.shape == (20, 4) and aside.done == 0)


def progress(work: Path) -> None:
    write_sealed(
        work / "partial.json", {"metric": {"x": [1, 2]}, "scenes": {"a": {"mIoU": 1.0}}, "seconds": {"a": 1.0}}
    )


def read_progress(work: Path) -> None:
    state = _read_partial(work / "partial.json", ["a", "b"])
    assert state is None or state["metric"] == {"x": [1, 2]}


def arrays_pth(work: Path) -> None:
    (work / "raw/Area_5").mkdir(parents=True)
    (work / "raw/Area_1").mkdir()
    scene = {"coord": COORD, "color": COLOR, "semantic_gt": SEGMENT, "instance_gt": INSTANCE}
    for area in (1, 5):
        torch.save(scene, work / f"raw/Area_{area}/office_1.pth")


def read_arrays_pth(work: Path) -> None:
    prepare_dataset("s3dis", work / "raw", work / "out", quiet=True)


CASES = (
    Case("PTH of arrays", "torch", ("raw/Area_1/office_1.pth",), arrays_pth, read_arrays_pth),
    Case("checkpoint", "torch checkpoint", (CURRENT,), lambda work: save_checkpoint(work, STATE), load_checkpoint),
    Case("checkpoint, signed", "sealed", (CURRENT,), lambda work: save_checkpoint(work, STATE), load_checkpoint),
    Case("safetensors", "safetensors", ("model.safetensors",), weights,
         lambda work: load_weights(nn.Linear(5, 3), work / "model.safetensors")),
    Case("weights that describe themselves", "safetensors", ("model.safetensors",), described, load_described),
    Case("PTH segmentation", "torch", ("model.pth",), released(False), lambda work: read_released(work / "model.pth")),
    Case("PTH segmentation, legacy", "torch", ("model.pth",), released(True),
         lambda work: read_released(work / "model.pth")),
    Case("PTH with NumPy numbers", "torch", ("model.pth",),
         lambda work: torch.save({**RELEASED, "epoch": np.int64(3), "mean": np.ones(3)}, work / "model.pth"),
         lambda work: read_released(work / "model.pth")),
    Case("PTH detection", "torch", ("model.pth",),
         lambda work: torch.save({"model_state_dict": RELEASED["state_dict"]}, work / "model.pth"),
         lambda work: read_released(work / "model.pth")),
    Case("point list, torch", "torch", ("points20",),
         lambda work: torch.save({"scene0000_00": [5, 7], "scene0001_00": np.array([0, 900])}, work / "points20"),
         lambda work: ListedPoints.read(work / "points20")),
    Case("votes put aside", "safetensors", ("votes.npz",), votes, read_votes, forgiving=True),
    Case("partial evaluation", "json", ("partial.json",), progress, read_progress, forgiving=True),
)  # fmt: skip
