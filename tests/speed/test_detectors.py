"""The detection benchmark: rooms with consistent labels, parts that add up to the step."""

from __future__ import annotations

import pytest
import torch

from mm3d_backbones.pointnet2 import PointNet2Encoder
from mm3d_backbones.votenet import VoteNet
from speed import detectors as bench_detection
from speed.detectors import batch_of, furnished_room, measure, table


def test_points_vote_for_the_center_of_a_box_that_holds_them():
    points, labels = furnished_room(500, torch.Generator().manual_seed(0))
    aims = (points.coord + labels["votes"][:, 0])[labels["vote_mask"]]
    assert 100 < len(aims) < 450
    assert torch.cdist(aims, labels["center"][0][labels["box_mask"][0]]).amin(1).max() < 1e-5


def test_a_batch_is_the_same_for_the_same_seed():
    first, second = batch_of(100, 2), batch_of(100, 2)
    assert torch.equal(first[0].coord, second[0].coord)
    assert first[1]["center"].shape == (2, 64, 3)


def test_parts_of_a_step_add_up_to_it(monkeypatch):
    def small() -> VoteNet:
        encoder = PointNet2Encoder(1, (64, 32, 16, 8), (0.5, 1.0, 1.5, 2.0), (8, 8, 8, 8))
        return VoteNet(encoder, 18, 1, torch.ones(18, 3), num_proposals=8)

    monkeypatch.setitem(bench_detection.DETECTORS, "VoteNet", small)
    seconds = measure("VoteNet", *batch_of(300, 2), repeats=1)
    parts = sum(value for part, value in seconds.items() if part not in ("step", "plan"))
    assert parts == pytest.approx(seconds["step"], rel=0.05)
    assert {"forward encoder", "forward voting", "backward", "losses and targets"} <= seconds.keys()
    assert "made by the loader" in table({"VoteNet": seconds})
