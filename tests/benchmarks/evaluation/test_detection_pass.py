"""One pass of a detector over a scene: the sample depends on seed and name only, and labels stay as prepared."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.evaluation.detection_pass import DetectionPass
from mm3d_core.errors import UserError
from mm3d_core.points import PointBatch


class Recorder:
    """A detector that predicts one box at the middle of its points and remembers what it read."""

    def __init__(self) -> None:
        self.read: list[PointBatch] = []

    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        self.read.append(points)
        box = torch.cat([points.coord.mean(0), torch.tensor([1.0, 1, 1, 0])])[None, None]
        return {"boxes": box, "scores": torch.ones(1, 1), "class_scores": torch.ones(1, 1, 2) / 2}


def scene(name: str = "room", boxes: int = 2, points: int = 500) -> Scene:
    random = np.random.default_rng(0)
    coord = random.random((points, 3)).astype(np.float32) * 3
    rows = [[n, 1, 1, 0.5, 0.6, 0.7, 0.25, n] for n in range(boxes)]
    return Scene(name, coord, boxes=np.array(rows, np.float32).reshape(-1, 8))


def rows(protocol: DetectionPass, which: Scene) -> list[int]:
    model = Recorder()
    protocol(model, which, ("height",))
    return model.read[0].index.tolist()


def test_boxes_are_the_prepared_ones_padded_and_the_network_reads_its_inputs():
    model = Recorder()
    prediction, labels = DetectionPass(100)(model, scene(), ("height",))
    assert prediction["boxes"].shape == (1, 1, 7)
    assert labels["center"].shape == (1, 64, 3)
    assert labels["box_mask"].sum() == 2
    assert labels["box_class"][0, :2].tolist() == [0, 1]
    torch.testing.assert_close(labels["size"][0, 0], torch.tensor([0.5, 0.6, 0.7]))
    torch.testing.assert_close(labels["heading"][0, :2], torch.tensor([0.25, 0.25]))
    floor = np.percentile(scene().coord[:, 2], 0.99)
    torch.testing.assert_close(model.read[0].feat[:, 0], model.read[0].coord[:, 2] - float(floor))


def test_the_sample_depends_on_seed_and_scene_only():
    first = rows(DetectionPass(100), scene())
    assert len(set(first)) == 100
    assert rows(DetectionPass(100), scene()) == first
    assert rows(DetectionPass(100, seed=1), scene()) != first
    assert rows(DetectionPass(100), scene("other")) != first


def test_points_repeat_only_when_a_scene_has_too_few_and_none_reads_all():
    assert len(rows(DetectionPass(600), scene())) == 600
    assert sorted(rows(DetectionPass(None), scene())) == list(range(500))


def test_a_scene_without_objects_is_predicted_and_one_without_a_list_of_boxes_is_refused():
    _, labels = DetectionPass(100)(Recorder(), scene(boxes=0), ("height",))
    assert not labels["box_mask"].any()
    with pytest.raises(UserError, match="has no boxes"):
        DetectionPass(100)(Recorder(), Scene("room", scene().coord), ("height",))


def test_more_boxes_than_rows_and_no_points_are_refused():
    with pytest.raises(UserError, match="more than the 2"):
        DetectionPass(100, max_boxes=2)(Recorder(), scene(boxes=3), ("height",))
    with pytest.raises(ValueError, match="num_points=0"):
        DetectionPass(0)
