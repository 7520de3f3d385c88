"""Small networks of every backbone in files that describe themselves, and rooms to show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mm3d_benchmarks.planning.compose import compose
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.pretrained.compose import description_of
from mm3d_benchmarks.pretrained.description import Description
from mm3d_benchmarks.pretrained.network import build
from mm3d_benchmarks.store import layout
from mm3d_benchmarks.store.spec import RunSpec, seen_by
from mm3d_benchmarks.store.store import Store
from mm3d_core.files.atomic import write_json
from mm3d_core.training.checkpoint import save_weights

BACKBONES = {
    "point_transformer": "s3dis",
    "stratified_transformer": "s3dis",
    "point_transformer_v3": "s3dis",
    "votenet": "scannet",
    "h3dnet": "scannet",
}


def described(folder: Path, backbone: str, kind: str = "pretrain", **values: Any) -> Path:
    """The weights of a run of the smoke profile that was never trained: batch norms and parameters at random."""
    dataset = BACKBONES[backbone]
    task = "detection" if dataset == "scannet" else "segmentation"
    choices = {"backbone": backbone, "dataset": dataset, "profile": "smoke", "evaluation": task}
    config = compose(Request(choices, values))
    config["dataset"]["root"] = str(folder / "prepared")
    if task == "detection":
        sizes = {name: [0.7, 0.6, 0.8] for name in _detection_classes()}
        write_json(folder / "prepared/manifest.json", {"version": 1, "mean_sizes": sizes, **_EMPTY})
    run = Store(folder / "runs").register(RunSpec(kind, seen_by(kind, config)))
    description = description_of(run)
    assert description is not None
    torch.manual_seed(0)
    network = build(description, "test")
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5) if name.endswith("var") else buffer.normal_(0, 0.1)
    file = run.folder / (layout.ENCODER_WEIGHTS if kind == "pretrain" else layout.MODEL_WEIGHTS)
    save_weights(file, network.state_dict())
    redescribe(file, description)
    return file


def redescribe(file: Path, description: Description) -> None:
    """Put another description into a file."""
    layout.describe(file, description.to_json())


def cloud(count: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) float64 coordinates of a room's floor, wall and a box, and (N, 3) uint8 colors."""
    random = np.random.default_rng(seed)
    half, quarter = count // 2, count // 4
    floor = random.random((half, 3)) * [5, 4, 0.01]
    wall = random.random((quarter, 3)) * [5, 0.01, 2.5]
    box = random.random((count - half - quarter, 3)) * [1, 0.8, 0.9] + [2, 1.5, 0]
    coord = np.concatenate([floor, wall, box])
    return coord, random.integers(0, 256, (count, 3)).astype(np.uint8)


def _detection_classes() -> tuple[str, ...]:
    from mm3d_benchmarks.datasets.readers.scannet import facts

    return facts().detection_classes


_EMPTY = {
    "dataset": "scannet",
    "origin": {"kind": "synthetic"},
    "options": {},
    "splits": {},
    "scenes": {},
    "classes": {"segmentation": [], "detection": []},
    "remarks": {},
}
