"""Detectors on synthetic scenes: they over-fit the scenes they see, and learn something about those they do not see."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from mm3d_backbones.h3dnet import FourTowers, H3DNet
from mm3d_backbones.pointnet2 import PointNet2Encoder
from mm3d_backbones.votenet import VoteNet
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.scannet import facts
from mm3d_benchmarks.datasets.scene import PreparedDataset
from mm3d_benchmarks.evaluation.detection_metric import DetectionMetric
from mm3d_benchmarks.evaluation.detection_pass import DetectionPass
from mm3d_benchmarks.loading.labels import detection_targets, object_segments
from mm3d_benchmarks.loading.loading import Batch, Sampling, ScenesToItems
from mm3d_benchmarks.synthetic.generate import generate
from mm3d_core.boxes import count_points_in_boxes
from pointops import memory


@dataclass(frozen=True)
class Case:
    """How a detector is trained here: the published layers, on fewer points, seeds and neighbors, for speed."""

    build: Callable[..., nn.Module]
    votes: str
    scenes: list[str]
    steps: int
    points: int
    parameters: int = 0
    rate: float = 0.003


CLASSES = facts().detection_classes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> PreparedDataset:
    root = tmp_path_factory.mktemp("scannet")
    memory.keep_freed_memory()
    raw = generate("scannet", root / "raw", profile="ci", quiet=True)
    return prepare_dataset("scannet", raw, root / "prepared", quiet=True)


def votenet(**known: Any) -> VoteNet:
    return VoteNet(
        PointNet2Encoder(1, samples=(1024, 512, 256, 128), neighbors=(16, 8, 8, 8)), num_proposals=128, **known
    )


def h3dnet(**known: Any) -> H3DNet:
    """A face needs a tenth of the published number of points, since scenes have a tenth of them."""
    towers = FourTowers(1, samples=(1024, 512, 128, 64), neighbors=(16, 8, 8, 8))
    rule = {"min_face_points": 15, "min_edge_points": 3}
    model = H3DNet(towers, num_proposals=96, primitive_rule=rule, **known)
    model.matching.neighbors = 16
    return model


VOTENET = Case(votenet, "hull", [], steps=600, points=4096, parameters=953_828)
H3DNET = Case(h3dnet, "box", [], steps=500, points=4096, parameters=4_740_278, rate=0.004)


def detector(case: Case, data: PreparedDataset) -> nn.Module:
    torch.manual_seed(0)
    sizes = [list(data.manifest["mean_sizes"][name]) for name in CLASSES]
    return case.build(num_classes=len(CLASSES), num_heading_bins=1, mean_sizes=sizes)


def samples(model: nn.Module, data: PreparedDataset, case: Case, count: int) -> list[Batch]:
    """Several samples of the points of the same scenes, ready to train on."""
    items = ScenesToItems(
        Sampling(inputs=("height",), num_points=case.points, shift=False),
        targets=partial(detection_targets, votes=case.votes, objects=object_segments(facts())),
        plan=model.encoder.plan_spec(),  # type: ignore[operator,union-attr]
    )
    return [
        Batch.join([items(data.load(name), 0, "sample", number) for name in case.scenes]) for number in range(count)
    ]


def clear_scenes(data: PreparedDataset, count: int) -> list[str]:
    """The training scenes whose most sparsely scanned object still holds the largest share of the points.

    What the scan hardly touched, such as a bin of 25 points behind a door, can be learned by heart only slowly.
    """

    def least(name: str) -> float:
        scene = data.load(name)
        boxes = torch.from_numpy(scene.boxes[:, :7])  # type: ignore[index]
        return int(count_points_in_boxes(torch.from_numpy(scene.coord.copy()), boxes).min()) / scene.num_points

    return sorted(data.scenes("train"), key=least)[-count:]


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


def score(model: nn.Module, data: PreparedDataset, scenes: list[str], points: int) -> dict[str, float]:
    """Scores on samples of the scenes that training did not draw."""
    metric, protocol = DetectionMetric(CLASSES, min_points=0), DetectionPass(points)
    model.eval()
    for name in scenes:
        metric.update(*protocol(model, data.load(name), ("height",)))
    return metric.compute()


@pytest.mark.parametrize("case", [VOTENET, H3DNET], ids=["votenet", "h3dnet"])
def test_a_detector_over_fits_the_scenes_it_sees(case: Case, data: PreparedDataset):
    case = replace(case, scenes=clear_scenes(data, 2))
    model = detector(case, data)
    assert sum(parameter.numel() for parameter in model.parameters()) == case.parameters  # of the published network
    train(model, samples(model, data, case, 16), case.steps, case.rate)
    result = score(model, data, case.scenes, case.points)
    assert result["mAP@0.25"] > 90
    assert result["mAP@0.5"] > 50


def test_a_trained_detector_beats_an_untrained_one_on_scenes_it_never_saw(data: PreparedDataset):
    case = replace(VOTENET, scenes=data.scenes("train"))
    model = detector(case, data)
    held_out = data.scenes("val")
    before = score(model, data, held_out, case.points)
    train(model, samples(model, data, case, 6), 150)
    after = score(model, data, held_out, case.points)
    assert after["mAP@0.25"] > before["mAP@0.25"] + 5
    assert after["AR@0.25"] > before["AR@0.25"]
