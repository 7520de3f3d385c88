"""Features by name: order, scale, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mm3d_benchmarks.loading.features import feature_width, floor_height, points_of
from mm3d_benchmarks.loading.sample import Sample
from mm3d_core.errors import UserError
from mm3d_core.features import FEATURES


def sample() -> Sample:
    coord = np.arange(12, dtype=np.float32).reshape(4, 3)
    color = np.array([[0, 0, 0], [255, 255, 255], [109.8, 97.2, 83.8], [51, 102, 153]], np.float32)
    normal = np.tile(np.array([[0, 0, 1]], np.float32), (4, 1))
    return Sample("scene_3", coord, np.array([5, 6, 7, 8]), color, normal, height=np.arange(4, dtype=np.float32))


def test_inputs_stand_in_the_order_asked_for():
    points = points_of(sample(), ["height", "color", "coord"])
    assert points.feat.shape == (4, 7)
    assert points.feat[:, 0].tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(points.feat[3, 1:4], torch.tensor([0.2, 0.4, 0.6]))
    assert torch.equal(points.feat[:, 4:], points.coord)
    assert points.index.tolist() == [5, 6, 7, 8]


def test_published_color_scales():
    assert points_of(sample(), ["color_votenet"]).feat[2].abs().max() < 1e-6
    assert points_of(sample(), ["color_centered"]).feat[:2, 0].tolist() == [-0.5, 0.5]


def test_colors_ride_along_in_zero_to_one_and_normals_when_they_are_read():
    assert set(points_of(sample(), ["coord"]).attributes) == {"color"}
    points = points_of(sample(), ["coord", "normal"])
    assert set(points.attributes) == {"color", "normal"}
    assert float(points.attributes["color"].max()) == 1.0


def test_no_inputs_give_no_channels():
    assert points_of(sample(), []).feat.shape == (4, 0)


@pytest.mark.parametrize("name", sorted(set(FEATURES) - {"coord"}))
def test_a_missing_attribute_is_named_with_its_scene(name: str):
    bare = Sample("scene_3", np.zeros((2, 3), np.float32), np.arange(2))
    with pytest.raises(UserError, match=f"scene scene_3 has no .*{name!r}"):
        points_of(bare, [name])


def test_widths_add_up_and_unknown_names_are_refused():
    assert feature_width(["coord", "color", "height", "normal"]) == 10
    with pytest.raises(UserError, match="colour"):
        feature_width(["colour"])


def test_the_floor_is_the_lowest_hundredth_not_the_highest():
    coord = np.zeros((1001, 3), np.float32)
    coord[:, 2] = np.linspace(0, 10, 1001)
    assert floor_height(coord)[0] == pytest.approx(-0.099, abs=1e-4)
