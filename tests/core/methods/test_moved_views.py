"""Moved views: the teacher has a frame of its own, matches come from the scan, targets stay with the student."""

from __future__ import annotations

import pytest
import torch
from core.tiny import TinyEncoder, generator, joined, scan

from mm3d_core.methods.masking import MaskedViews
from mm3d_core.methods.mm3dscene import MM3DScene
from mm3d_core.methods.motions import ColorChange, Motion
from mm3d_core.methods.moved_views import MovedViews
from mm3d_core.methods.views import PairViews

TURN = Motion(tilt=0.0, scale=(1.0, 1.0), jitter=0.0)


def test_three_views_know_where_their_points_lay():
    points = scan(400)
    views = MovedViews(motion=TURN, color_change=ColorChange())(points, generator())
    assert set(views) == {"student", "target", "teacher"}
    for view in views.values():
        assert torch.equal(view.attributes["origin"], points.coord[view.index])
        torch.testing.assert_close(view.feat, torch.cat([view.coord, view.attributes["color"]], dim=1))
    assert torch.equal(views["teacher"].index, views["target"].index)
    match = views["student"].attributes["match"]
    assert torch.equal(views["student"].coord, views["target"].coord[match])  # one frame for the reconstruction
    assert (views["teacher"].coord[match] - views["student"].coord).norm(dim=1).median() > 0.2
    torch.testing.assert_close(
        torch.cdist(views["teacher"].coord.double(), views["teacher"].coord.double()),
        torch.cdist(points.coord[views["target"].index].double(), points.coord[views["target"].index].double()),
        atol=1e-5,
        rtol=0,
    )


def test_the_student_can_stay_in_the_scan():
    points = scan(400)
    views = MovedViews(motion=TURN, moves_student=False)(points, generator())
    assert torch.equal(views["student"].coord, points.coord[views["student"].index])
    assert not torch.equal(views["teacher"].coord, views["target"].coord)


def test_each_change_can_stand_alone_and_none_is_refused():
    views = MovedViews(color_change=ColorChange())(scan(400), generator())
    assert torch.equal(views["teacher"].coord, views["target"].coord)
    assert not torch.equal(views["teacher"].attributes["color"], views["target"].attributes["color"])
    with pytest.raises(ValueError, match="nothing would be moved"):
        MovedViews()
    with pytest.raises(ValueError, match="one scan at a time"):
        MovedViews(motion=TURN, draw="batch")


def test_matches_are_found_in_the_scan_and_not_in_the_frames():
    """A teacher that is the student itself, of features that no motion touches, agrees entirely when points match."""

    class Colors(TinyEncoder):
        def forward(self, points):
            color = points.attributes["color"].repeat(1, 3)[:, :8]
            return [points.with_feat(color), super().forward(points)[1]]

    torch.manual_seed(0)
    views = joined([MovedViews(motion=TURN)(scan(300, seed), generator(seed)) for seed in range(2)])
    terms = MM3DScene(Colors(), views=MovedViews(motion=TURN), levels=[0], rec_weight=0.0).loss(views, generator())
    assert terms["similarity_level0"] > 0.999
    blind = {name: view.with_attributes(origin=view.coord) for name, view in views.items()}
    moved = MM3DScene(Colors(), views=MovedViews(motion=TURN), levels=[0], rec_weight=0.0).loss(blind, generator())
    assert moved["similarity_level0"] < 0.99


def test_the_method_plans_the_views_that_its_networks_read_and_refuses_nested_sampling():
    method = MM3DScene(TinyEncoder(), views=MovedViews(motion=TURN))
    assert method.planned_views == ("student", "teacher")
    assert MM3DScene(TinyEncoder(), views=MaskedViews()).planned_views == ("student", "target")


def test_exchanged_matches_keep_their_points_and_lose_their_meaning():
    true = PairViews(crop="sphere")(scan(600), generator())
    false = PairViews(crop="sphere", shuffled=True)(scan(600), generator())
    before, after = true["first"].attributes["match"], false["first"].attributes["match"]
    assert torch.equal(before >= 0, after >= 0)
    assert torch.equal(before.sort().values, after.sort().values)
    assert (before == after)[before >= 0].float().mean() < 0.05
    back, found = false["second"].attributes["match"], after >= 0
    assert torch.equal(back[after[found]], found.nonzero().flatten())
