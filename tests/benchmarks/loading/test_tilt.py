"""Tilts: points and normals turn together by a small angle, boxes are left behind."""

from __future__ import annotations

import numpy as np
import pytest

from mm3d_benchmarks.loading.augment import RandomRotation
from mm3d_benchmarks.loading.sample import Sample
from mm3d_benchmarks.loading.tilt import RandomTilt


def sample() -> Sample:
    random = np.random.default_rng(0)
    coord = random.random((50, 3)).astype(np.float32)
    normal = np.tile(np.array([0, 0, 1], np.float32), (50, 1))
    return Sample("room", coord, np.arange(50), normal=normal, boxes=np.ones((2, 8), np.float32))


@pytest.mark.parametrize(("axis", "number"), [("x", 0), ("y", 1)])
def test_points_and_normals_turn_about_the_axis_and_boxes_are_gone(axis: str, number: int):
    before, after = sample(), RandomTilt(axis, 2.0, 1.0)(sample(), np.random.default_rng(1))
    assert after.boxes is None
    assert after.normal is not None
    np.testing.assert_array_equal(after.coord[:, number], before.coord[:, number])
    np.testing.assert_allclose(np.linalg.norm(after.coord, axis=1), np.linalg.norm(before.coord, axis=1), rtol=1e-5)
    angle = np.degrees(np.arccos(after.normal[0, 2]))
    assert 0 < angle <= 2.0
    assert not np.allclose(after.coord, before.coord)


def test_it_is_the_rotation_that_refuses_boxes():
    with pytest.raises(ValueError, match="upright"):
        RandomRotation("x", 2.0)(sample(), np.random.default_rng(0))


def test_only_horizontal_axes_tilt():
    with pytest.raises(ValueError, match="'x' or 'y'"):
        RandomTilt("z")
