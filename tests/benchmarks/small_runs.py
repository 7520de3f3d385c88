"""A tiny prepared data set and configurations that train on it within seconds."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.manifest import build_manifest
from mm3d_benchmarks.datasets.readers.s3dis import facts
from mm3d_benchmarks.datasets.scene import Scene, write_scene
from mm3d_core.files.atomic import write_json


def write_rooms(root: Path, train: int = 3, val: int = 2, points: int = 900) -> Path:
    """Rooms with a floor, a wall and a few boxes, labeled by what they are."""
    splits = {"train": [f"room_{n}" for n in range(train)], "val": [f"held_{n}" for n in range(val)]}
    names = [*splits["train"], *splits["val"]]
    records = {name: write_scene(root, room(name, number, points)) for number, name in enumerate(names)}
    manifest = build_manifest(
        facts=facts(), splits=splits, records=records, remarks={}, left_out={}, options={}, origin={"kind": "synthetic"}
    )
    write_json(root / "manifest.json", manifest)
    return root


def room(name: str, seed: int, points: int = 900) -> Scene:
    """A floor (1), a wall (2), two tables (7) with instances and boxes."""
    random = np.random.default_rng(seed)
    floor = random.random((points // 2, 3)) * [4, 3, 0.01]
    wall = random.random((points // 4, 3)) * [4, 0.01, 2.5]
    tables = [random.random((points // 8, 3)) * [0.8, 0.6, 0.7] + [0.5 + 2 * n, 1.2, 0] for n in range(2)]
    parts = [(floor, 1, -1), (wall, 2, -1), (tables[0], 7, 0), (tables[1], 7, 1)]
    coord = np.concatenate([part for part, _, _ in parts]).astype(np.float32)
    segment = np.concatenate([np.full(len(part), label, np.int16) for part, label, _ in parts])
    instance = np.concatenate([np.full(len(part), number, np.int32) for part, _, number in parts])
    color = np.clip(segment[:, None] * 25 + random.normal(0, 10, (len(coord), 3)), 0, 255).astype(np.uint8)
    boxes = [[*(t.min(0) + t.max(0)) / 2, *(t.max(0) - t.min(0)), 0, 0] for t in tables]
    return Scene(name, coord, color, None, segment, instance, np.array(boxes, np.float32))


def config(root: Path, **changes: Any) -> dict[str, Any]:
    """Point Transformer, MM-3DScene and segmentation, all tiny. ``changes``: dotted keys with ``__`` for dots."""
    schedule = {"_target_": "mm3d_core.training.schedules.MultiStep", "milestones": [0.6, 0.8], "factor": 0.1}
    augment = [
        {"_target_": "mm3d_benchmarks.loading.augment.RandomScale", "low": 0.9, "high": 1.1},
        {"_target_": "mm3d_benchmarks.loading.augment.ChromaticJitter", "probability": 0.95, "std": 0.005},
    ]
    common = {"steps": 6, "batch": 2, "voxel": 0.04, "max_points": 600, "schedule": schedule, "augmentation": augment}
    crop = {"_target_": "mm3d_benchmarks.loading.crops.RemoveBox", "fallback": 400}
    value = {
        "seed": 0,
        "task": "segmentation",
        "backbone": {
            "name": "point_transformer",
            "input": ["coord", "color"],
            "encoder": {
                "_target_": "mm3d_backbones.point_transformer.PointTransformer",
                "in_channels": 6,
                "channels": [8, 16, 16],
                "depths": [1, 1, 1],
                "decoder_depths": [1, 1, 1],
                "neighbors": [4, 4, 4],
                "strides": [1, 4, 4],
            },
            "task": {"segmentation": {"_target_": "mm3d_backbones.segmentor.Segmentor"}},
        },
        "dataset": {
            "name": "s3dis",
            "root": str(root),
            "facts": {"_target_": "mm3d_benchmarks.datasets.readers.s3dis.facts"},
            "splits": {"pretrain": "train", "train": "train", "evaluate": "val"},
        },
        "pretrain": {
            "method": {
                "_target_": "mm3d_core.methods.mm3dscene.MM3DScene",
                "views": {"_target_": "mm3d_core.methods.masking.MaskedViews", "keep_ratio": [0.4, 0.8]},
                "decoder": {"width": 16},
            }
        },
        "recipe": {
            "pretrain": {**common, "crop": crop, "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001}},
            "finetune": {**common, "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.05, "momentum": 0.9}},
        },
        "evaluation": {
            "protocol": {"_target_": "mm3d_benchmarks.evaluation.voxel_validation.VoxelValidation", "voxel": 0.04},
            "metric": {"_target_": "mm3d_benchmarks.evaluation.segmentation_metric.SegmentationMetric"},
        },
        "machine": {"device": "cpu", "log_every": 1, "progress": False},
    }
    return changed(value, **changes)


def changed(value: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy with dotted keys (written with ``__``) set."""
    value = copy.deepcopy(value)
    for name, new in changes.items():
        *parents, last = name.split("__")
        here = value
        for parent in parents:
            here = here.setdefault(parent, {})
        here[last] = new
    return value
