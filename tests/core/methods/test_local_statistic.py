"""The local statistic: worked values, isolation of scenes, and scans that offer no contrast."""

from __future__ import annotations

import pytest
import torch
from core.tiny import line, scan

from mm3d_core.errors import UserError
from mm3d_core.methods.local_statistic import LocalStatistic, min_max, point_embedding
from mm3d_core.points import PointBatch

FOUR = line(0, 1, 3, 7, colors=torch.tensor([0.0, 0.0, 1.0, 1.0]))


def test_squared_differences_of_four_points_on_a_line_are_those_worked_out_by_hand():
    statistic = LocalStatistic(neighbors=3)
    differences = statistic.differences(FOUR)
    torch.testing.assert_close(differences["coord"], torch.tensor([10.0, 5.0, 13.0, 52.0]))
    torch.testing.assert_close(differences["color"], torch.tensor([3.0, 3.0, 6.0, 3.0]))
    torch.testing.assert_close(statistic(FOUR), torch.tensor([0.106383, 0.0, 1.170213, 1.0]), atol=1e-6, rtol=0)


def test_plain_differences_of_four_points_on_a_line_are_those_worked_out_by_hand():
    statistic = LocalStatistic(neighbors=3, squared=False)
    torch.testing.assert_close(statistic.differences(FOUR)["coord"], torch.tensor([4.0, 3.0, 5.0, 10.0]))
    torch.testing.assert_close(statistic(FOUR), torch.tensor([0.142857, 0.0, 1.285714, 1.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("squared", [True, False])
def test_the_most_informative_of_four_points_are_the_third_and_the_fourth(squared):
    order = LocalStatistic(neighbors=3, squared=squared)(FOUR).argsort(descending=True)
    assert order.tolist() == [2, 3, 0, 1]


def test_a_scene_does_not_feel_its_batch_mates_unless_scaling_is_over_the_batch():
    one, other = scan(60, seed=1), scan(80, seed=2)
    other = other.with_attributes(color=other.attributes["color"] * 0.1)
    both = PointBatch.join([one, other])
    alone = LocalStatistic()(one)
    torch.testing.assert_close(LocalStatistic()(both)[:60], alone)
    assert not torch.allclose(LocalStatistic(scope="batch")(both)[60:], LocalStatistic()(other))


def test_terms_and_weights_choose_what_is_added():
    points = scan(50)
    coord, color = (LocalStatistic(terms=[name])(points) for name in ("coord", "color"))
    torch.testing.assert_close(LocalStatistic(weights=[2.0, 0.5])(points), 2 * coord + 0.5 * color)


def test_the_embedding_is_frozen_and_finite():
    points = scan(50)
    torch.testing.assert_close(point_embedding(points, seed=3), point_embedding(points, seed=3), atol=0, rtol=0)
    assert not torch.equal(point_embedding(points, seed=3), point_embedding(points, seed=4))
    assert LocalStatistic(terms=("embedding",))(points).isfinite().all()


def test_a_scan_without_color_is_refused_where_color_is_asked_for():
    with pytest.raises(UserError, match=r"no colors; set statistic.terms to \[coord\]"):
        LocalStatistic()(scan(40, color=False))


def test_a_scan_without_color_is_scored_by_its_coordinates_where_that_is_allowed():
    points = scan(40, color=False)
    expected = LocalStatistic(terms=("coord",))(points)
    torch.testing.assert_close(LocalStatistic(missing_color="drop")(points), expected)


def test_color_alone_cannot_be_dropped():
    with pytest.raises(UserError, match="no colors"):
        LocalStatistic(terms=("color",), missing_color="drop")(scan(40, color=False))


def test_a_constant_color_counts_as_no_contrast():
    points = scan(40).with_attributes(color=torch.full((40, 3), 0.5))
    torch.testing.assert_close(LocalStatistic()(points), LocalStatistic(terms=("coord",))(points))


def test_coincident_points_have_no_statistic_and_no_nan():
    points = PointBatch.single(torch.ones(40, 3), torch.ones(40, 3), {"color": torch.ones(40, 3)})
    assert LocalStatistic()(points).tolist() == [0.0] * 40


def test_a_scene_smaller_than_the_neighborhood_uses_the_points_it_has():
    torch.testing.assert_close(LocalStatistic(neighbors=30)(FOUR), LocalStatistic(neighbors=4)(FOUR))


def test_the_order_of_the_points_does_not_matter():
    points, order = scan(60), torch.randperm(60, generator=torch.Generator().manual_seed(5))
    shuffled = points.select(order, points.offset)
    torch.testing.assert_close(LocalStatistic()(shuffled), LocalStatistic()(points)[order])


def test_scaling_gives_zero_to_one():
    assert min_max(torch.tensor([2.0, 6.0, 4.0])).tolist() == [0.0, 1.0, 0.5]


def test_the_first_layer_of_the_student_is_a_term_that_the_step_brings():
    points = scan(60)
    statistic = LocalStatistic(terms=("first_layer",))
    doubled = statistic(points, lambda p: 2 * p.coord)
    torch.testing.assert_close(doubled, LocalStatistic(terms=("coord",))(points))  # scaling takes the factor away
    with pytest.raises(ValueError, match="first layer"):
        statistic(points)
    without = scan(60, color=False)
    assert statistic(without, lambda p: p.coord).shape == (60,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"terms": ["normal"]}, "terms must be"),
        ({"terms": []}, "terms must be"),
        ({"terms": ["coord", "coord"]}, "distinct"),
        ({"weights": [1.0]}, "weights has 1 values"),
        ({"neighbors": 1}, "neighbors=1"),
        ({"scope": "room"}, "scope must be"),
        ({"missing_color": "ignore"}, "missing_color must be"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        LocalStatistic(**options)
