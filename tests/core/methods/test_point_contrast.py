"""PointContrast*: closed forms, what the loss must not depend on, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from core.tiny import IdentityEncoder, TinyEncoder, generator, joined, scan

from mm3d_core.methods.contrastive import InfoNCE
from mm3d_core.methods.matches import draw_matches, features_at
from mm3d_core.methods.motions import Motion
from mm3d_core.methods.point_contrast import PointContrast
from mm3d_core.methods.views import PairViews
from mm3d_core.points import PointBatch

STILL = Motion(rotation="none", tilt=0.0, flip=0.0, scale=(1.0, 1.0), jitter=0.0, recenter="none")
WHOLE = PairViews(share=1.0, budget="steps", motion=STILL, color_change=None)


def one_hot(points: int) -> PointBatch:
    base = scan(points)
    return PointBatch.single(base.coord, torch.eye(points), base.attributes)


def method(**options) -> PointContrast:
    torch.manual_seed(0)
    return PointContrast(TinyEncoder(), **{"views": PairViews(min_share=0.1), **options})


def batch(model, scenes: int = 2) -> dict[str, PointBatch]:
    return joined([model.views(scan(400, s), generator(s)) for s in range(scenes)])


def test_identical_views_and_an_identity_network_give_the_closed_form():
    model = PointContrast(IdentityEncoder(20), width=None, contrast=InfoNCE(temperature=0.4))
    points = one_hot(20)
    view = points.with_attributes(match=torch.arange(20), origin=points.coord)
    loss = model.loss({"first": view, "second": view}, generator())["loss"]
    assert loss.item() == pytest.approx(math.log(math.exp(1 / 0.4) + 19) - 1 / 0.4, abs=1e-5)


def test_constant_features_give_the_logarithm_of_the_matches():
    model = method()
    for parameter in model.head.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(next(reversed(list(model.head.parameters()))))
    terms = model.loss(batch(model), generator())
    assert terms["loss"].item() == pytest.approx(math.log(int(terms["matches"])), abs=1e-4)
    assert terms["spread"].item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("objective", ["info_nce", "hardest"])
@pytest.mark.parametrize("level", [0, 1, "all"])
def test_the_gradient_reaches_every_used_parameter(objective, level):
    model = method(objective=objective, level=level)
    model.loss(batch(model), generator())["loss"].backward()
    used = [n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert any(name.startswith("encoder.near") for name in used)
    assert any(name.startswith("head") for name in used)


def test_the_order_of_the_points_does_not_change_the_loss():
    model = method(contrast=InfoNCE(temperature=0.4, max_points=None)).eval()
    view = model.views(scan(400), generator())
    order = torch.randperm(view["second"].num_points, generator=generator(1))
    place = order.argsort()
    match = view["first"].attributes["match"]
    moved = {
        "first": view["first"].with_attributes(match=torch.where(match >= 0, place[match], -1)),
        "second": view["second"].select(order, view["second"].offset),
    }
    torch.testing.assert_close(model.loss(moved, generator())["loss"], model.loss(view, generator())["loss"])


def test_no_more_matches_than_asked_are_drawn_from_the_batch():
    model = method(contrast=InfoNCE(temperature=0.4, max_points=30))
    assert model.loss(batch(model), generator())["matches"] == 30


def test_drawn_rows_name_the_same_points_in_both_views_of_every_scene():
    views = joined([PairViews(min_share=0.1)(scan(400, s), generator(s)) for s in range(3)])
    for per_scene in (False, True):
        first, second = draw_matches(views["first"], views["second"], 25, generator(), per_scene)
        origin = [views[name].attributes["origin"][rows] for name, rows in (("first", first), ("second", second))]
        assert torch.equal(origin[0], origin[1])
        scene = views["first"].scene_of_point()[first]
        assert torch.equal(scene, views["second"].scene_of_point()[second])
        assert torch.equal(scene, scene.sort().values)
    assert torch.bincount(scene).tolist() == [25, 25, 25]


def test_features_of_a_coarse_level_are_interpolated_at_the_asked_points():
    points = PointBatch.join([scan(50, 0), scan(60, 1)])
    coarse = points.select(torch.tensor([3, 9, 20, 55, 70, 100]), torch.tensor([3, 6]))
    coarse = coarse.with_feat(torch.arange(6.0).unsqueeze(1))
    feat = features_at([points, coarse], 1, points, torch.tensor([9, 20, 70]))
    torch.testing.assert_close(feat, torch.tensor([[1.0], [2.0], [4.0]]), atol=1e-4, rtol=0)


def test_a_batch_without_matches_is_refused():
    model = method()
    views = batch(model)
    views["first"] = views["first"].with_attributes(match=torch.full((views["first"].num_points,), -1))
    with pytest.raises(ValueError, match="no matched points"):
        model.loss(views, generator())


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="level=4"):
        method(level=4)
    with pytest.raises(ValueError, match="level=every"):
        method(level="every")
    with pytest.raises(ValueError, match="objective must be"):
        method(objective="triplet")
