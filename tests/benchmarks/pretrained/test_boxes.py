"""Detectors on scans of any size: tiles share out every point, boxes lie where the scan lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.pretrained.small_networks import cloud, described

from mm3d_benchmarks import pretrained
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.evaluation.detection_metric import DetectionMetric
from mm3d_benchmarks.evaluation.detection_pass import DetectionPass
from mm3d_benchmarks.pretrained.description import Sampling
from mm3d_benchmarks.pretrained.inputs import Inputs
from mm3d_benchmarks.pretrained.network import Network
from mm3d_benchmarks.pretrained.seeds import boxes_of, tiles


@pytest.fixture(scope="module", params=["votenet", "h3dnet"])
def detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Network:
    return pretrained.load(described(tmp_path_factory.mktemp(request.param), request.param, "finetune"), device="cpu")


@pytest.mark.parametrize("size", [(3, 3), (8, 8), (8.1, 2), (30, 21), (100, 5)])
def test_every_point_is_some_tiles_own_and_lies_inside_it(size: tuple[float, float]) -> None:
    coord = (np.random.default_rng(0).random((5000, 3)) * [*size, 2.5]).astype(np.float32)
    scene, owned = Scene("scan", coord), np.zeros(5000, int)
    for tile in tiles(scene, 8.0):
        owned[tile.own] += 1
        inside = tile.scene.coord[:, :2]
        assert (np.ptp(inside, axis=0) <= 8.0 + 1e-4).all()
        assert (inside.min(axis=0) <= coord[tile.own, :2].min(axis=0)).all()
        assert (inside.max(axis=0) >= coord[tile.own, :2].max(axis=0)).all()
        assert ((coord[tile.own, :2] >= tile.low) & (coord[tile.own, :2] < tile.high)).all()
    assert (owned == 1).all()


def test_a_small_scan_is_one_tile() -> None:
    coord = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    (tile,) = tiles(Scene("scan", coord), 8.0)
    assert tile.scene.coord is coord


def test_boxes_are_those_of_an_evaluation(detector: Network) -> None:
    coord, _ = cloud(3000)
    told = detector.description
    scene = Scene("scan", coord.astype(np.float32), boxes=np.zeros((0, 8), np.float32))
    prediction, _ = DetectionPass(told.sampling.num_points)(detector.module, scene, told.inputs)
    metric = DetectionMetric(told.classes, per_class_proposals=False)
    expected = metric.detections({name: value[0] for name, value in prediction.items()}, 0.25)
    found = detector.detect(coord, min_score=0.05, progress=False)
    assert len(found) > 0
    np.testing.assert_allclose(found.centers, expected.boxes[:, :3], atol=1e-5)
    np.testing.assert_allclose(found.sizes, expected.boxes[:, 3:6], atol=1e-5)
    np.testing.assert_array_equal(found.classes, expected.box_class)
    assert found.names[0] == "cabinet"
    assert (np.diff(found.scores) <= 0).all()


def test_boxes_of_a_scan_far_out_lie_there(detector: Network) -> None:
    coord, _ = cloud(2000)
    coord = np.concatenate([coord, np.zeros((1, 3))])  # the minimum corner, so that whole metres are subtracted
    near = detector.detect(coord, min_score=0.05, progress=False)
    place = np.array([456_000, 5_655_000, 90])
    far = detector.detect(coord + place, min_score=0.05, progress=False)
    np.testing.assert_allclose(far.centers, near.centers + place, atol=2e-3)


class OneBox(torch.nn.Module):
    """A detector that sees a box around (20, 3, 1) wherever it lies in a tile, and nothing else."""

    def predict(self, points: torch.Tensor) -> dict[str, torch.Tensor]:
        coord = points.coord  # type: ignore[attr-defined]
        inside = ((coord - torch.tensor([20.0, 3.0, 1.0])).abs() < 0.5).all(1).sum()
        boxes = torch.tensor([[[20.0, 3.0, 1.0, 1.0, 1.0, 1.0, 0.0]]])
        shares = torch.tensor([[[0.1, 0.9]]])
        return {
            "boxes": boxes,
            "scores": torch.tensor([[0.8]]),
            "class_scores": shares,
            "point_count": inside.view(1, 1),
        }


def test_an_object_in_several_tiles_is_found_once() -> None:
    random = np.random.default_rng(0)
    coord = np.concatenate(
        [random.random((4000, 3)) * [40, 6, 2], random.random((500, 3)) + np.array([19.5, 2.5, 0.5])]
    )
    scene = Scene("scan", coord.astype(np.float32))
    assert sum(bool(((t.scene.coord[:, 0] > 19.6) & (t.scene.coord[:, 0] < 20.4)).any()) for t in tiles(scene, 8.0)) > 1
    sampling, device = Sampling(num_points=4000, shift=False), torch.device("cpu")
    found = boxes_of(OneBox(), scene, Inputs(("height",)), sampling, ("bed", "chair"), device, 0.5, progress=False)
    assert found.to_json() == [
        {"class": "chair", "score": 0.8, "center": [20.0, 3.0, 1.0], "size": [1.0, 1.0, 1.0], "heading": 0.0}
    ]


def test_features_of_a_large_scan_come_tile_by_tile(tmp_path: Path) -> None:
    encoder = pretrained.load(described(tmp_path, "votenet"), device="cpu")
    coord = np.random.default_rng(0).random((6000, 3)) * [30, 5, 2.5]
    found = encoder.features(coord, progress=False)
    assert np.isfinite(found).all()
    assert found.std(axis=0).max() > 0
