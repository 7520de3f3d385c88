"""Crops: one point a voxel, spheres, and the published boxes with their fallbacks."""

from __future__ import annotations

# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalSubscript=false
# pyright: reportOptionalOperand=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
import numpy as np
import pytest

from mm3d_benchmarks.loading.crops import KeepBox, RemoveBox, shift_to_minimum, sphere_crop, voxel_groups, voxel_sample
from mm3d_benchmarks.loading.sample import Sample


def sample(points: int = 5000, seed: int = 0) -> Sample:
    coord = np.random.default_rng(seed).random((points, 3)).astype(np.float32) * [4, 3, 2.5]
    return Sample("scene", coord.astype(np.float32), np.arange(points))


def test_every_occupied_voxel_keeps_exactly_one_of_its_points():
    whole = sample()
    kept = voxel_sample(whole, 0.25, np.random.default_rng(1))

    def cells(coord):
        return np.floor((coord - whole.coord.min(0)) / np.float32(0.25)).astype(int)

    occupied = np.unique(cells(whole.coord), axis=0)
    mine = cells(kept.coord)
    assert len(mine) == len(occupied)
    assert (np.unique(mine, axis=0) == occupied).all()
    np.testing.assert_array_equal(whole.coord[kept.index], kept.coord)


def test_the_point_of_a_voxel_is_drawn_evenly():
    crowd = Sample("scene", np.full((4, 3), 0.5, np.float32) + np.eye(4, 3, dtype=np.float32) * 1e-3, np.arange(4))
    counts = np.zeros(4)
    random = np.random.default_rng(0)
    for _ in range(4000):
        counts[voxel_sample(crowd, 1.0, random).index] += 1
    assert counts.sum() == 4000
    assert (abs(counts - 1000) < 120).all()


def test_a_stray_point_far_away_does_not_upset_the_grid():
    coord = np.array([[0, 0, 0], [0.01, 0, 0], [2e7, 2e7, 2e7]], np.float32)
    order, starts, counts = voxel_groups(coord, 0.02)
    assert counts.tolist() == [2, 1]
    assert order[starts].tolist() == [0, 2]


def test_a_sphere_crop_keeps_the_nearest_points_of_one_of_them():
    whole = sample()
    kept = sphere_crop(whole, 700, np.random.default_rng(0))
    assert kept.num_points == 700
    radius = [np.sort(((whole.coord - center) ** 2).sum(1))[699] for center in kept.coord]
    farthest = [((kept.coord - center) ** 2).sum(1).max() for center in kept.coord]
    assert any(np.isclose(r, f) for r, f in zip(radius, farthest, strict=True))
    assert sphere_crop(whole, 5000, np.random.default_rng(0)) is whole


def test_shifting_moves_boxes_along():
    boxes = np.array([[2, 2, 1, 1, 1, 1, 0.3, 0]], np.float32)
    moved = shift_to_minimum(Sample("scene", np.array([[1, 1, 0.5], [3, 2, 2]], np.float32), np.arange(2), boxes=boxes))
    np.testing.assert_allclose(moved.coord, [[0, 0, 0], [2, 1, 1.5]])
    np.testing.assert_allclose(moved.boxes, [[1, 1, 0.5, 1, 1, 1, 0.3, 0]])


def test_removing_a_box_takes_the_published_share_of_the_floor():
    whole, random = sample(2000), np.random.default_rng(0)
    shares = [1 - RemoveBox(fallback=1)(whole, random).num_points / 2000 for _ in range(3000)]
    assert np.mean(shares) == pytest.approx(0.298, abs=0.012)  # MM-3DScene's box, by simulation
    assert max(shares) < 1


def test_keeping_a_box_is_the_complement_of_removing_it():
    whole = sample(2000)
    kept = KeepBox(fallback=1)(whole, np.random.default_rng(3))
    removed = RemoveBox(fallback=1)(whole, np.random.default_rng(3))
    assert sorted([*kept.index, *removed.index]) == list(range(2000))
    size = np.ptp(kept.coord[:, :2], axis=0)
    assert (size <= np.ptp(whole.coord[:, :2], axis=0)).all()


@pytest.mark.parametrize("crop", [RemoveBox(fallback=2001), KeepBox(fallback=2001)])
def test_too_small_a_rest_leaves_the_room_whole(crop):
    whole = sample(2000)
    assert crop(whole, np.random.default_rng(0)) is whole
