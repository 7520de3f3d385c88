"""Masks: exact shares, one order, and views that are nested whatever the score."""

from __future__ import annotations

import pickle

import pytest
import torch
from core.tiny import generator, joined, line, scan

from mm3d_core.methods.local_statistic import LocalStatistic
from mm3d_core.methods.masking import MaskedViews
from mm3d_core.points import PointBatch


@pytest.mark.parametrize("order", ["preserved", "abandoned", "random"])
@pytest.mark.parametrize("target", ["progressive", "intact"])
def test_the_student_keeps_the_first_of_the_targets_points_at_exactly_the_asked_share(order, target):
    points = scan(200)
    views = MaskedViews(order=order, target=target, keep_ratio=0.29, gap=0.1)(points, generator())
    student, shown = views["student"], views["target"]
    assert (student.num_points, shown.num_points) == (58, 78 if target == "progressive" else 200)
    assert torch.equal(student.index, shown.index[:58])
    assert torch.equal(student.coord, shown.coord[student.attributes["match"]])
    assert len(set(shown.index.tolist())) == shown.num_points


def test_of_four_points_on_a_line_half_keeps_the_third_and_the_fourth():
    points = line(0, 1, 3, 7, colors=torch.tensor([0.0, 0.0, 1.0, 1.0]))
    views = MaskedViews(LocalStatistic(neighbors=3), keep_ratio=0.5, gap=0.25)(points, generator())
    assert views["student"].index.tolist() == [2, 3]
    assert views["target"].index.tolist() == [2, 3, 0]


def test_preserved_points_are_the_most_informative_and_abandoned_ones_the_least():
    points = scan(100)
    score = LocalStatistic()(points)
    order = score.argsort(descending=True, stable=True)
    assert torch.equal(MaskedViews(keep_ratio=0.5)(points, generator())["student"].index, order[:50])
    least = MaskedViews(order="abandoned", keep_ratio=0.5)(points, generator())["student"].index
    assert set(least.tolist()) == set(order[50:].tolist())


def test_keep_ratios_fill_their_range_and_nothing_else():
    views = MaskedViews(order="random", keep_ratio=(0.2, 0.9))
    draws = torch.tensor([views.draw_ratio(generator(seed), 100) for seed in range(500)])
    assert 0.2 <= draws[:, 0].min() < 0.22
    assert 0.88 < draws[:, 0].max() < 0.9
    assert abs(float(draws[:, 0].mean()) - 0.55) < 0.03
    torch.testing.assert_close(draws[:, 1], (draws[:, 0] + 0.1).clamp_max(1.0))


def test_a_list_of_ratios_is_drawn_from_completely():
    views = MaskedViews(order="random", keep_ratio=[0.2, 0.5, 0.8], discrete=True)
    assert {views.draw_ratio(generator(seed), 100)[0] for seed in range(50)} == {0.2, 0.5, 0.8}


def test_a_random_gap_stays_within_the_scene_and_shows_at_least_one_more_point():
    views = MaskedViews(order="random", gap="random")
    for seed in range(100):
        made = views(scan(30), generator(seed))
        assert made["student"].num_points < made["target"].num_points <= 30


def test_the_same_generator_makes_the_same_views():
    views = MaskedViews(order="random")
    one, two = (views(scan(80), generator(7))["student"].index for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, views(scan(80), generator(8))["student"].index)


def test_per_scene_views_do_not_depend_on_the_batch():
    views = MaskedViews(keep_ratio=0.5)
    together = views.finish(
        PointBatch.join([p.with_attributes(**_terms(views, p)) for p in (scan(60, 1), scan(90, 2))]), generator()
    )
    apart = joined([views(scan(60, 1), generator()), views(scan(90, 2), generator())])
    for name in ("student", "target"):
        assert torch.equal(together[name].index, apart[name].index)
    assert torch.equal(together["student"].attributes["match"], apart["student"].attributes["match"])


def test_scaling_per_batch_waits_for_the_batch():
    views = MaskedViews(LocalStatistic(scope="batch"), keep_ratio=0.5)
    dull = scan(90, 2).with_attributes(color=scan(90, 2).attributes["color"] * 0.01)
    scenes = joined([views(scan(60, 1), generator()), views(dull, generator())])
    assert set(scenes) == {"scene"}
    made = views.finish(scenes["scene"], generator())
    assert made["student"].counts().tolist() == [30, 45]
    score = LocalStatistic(scope="batch")(PointBatch.join([scan(60, 1), dull]))
    assert torch.equal(made["student"].index[30:], score[60:].argsort(descending=True, stable=True)[:45])


def test_one_ratio_for_the_batch_keeps_the_same_share_of_every_scene():
    views = MaskedViews(draw="batch", keep_ratio=(0.2, 0.8))
    scenes = joined([views(scan(100, seed), generator(seed)) for seed in range(4)])
    assert len(set(views.finish(scenes["scene"], generator(3))["student"].counts().tolist())) == 1


def test_views_travel_to_loader_workers():
    views = pickle.loads(pickle.dumps(MaskedViews()))
    assert torch.equal(
        views(scan(50), generator())["student"].index, MaskedViews()(scan(50), generator())["student"].index
    )


def test_random_masks_need_no_color():
    assert MaskedViews(order="random")(scan(50, color=False), generator())["student"].num_points > 0


def test_coincident_points_keep_their_order_and_share():
    points = PointBatch.single(torch.zeros(50, 3), torch.zeros(50, 3), {"color": torch.zeros(50, 3)})
    assert MaskedViews(keep_ratio=0.4)(points, generator())["student"].index.tolist() == list(range(20))


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.5, (0.5, 1.0), (0.8, 0.2), ()])
def test_a_keep_ratio_outside_zero_and_one_is_refused(ratio):
    with pytest.raises(ValueError, match="keep_ratio must rise within"):
        MaskedViews(keep_ratio=ratio)


@pytest.mark.parametrize("gap", [0.0, -0.1, 1.1, "wide"])
def test_a_gap_that_leaves_nothing_to_reconstruct_is_refused(gap):
    with pytest.raises(ValueError, match="gap must be in"):
        MaskedViews(gap=gap)


def test_a_scene_too_small_for_the_gap_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"scene 0 has 5 points.*larger gap"):
        MaskedViews(keep_ratio=0.45, gap=0.1)(scan(5), generator())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "best"}, "order must be"),
        ({"target": "half"}, "target must be"),
        ({"draw": "epoch"}, "draw must be"),
        ({"keep_ratio": (0.1, 0.2, 0.3)}, "set discrete"),
    ],
)
def test_unknown_choices_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        MaskedViews(**options)


def _terms(views, points):
    return {f"difference_{name}": value for name, value in views.statistic.differences(points).items()}
