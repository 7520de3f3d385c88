"""Detectors on embedded scenes: they over-fit the scenes they see, and learn something about those they do not see."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from mm3d_backbones.h3dnet import FourTowers, H3DNet
from mm3d_backbones.pointnet2 import PointNet2Encoder
from mm3d_backbones.votenet import VoteNet
from mm3d_benchmarks.datasets.embedded.generate import generate
from mm3d_benchmarks.datasets.loading import Batch, Sampling, ScenesToItems
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.scannet import facts
from mm3d_benchmarks.datasets.scene import PreparedDataset
from mm3d_benchmarks.datasets.targets import detection_targets, object_segments
from mm3d_benchmarks.metrics.detection import DetectionMetric
from mm3d_benchmarks.protocols.detection_pass import DetectionPass
from pointops import memory

POINTS = 8192
SIZES: dict[str, Any] = {"samples": (1024, 512, 256, 128), "neighbors": (32, 16, 16, 16)}
SCENES = ["scene0001_00", "scene0002_00"]  # 28 boxes of 12 classes
CLASSES = facts().detection_classes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> PreparedDataset:
    root = tmp_path_factory.mktemp("scannet")
    memory.keep_freed_memory()
    raw = generate("scannet", root / "raw", profile="ci", quiet=True)
    return prepare_dataset("scannet", raw, root / "prepared", quiet=True)


def detector(kind: str, data: PreparedDataset) -> nn.Module:
    """Narrower than the published networks, for speed; everything else is as published."""
    torch.manual_seed(0)
    mean_sizes = [list(data.manifest["mean_sizes"][name]) for name in CLASSES]
    if kind == "votenet":
        return VoteNet(PointNet2Encoder(1, **SIZES), len(CLASSES), 1, mean_sizes, num_proposals=128)
    rule = {"min_face_points": 20, "min_edge_points": 3}  # a fifth of the published number of points
    return H3DNet(FourTowers(1, **SIZES), len(CLASSES), 1, mean_sizes, num_proposals=128, primitive_rule=rule)


def samples(model: nn.Module, data: PreparedDataset, scenes: list[str], votes: str, count: int) -> list[Batch]:
    """Several samples of the points of the same scenes, ready to train on."""
    items = ScenesToItems(
        Sampling(inputs=("height",), num_points=POINTS, shift=False),
        targets=partial(detection_targets, votes=votes, objects=object_segments(facts())),
        plan=model.encoder.plan_spec(),  # type: ignore[operator,union-attr]
    )
    return [Batch.join([items(data.load(name), 0, "sample", number) for name in scenes]) for number in range(count)]


def train(model: nn.Module, batches: list[Batch], steps: int, rate: float = 0.003) -> None:
    optimizer = torch.optim.Adam(model.parameters(), rate)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 20) * (1 + math.cos(math.pi * step / steps)) / 2 + 1e-5
        batch = batches[step % len(batches)]
        optimizer.zero_grad()
        model.loss(batch.points, batch.labels)["loss"].backward()  # type: ignore[operator]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()


def score(model: nn.Module, data: PreparedDataset, scenes: list[str]) -> dict[str, float]:
    """Scores on samples of the scenes that training did not draw."""
    metric, protocol = DetectionMetric(CLASSES, min_points=0), DetectionPass(POINTS)
    model.eval()
    for name in scenes:
        metric.update(*protocol(model, data.load(name), ("height",)))
    return metric.compute()


@pytest.mark.parametrize(("kind", "votes", "steps"), [("votenet", "hull", 900), ("h3dnet", "box", 600)])
def test_a_detector_over_fits_two_scenes(kind: str, votes: str, steps: int, data: PreparedDataset):
    model = detector(kind, data)
    train(model, samples(model, data, SCENES, votes, 24), steps)
    result = score(model, data, SCENES)
    assert result["mAP@0.25"] > 0.9
    assert result["mAP@0.5"] > 0.6


def test_a_trained_detector_beats_an_untrained_one_on_scenes_it_never_saw(data: PreparedDataset):
    model = detector("votenet", data)
    held_out = data.scenes("val")
    before = score(model, data, held_out)
    train(model, samples(model, data, data.scenes("train"), "hull", 6), 150)
    after = score(model, data, held_out)
    assert after["mAP@0.25"] > before["mAP@0.25"] + 0.05
    assert after["AR@0.25"] > before["AR@0.25"]
