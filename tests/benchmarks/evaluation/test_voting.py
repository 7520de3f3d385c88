"""Full voting: every original point is predicted, sums are true, memory is bounded, and a stopped room goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.evaluation.covers import potential_crops, voxel_passes
from mm3d_benchmarks.evaluation.votes import Votes
from mm3d_benchmarks.evaluation.voting import View, Voting
from mm3d_benchmarks.loading.sample import Sample
from mm3d_core.errors import UserError
from mm3d_core.points import PointBatch

INPUTS = ("coord", "color")


def room(count: int = 800, edge: float = 1.0, seed: int = 0) -> Scene:
    random = np.random.default_rng(seed)
    coord = (edge * random.random((count, 3))).astype(np.float32)
    color = random.integers(0, 256, (count, 3), dtype=np.uint8)
    return Scene("room", coord, color, segment=random.integers(-1, 3, count).astype(np.int16))


class ByColor(nn.Module):
    """A network whose logits of a point are its own color: sums are then known in advance."""

    num_classes = 3

    def __init__(self, stop_at: int = -1) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.stop_at, self.calls, self.sizes = stop_at, 0, []

    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        self.sizes.append(points.num_points)
        assert float(points.coord.min()) >= 0
        return {"logits": self.scale * points.feat[:, 3:]}


def test_voxel_passes_cover_every_point_and_take_each_voxel_once():
    coord = room().coord
    passes = list(voxel_passes(coord, 0.2))
    cells = np.unique(((coord - coord.min(0)) // np.float32(0.2)).astype(int), axis=0, return_counts=True)
    assert len(passes) == cells[1].max()
    assert all(len(rows) == len(cells[0]) == len(np.unique(rows)) for rows in passes)
    assert len(np.unique(np.concatenate(passes))) == len(coord)


def test_crops_cover_every_point_with_the_nearest_points_of_their_center():
    coord = room().coord
    crops = list(potential_crops(coord, 150, np.random.default_rng(0)))
    assert len(np.unique(np.concatenate(crops))) == len(coord)
    assert len(crops) >= len(coord) / 150
    for rows in crops:
        distance = ((coord - coord[rows[0]]) ** 2).sum(1)
        assert len(np.unique(rows)) == 150
        assert distance[rows].max() <= np.delete(distance, rows).min()
    assert [len(rows) for rows in potential_crops(coord, 800, np.random.default_rng(0))] == [800]


def test_crops_of_identical_points_come_to_an_end():
    crops = list(potential_crops(np.zeros((10, 3), np.float32), 4, np.random.default_rng(0)))
    assert len(np.unique(np.concatenate(crops))) == 10


@pytest.mark.parametrize("crops", [True, False])
def test_every_point_gets_the_sum_of_its_votes(crops: bool):
    scene = room()
    assert scene.color is not None
    prediction, labels = Voting(0.2, 50, crops=crops)(ByColor(), scene, INPUTS)
    votes = prediction["votes"]
    assert int(votes.min()) >= 1
    color = torch.from_numpy(scene.color / 255).float()
    torch.testing.assert_close(prediction["logits"], votes[:, None] * color, rtol=1e-5, atol=1e-5)
    assert torch.equal(prediction["segment"], color.argmax(1))
    assert torch.equal(labels["segment"], torch.from_numpy(np.array(scene.segment)).long())


def test_points_of_crowded_voxels_are_seen_once_and_lonely_points_in_every_pass():
    coord = np.concatenate([np.full((5, 3), 0.01), [[0.95, 0.95, 0.95]]]).astype(np.float32)
    scene = Scene("room", coord, np.zeros((6, 3), np.uint8))
    prediction, _ = Voting(0.1, 100)(ByColor(), scene, INPUTS)
    assert prediction["votes"].tolist() == [1, 1, 1, 1, 1, 5]


def test_a_room_of_one_voxel_is_predicted_point_by_point():
    scene = room(20, edge=0.01)
    model = ByColor()
    prediction, _ = Voting(0.5, 100, packed=1)(model, scene, INPUTS)
    assert model.sizes == [1] * 20
    assert prediction["votes"].tolist() == [1] * 20


def test_no_forward_pass_is_larger_than_a_crop():
    model = ByColor()
    Voting(0.2, 60)(model, room(), INPUTS)
    assert max(model.sizes) <= 60


def test_released_sums_count_a_repeated_point_once_a_call():
    votes, released = Votes(4, 2), Votes(4, 2, last_wins=True)
    rows, scores = torch.tensor([2, 0, 2]), torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    for kept in (votes, released):
        kept.add(rows, scores)
    assert votes.scores.tolist() == [[3, 4], [0, 0], [6, 8], [0, 0]]
    assert released.scores.tolist() == [[3, 4], [0, 0], [5, 6], [0, 0]]
    assert (votes.counts.tolist(), released.counts.tolist()) == ([1, 0, 2, 0], [1, 0, 1, 0])


def test_packing_does_not_change_true_sums():
    model = ByColor()
    one, many = (Voting(0.2, 60, packed=packed)(model, room(), INPUTS)[0]["logits"] for packed in (1, 10))
    torch.testing.assert_close(one, many, rtol=1e-5, atol=1e-5)


def test_equal_views_average_mean_probabilities():
    views = (View(), View(degrees=90.0), View(scale=1.1, flip=True))
    scene = room(500)
    assert scene.color is not None
    prediction, _ = Voting(0.2, 100, "probabilities", views, equal_views=True)(ByColor(), scene, INPUTS)
    expected = 3 * torch.from_numpy(scene.color / 255).float().softmax(1)
    torch.testing.assert_close(prediction["logits"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("view", "moved"),
    [
        (View(degrees=90.0), [[0, 0, 0], [0, 1, 0], [-2, 0, 0], [0, 0, 3]]),
        (View(scale=2.0), [[0, 0, 0], [2, 0, 0], [0, 4, 0], [0, 0, 6]]),
        (View(flip=True), [[0, 0, 0], [-1, 0, 0], [0, -2, 0], [0, 0, 3]]),
        (View(shift=0.5), [[0.5, 0.5, 0.5], [1.5, 0.5, 0.5], [0.5, 2.5, 0.5], [0.5, 0.5, 3.5]]),
    ],
)
def test_a_view_turns_scales_mirrors_and_shifts(view: View, moved: list[list[float]]):
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
    changed = view(Sample("room", corner, np.arange(4), normal=np.eye(4, 3, dtype=np.float32)))
    np.testing.assert_allclose(changed.coord, moved, atol=1e-6)
    assert changed.normal is not None
    np.testing.assert_allclose(np.linalg.norm(changed.normal, axis=1), [1, 1, 1, 0], atol=1e-6)


def test_a_stopped_room_goes_on_where_it_was(tmp_path: Path):
    voting = Voting(0.4, 60, views=(View(), View(flip=True)), save_seconds=0.0)
    whole, full = ByColor(), tmp_path / "votes"
    expected = voting(whole, room(), INPUTS)[0]["logits"]
    for stop_at in (7, whole.calls - 3):
        with pytest.raises(KeyboardInterrupt):
            voting(ByColor(stop_at), room(), INPUTS, checkpoint=full)
        resumed = ByColor()
        assert torch.equal(voting(resumed, room(), INPUTS, checkpoint=full)[0]["logits"], expected)
        assert resumed.calls == whole.calls - stop_at
        assert list(tmp_path.iterdir()) == []


def test_votes_of_other_weights_are_not_taken_up(tmp_path: Path):
    voting = Voting(0.4, 60, save_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        voting(ByColor(7), room(), INPUTS, checkpoint=tmp_path / "votes")
    other = ByColor()
    nn.init.constant_(other.scale, 2.0)
    expected = voting(other, room(), INPUTS)[0]["logits"]
    assert torch.equal(voting(other, room(), INPUTS, checkpoint=tmp_path / "votes")[0]["logits"], expected)


def test_a_network_that_diverged_is_refused():
    model = ByColor()
    nn.init.constant_(model.scale, float("nan"))
    with pytest.raises(UserError, match=r"room room: .*not finite"):
        Voting(0.2, 60)(model, room(), INPUTS)


def test_a_room_without_labels_counts_as_ignored():
    scene = Scene("room", room().coord, np.zeros((800, 3), np.uint8))
    assert set(Voting(0.2, 60)(ByColor(), scene, INPUTS)[1]["segment"].tolist()) == {-1}


@pytest.mark.parametrize(
    "bad",
    [{"voxel": 0.0}, {"max_points": 0}, {"sum_of": "votes"}, {"views": ()}, {"equal_views": True}, {"packed": -1}],
)
def test_settings_that_mean_nothing_are_refused(bad: dict):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Voting(**{"voxel": 0.04, "max_points": 100, **bad})


@pytest.mark.short
@pytest.mark.slow
def test_a_room_of_more_than_a_million_points_is_predicted_within_the_crop():
    scene, model = room(1_200_000, edge=12.0), ByColor()
    prediction, _ = Voting(0.3, 20_000)(model, scene, INPUTS)
    assert int(prediction["votes"].min()) >= 1
    assert max(model.sizes) <= 20_000
