"""Pairs of views: exact matches, fair budgets, true features, and scans too small to crop."""

from __future__ import annotations

import math

import pytest
import torch
from core.tiny import generator, joined, scan

from mm3d_core.features import FeatureLayout
from mm3d_core.methods.crops import box_crop, camera_crop, sphere_crop
from mm3d_core.methods.motions import ColorChange, Motion
from mm3d_core.methods.views import PairViews, near_point, overlap, same_point, thin
from mm3d_core.points import PointBatch

STILL = Motion(rotation="none", tilt=0.0, flip=0.0, scale=(1.0, 1.0), jitter=0.0, recenter="none")


@pytest.mark.parametrize("crop", ["sphere", "box", "camera"])
def test_matches_are_the_same_point_of_the_scan(crop):
    points = scan(2000)
    views = PairViews(crop=crop)(points, generator())
    first, second = views["first"], views["second"]
    match = first.attributes["match"]
    found = match >= 0
    assert found.sum() > 10
    assert torch.equal(first.index[found], second.index[match[found]])
    assert torch.equal(first.attributes["origin"][found], second.attributes["origin"][match[found]])
    assert torch.equal(points.coord[first.index], first.attributes["origin"])
    back = second.attributes["match"]
    assert torch.equal(back[match[found]], found.nonzero().flatten())
    assert not set(first.index[~found].tolist()) & set(second.index.tolist())


@pytest.mark.parametrize("crop", ["sphere", "box", "camera"])
def test_with_a_budget_of_points_both_views_hold_no_more_than_the_scan(crop):
    points = scan(2000)
    thinned = PairViews(crop=crop, share=0.9, sides=(0.9, 1.0))(points, generator())
    assert thinned["first"].num_points + thinned["second"].num_points <= 2000
    full = PairViews(crop="sphere", share=0.9, budget="steps")(points, generator())
    assert (full["first"].num_points, full["second"].num_points) == (1800, 1800)


def test_thinning_keeps_the_same_points_in_both_views():
    rows = [torch.arange(100), torch.arange(100)]
    one, two = thin(rows, 100, 30, generator())
    assert torch.equal(one, two)
    assert len(one) == 30


def test_the_same_generator_makes_the_same_views():
    one, two = (PairViews(crop="camera")(scan(1500), generator(5)) for _ in range(2))
    for name in one:
        assert torch.equal(one[name].feat, two[name].feat)


def test_features_follow_the_motion_and_the_colors():
    views = PairViews(min_share=0.1)(scan(600), generator())
    for view in views.values():
        torch.testing.assert_close(view.feat, torch.cat([view.coord, view.attributes["color"]], dim=1))
    assert not torch.equal(views["first"].attributes["color"], views["first"].attributes["origin"])


def test_distances_survive_every_motion_but_the_noise():
    points = scan(300)
    for rotation in ("z", "so3"):
        moved = Motion(rotation=rotation, scale=(1.0, 1.0), jitter=0.0)(points, FeatureLayout(), generator())
        one, two = moved.coord.double(), points.coord.double()
        torch.testing.assert_close(torch.cdist(one, one), torch.cdist(two, two), atol=1e-5, rtol=0)
        assert moved.coord.amin(0).abs().max() == 0


def test_a_rotation_about_z_keeps_heights_and_so3_does_not():
    points = scan(300)
    upright = Motion(tilt=0.0, scale=(1.0, 1.0), jitter=0.0, recenter="none")(points, FeatureLayout(), generator())
    torch.testing.assert_close(upright.coord[:, 2], points.coord[:, 2])
    free = Motion(rotation="so3", scale=(1.0, 1.0), jitter=0.0, recenter="none")(points, FeatureLayout(), generator())
    assert (free.coord[:, 2] - points.coord[:, 2]).abs().max() > 0.1


def test_every_input_that_a_backbone_may_read_stays_true():
    points = scan(100)
    normal = torch.nn.functional.normalize(torch.randn(100, 3, generator=generator()), dim=1)
    color = points.attributes["color"]
    feat = torch.cat([normal, color * 255 / 256 - 0.4, points.coord[:, 2:] - 1.0], dim=1)
    points = PointBatch.single(points.coord, feat, {"color": color, "normal": normal})
    layout = FeatureLayout(["normal", "color_votenet", "height"])
    moved = Motion(scale=(2.0, 2.0), tilt=0.0, jitter=0.0)(points, layout, generator())
    changed = ColorChange()(moved, layout, generator())
    torch.testing.assert_close(changed.feat[:, :3], changed.attributes["normal"])
    torch.testing.assert_close(changed.feat[:, 3:6], changed.attributes["color"] * 255 / 256 - 0.4)
    torch.testing.assert_close(changed.feat[:, 6], 2 * (points.coord[:, 2] - 1.0))
    torch.testing.assert_close(changed.attributes["normal"].norm(dim=1), torch.ones(100))


def test_colors_stay_in_range_and_no_change_is_no_change():
    points = scan(100)
    for seed in range(10):
        color = ColorChange()(points, FeatureLayout(), generator(seed)).attributes["color"]
        assert color.min() >= 0
        assert color.max() <= 1
    same = ColorChange(0, 0, 0, 1.0, 0.0, 1.0)(points, FeatureLayout(), generator())
    torch.testing.assert_close(same.attributes["color"], points.attributes["color"])


def test_a_scan_without_color_gives_views_without_color():
    points = scan(200, color=False)
    points = points.with_feat(points.coord)
    views = PairViews(inputs=["coord"])(points, generator())
    assert "color" not in views["first"].attributes


def test_a_ball_holds_the_nearest_points_and_a_box_a_part_of_the_floor():
    coord = scan(500).coord
    rows = sphere_crop(coord, 0.4, generator(), center=torch.zeros(3))
    assert len(rows) == 200
    distance = coord.norm(dim=1)
    assert distance[rows].max() <= distance.sort().values[199]
    box = coord[box_crop(coord, (0.5, 0.5), generator()), :2]
    assert ((box.amax(0) - box.amin(0)) <= 0.5 * (coord.amax(0) - coord.amin(0))[:2] + 1e-6).all()


def test_a_camera_in_a_closed_room_does_not_see_the_room_around_it():
    across = torch.cartesian_prod(torch.linspace(-4, 4, 160), torch.linspace(0, 3, 60))
    walls = [torch.stack([torch.full((9600,), x), across[:, 0], across[:, 1]], dim=1) for x in (2.0, 3.0, -2.0, -3.0)]
    sides = [w[:, [1, 0, 2]] for w in walls]
    coord = torch.cat([walls[0], walls[2], sides[0], sides[2], walls[1], walls[3], sides[1], sides[3]])
    inner = 4 * 9600
    inside = (coord[:, :2].abs() <= 2.0001).all(1) | (torch.arange(len(coord)) >= inner)
    coord = coord[inside]  # a closed room of 4 x 4 m, and a second one around it
    outer = coord[:, :2].abs().amax(1) > 2.5
    seen = 0
    for seed in range(30):
        rows = camera_crop(coord, generator(seed), pitch=(-1.0, 1.0), tolerance=0.05)
        low, high = coord.amin(0), coord.amax(0)
        draw = torch.rand(5, generator=generator(seed))
        eye = low[:2] + (high - low)[:2] * draw[:2]
        if (eye.abs() < 1.4).all() and len(rows):  # inside the inner room
            seen += len(rows)
            assert not outer[rows].any()
    assert seen > 0


@pytest.mark.parametrize("points", [100, 1200, 20_000])
@pytest.mark.parametrize("crop", ["sphere", "box"])
def test_crops_of_a_small_scan_are_accepted_as_those_of_a_large_one(crop, points):
    for seed in range(5):
        views = PairViews(crop=crop, budget="steps")(scan(points, seed), generator(seed))
        assert views["first"].attributes["tries"][0] > 0
        assert min(view.num_points for view in views.values()) < 0.95 * points


def test_a_view_that_must_show_more_than_a_ball_gets_a_larger_ball():
    views = PairViews(crop="sphere", share=0.2, min_share=0.9, attempts=2, budget="steps")(scan(100), generator())
    assert (views["first"].num_points, views["second"].num_points) == (90, 90)
    assert views["first"].attributes["tries"][0] == 0


def test_views_that_never_overlap_fall_back_to_balls_around_one_point():
    strict = PairViews(crop="sphere", share=0.1, overlap=1.0, attempts=3, budget="steps")
    views = strict(scan(1000), generator())
    assert views["first"].attributes["tries"][0] == 0
    assert overlap(views["first"].index, views["second"].index, 1000) == 1.0


def test_accepted_pairs_overlap_as_asked():
    for seed in range(10):
        views = PairViews(crop="box", overlap=0.3, budget="steps")(scan(800, seed), generator(seed))
        assert overlap(views["first"].index, views["second"].index, 800) >= 0.3


def test_matches_by_distance_are_within_it_in_origin_coordinates():
    views = PairViews(match_radius=0.05, budget="steps")(scan(600), generator())
    first, second = views["first"], views["second"]
    match = first.attributes["match"]
    found = match >= 0
    gap = (first.attributes["origin"][found] - second.attributes["origin"][match[found]]).norm(dim=1)
    assert gap.max() <= 0.05
    assert torch.equal(match, near_point(first, second, 0.05))


def test_matches_of_joined_scenes_stay_rows_within_their_scene():
    views = joined([PairViews(min_share=0.1)(scan(300, s), generator(s)) for s in range(2)])
    assert views["first"].attributes["match"].max() < 300


def test_rows_are_found_in_the_other_view():
    assert same_point(torch.tensor([5, 2, 7]), torch.tensor([7, 5]), 10).tolist() == [1, -1, 0]


def test_an_empty_scan_and_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match="no points"):
        PairViews()(PointBatch.single(torch.zeros(0, 3), torch.zeros(0, 6)), generator())
    with pytest.raises(ValueError, match="feat has 6 columns"):
        PairViews(inputs=["coord"])(scan(50), generator())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": "cone"}, "crop must be"),
        ({"budget": "hours"}, "budget must be"),
        ({"share": 0.0}, "share must be"),
        ({"overlap": 1.5}, "overlap must be"),
        ({"min_share": 0.0}, "min_share must be"),
        ({"inputs": ["thermal"]}, "thermal"),
    ],
)
def test_bad_options_of_views_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PairViews(**options)


def test_bad_motions_are_refused():
    with pytest.raises(ValueError, match="rotation must be"):
        Motion(rotation="y")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="recenter must be"):
        Motion(recenter="mean")  # pyright: ignore[reportArgumentType]


def test_rotations_are_rotations():
    for rotation in ("z", "so3", "none"):
        matrix = Motion(rotation=rotation, flip=0.0).matrix(generator(3))
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(3), atol=1e-5, rtol=0)
        assert math.isclose(float(torch.det(matrix)), 1.0, abs_tol=1e-5)
