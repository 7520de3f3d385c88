"""Augmentations: published ranges, colors that stay colors, and boxes that stay around their points."""

from __future__ import annotations

# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalSubscript=false
# pyright: reportOptionalOperand=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
import colorsys

import numpy as np
import pytest

from mm3d_benchmarks.loading import augment
from mm3d_benchmarks.loading.augment import hsv_to_rgb, rgb_to_hsv
from mm3d_benchmarks.loading.labels import in_box
from mm3d_benchmarks.loading.sample import Sample

COLORS = [
    augment.ChromaticAutoContrast(1.0),
    augment.ChromaticTranslation(1.0),
    augment.ChromaticJitter(1.0),
    augment.HueSaturationTranslation(),
    augment.ColorDrop(0.5, per_point=True),
]
MOTIONS = [
    augment.RandomScale(),
    augment.RandomFlip("x", 1.0),
    augment.RandomFlip("y", 1.0),
    augment.RandomRotation("z", 30, "heading"),
    augment.CenterShift(),
]


def sample(points: int = 400) -> Sample:
    random = np.random.default_rng(0)
    coord = (random.random((points, 3)) * [4, 3, 2.5]).astype(np.float32)
    color = np.floor(random.random((points, 3)) * 256).astype(np.float32)
    boxes = np.array([[1.5, 1.5, 1, 2, 1, 1.5, 0.4, 3], [3, 1, 0.5, 1, 1, 1, -1.0, 1]], np.float32)
    normal = random.normal(size=(points, 3)).astype(np.float32)
    return Sample(
        "scene", coord, np.arange(points), color, normal / np.linalg.norm(normal, axis=1, keepdims=True), boxes=boxes
    )


@pytest.mark.parametrize("change", COLORS)
def test_colors_stay_in_range_and_nothing_else_moves(change):
    before = sample()
    after = change(before, np.random.default_rng(1))
    assert after.color.dtype == np.float32
    assert after.color.min() >= 0
    assert after.color.max() <= 255
    assert not np.array_equal(after.color, before.color)
    assert after.coord is before.coord


@pytest.mark.parametrize("change", COLORS)
def test_a_scene_without_colors_passes(change):
    plain = Sample("scene", np.zeros((3, 3), np.float32), np.arange(3))
    assert change(plain, np.random.default_rng(1)).color is None


@pytest.mark.parametrize("change", MOTIONS)
def test_boxes_hold_the_same_points_before_and_after(change):
    before = sample()
    after = change(before, np.random.default_rng(2))
    assert not np.allclose(after.coord, before.coord)
    for old, new in zip(before.boxes, after.boxes, strict=True):
        inside = in_box(before.coord, old)
        assert inside.sum() > 3
        np.testing.assert_array_equal(in_box(after.coord, new), inside)
    assert np.allclose(np.linalg.norm(after.normal, axis=1), 1, atol=1e-5)


def test_a_hull_rotation_grows_axis_aligned_boxes_around_their_points():
    before = sample()
    boxes = before.boxes.copy()
    boxes[:, 6] = 0
    before = Sample("scene", before.coord, before.index, boxes=boxes)
    after = augment.RandomRotation("z", 5, "hull")(before, np.random.default_rng(3))
    assert (after.boxes[:, 6] == 0).all()
    for old, new in zip(before.boxes, after.boxes, strict=True):
        assert in_box(after.coord, new)[in_box(before.coord, old)].all()
        assert new[3] > old[3]


def test_tilting_with_boxes_is_refused():
    with pytest.raises(ValueError, match="upright"):
        augment.RandomRotation("x", 3)(sample(), np.random.default_rng(0))


def test_a_rotation_about_an_axis_keeps_that_coordinate():
    for axis, column in (("x", 0), ("y", 1), ("z", 2)):
        plain = Sample("scene", sample().coord, np.arange(400))
        after = augment.RandomRotation(axis, 90)(plain, np.random.default_rng(0))
        np.testing.assert_allclose(after.coord[:, column], plain.coord[:, column], atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(after.coord, axis=1), np.linalg.norm(plain.coord, axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "share"),
    [
        (augment.RandomFlip("x", 0.5), 0.5),
        (augment.ChromaticAutoContrast(), 0.2),
        (augment.ChromaticTranslation(), 0.95),
        (augment.ColorDrop(), 0.2),
        (augment.RandomDropout(), 0.2),
    ],
)
def test_probabilities_are_kept(change, share: float):
    before, random = sample(20), np.random.default_rng(0)
    changed = [change(before, random) is not before for _ in range(3000)]
    assert np.mean(changed) == pytest.approx(share, abs=0.03)


def test_published_ranges_are_reached_and_not_left():
    before, random = sample(3), np.random.default_rng(0)
    factors = [augment.RandomScale()(before, random).coord[0, 0] / before.coord[0, 0] for _ in range(2000)]
    assert 0.9 <= min(factors) < 0.902
    assert 1.098 < max(factors) <= 1.1 + 1e-6
    offsets = [augment.ChromaticTranslation(1.0)(sample_grey(), random).color[0] - 128 for _ in range(2000)]
    assert 12.6 < np.abs(offsets).max() <= 12.75 + 1e-4
    jitter = augment.ChromaticJitter(1.0)(sample_grey(20000), random).color - 128
    assert jitter.std() == pytest.approx(1.275, rel=0.03)


def sample_grey(points: int = 1) -> Sample:
    return Sample("scene", np.zeros((points, 3), np.float32), np.arange(points), np.full((points, 3), 128, np.float32))


def test_auto_contrast_leaves_a_constant_channel():
    grey = sample_grey(5)
    after = augment.ChromaticAutoContrast(1.0)(grey, np.random.default_rng(0))
    np.testing.assert_array_equal(after.color, grey.color)


def test_hue_and_saturation_agree_with_the_standard_library():
    color = np.floor(np.random.default_rng(0).random((200, 3)) * 256).astype(np.float32)
    color[:5] = [[0, 0, 0], [255, 255, 255], [9, 9, 9], [255, 0, 0], [0, 0, 255]]
    hue, saturation, value = rgb_to_hsv(color)
    expected = np.array([colorsys.rgb_to_hsv(*(c / 255)) for c in color])
    np.testing.assert_allclose(np.stack([hue, saturation, value / 255], 1), expected, atol=1e-5)
    np.testing.assert_allclose(hsv_to_rgb(hue, saturation, value), color, atol=1e-2)


def test_hue_translation_gives_whole_numbers():
    after = augment.HueSaturationTranslation()(sample(), np.random.default_rng(0))
    np.testing.assert_array_equal(after.color, np.floor(after.color))


def test_an_elastic_bend_is_smooth_and_bounded():
    before = sample(3000)
    after = augment.ElasticDistortion(probability=1.0)(before, np.random.default_rng(0))
    moved = after.coord - before.coord
    assert 0 < np.abs(moved).max() < 1.5
    order = np.argsort(before.coord[:, 0])
    near = np.linalg.norm(np.diff(before.coord[order], axis=0), axis=1) < 0.1
    assert np.linalg.norm(np.diff(moved[order], axis=0), axis=1)[near].max(initial=0) < 0.35


def test_jitter_is_clipped():
    noise = augment.CoordinateJitter(0.05, 0.02)(sample(5000), np.random.default_rng(0)).coord - sample(5000).coord
    assert np.abs(noise).max() <= 0.02 + 1e-6
