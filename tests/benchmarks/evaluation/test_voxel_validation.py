"""Voxel validation: one point of every voxel, the same in every run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.evaluation.voxel_validation import VoxelValidation
from mm3d_core.points import PointBatch
from pointops.plan import PlanSpec


class Positions:
    """A network whose logits are the point's rows: it shows what it was given."""

    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        return {"logits": points.index[:, None].float()}


def room(count: int = 2000, name: str = "room") -> Scene:
    random = np.random.default_rng(0)
    coord = random.random((count, 3)).astype(np.float32)
    return Scene(name, coord, segment=(np.arange(count) % 5).astype(np.int16))


def cells(coord: np.ndarray) -> np.ndarray:
    return ((coord - coord.min(0)) // np.float32(0.25)).astype(int)


def test_each_voxel_is_predicted_once_with_its_own_label():
    scene = room()
    prediction, labels = VoxelValidation(0.25)(Positions(), scene, ("coord",))
    rows = prediction["logits"][:, 0].long()
    assert len(np.unique(cells(scene.coord)[rows], axis=0)) == len(rows) == len(np.unique(cells(scene.coord), axis=0))
    assert torch.equal(labels["segment"], rows % 5)


def test_the_choice_depends_on_seed_and_room_only():
    rows = [
        VoxelValidation(0.25, seed=seed)(Positions(), room(name=name), ("coord",))[0]["logits"]
        for seed, name in ((1, "a"), (1, "a"), (2, "a"), (1, "b"))
    ]
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[3])


def test_a_large_room_is_cut_around_its_middle_voxel():
    prediction, labels = VoxelValidation(0.25, max_points=10)(Positions(), room(), ("coord",))
    assert len(prediction["logits"]) == len(labels["segment"]) == 10


def test_all_points_take_the_prediction_of_their_voxel():
    scene = room()
    prediction, labels = VoxelValidation(0.25, max_points=None, all_points=True)(Positions(), scene, ("coord",))
    rows = prediction["logits"][:, 0].long()
    assert np.array_equal(cells(scene.coord)[rows], cells(scene.coord))
    assert torch.equal(labels["segment"], torch.arange(2000) % 5)


class Planned(Positions):
    """A network whose encoder wants a plan."""

    class Encoder:
        def plan_spec(self) -> PlanSpec:
            return PlanSpec.point_transformer((1, 4), (4, 4))

    encoder = Encoder()
    seen: PlanSpec | None = None

    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        self.seen = None if points.plan is None else points.plan.spec
        return super().predict(points)


def test_the_encoders_plan_is_made_beforehand():
    model = Planned()
    VoxelValidation(0.25)(model, room(), ("coord",))
    assert model.seen == Planned.encoder.plan_spec()


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="voxel"):
        VoxelValidation(0.0)
    with pytest.raises(ValueError, match="max_points"):
        VoxelValidation(0.04, all_points=True)
