"""MSC*: masks are disjoint and of the exact share, hidden points show the token, and only they are regressed."""

from __future__ import annotations

import pytest
import torch
from core.tiny import TinyEncoder, generator, joined, scan

from mm3d_core.errors import UserError
from mm3d_core.methods.masked_scene_contrast import MaskedPairViews, MaskedSceneContrast, cross_masks, overlaid
from mm3d_core.points import PointBatch

VIEWS = MaskedPairViews(cell=0.4)


def method(**options) -> MaskedSceneContrast:
    torch.manual_seed(0)
    return MaskedSceneContrast(TinyEncoder(), **{"views": VIEWS, "mix": 0.0, **options})


def batch(model, scenes: int = 2) -> dict[str, PointBatch]:
    return joined([model.views(scan(400, s), generator(s)) for s in range(scenes)])


@pytest.mark.parametrize("share", [0.1, 0.4, 0.5])
def test_masks_share_no_cell_and_hold_the_exact_share_of_cells(share):
    corners = torch.cartesian_prod(*[torch.arange(10.0)] * 3)[:, [0, 1, 2]]
    coord = corners + 0.5  # one point in each of 1000 cells
    first, second = cross_masks(coord, coord, share, 1.0, generator())
    assert not (first & second).any()
    assert (first.sum(), second.sum()) == (int(1000 * share), int(1000 * share))


def test_cells_are_hidden_as_a_whole_and_in_one_view_only():
    views = VIEWS(scan(400), generator())
    origin = torch.cat([views[name].attributes["origin"] for name in ("first", "second")])
    cells = ((origin - origin.amin(0)) / 0.4).floor().long()
    masked = {name: set() for name in views}
    shown = {name: set() for name in views}
    start = 0
    for name in ("first", "second"):
        for cell, hidden in zip(
            cells[start : start + views[name].num_points].tolist(), views[name].attributes["masked"], strict=True
        ):
            (masked if hidden else shown)[name].add(tuple(cell))
        start += views[name].num_points
    assert not masked["first"] & masked["second"]
    assert not masked["first"] & shown["first"]


def test_masked_points_show_the_token_instead_of_their_color_and_keep_their_place():
    model = method()
    with torch.no_grad():
        model.token.fill_(7.0)
    view = batch(model)["first"]
    shown = model._masked(view)
    hidden = view.attributes["masked"]
    assert (shown.feat[hidden][:, 3:] == 7.0).all()
    assert torch.equal(shown.feat[:, :3], view.feat[:, :3])
    assert torch.equal(shown.feat[~hidden], view.feat[~hidden])


def test_the_loss_is_the_weighted_sum_and_reaches_token_encoder_and_heads():
    model = method(color_weight=2.0)
    terms = model.loss(batch(model), generator())
    torch.testing.assert_close(terms["loss"].detach(), terms["contrast"] + 2 * terms["color"])
    terms["loss"].backward()
    for name in ("token", "color_head.weight", "encoder.near.0.weight"):
        gradient = dict(model.named_parameters())[name].grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_a_perfect_color_costs_nothing_and_visible_points_are_not_asked():
    model = method(contrast_weight=0.0)
    views = batch(model, 1)
    gray = {}
    for name, view in views.items():
        color = torch.where(view.attributes["masked"].unsqueeze(1), 0.25, 9.0)
        gray[name] = view.with_attributes(color=color.expand(-1, 3))
    torch.nn.init.zeros_(model.color_head.weight)
    torch.nn.init.constant_(model.color_head.bias, 0.25)
    assert model.loss(gray, generator())["color"].item() == pytest.approx(0.0, abs=1e-10)


def test_normals_are_pulled_towards_and_not_away_from_the_truth():
    model = method(normal_weight=1.0)
    normal = torch.tensor([0.0, 0.0, 1.0])
    up = {name: view.with_attributes(normal=normal.expand(view.num_points, 3)) for name, view in batch(model).items()}
    assert model.normal_head is not None
    torch.nn.init.zeros_(model.normal_head.weight)
    for sign, value in ((1.0, 0.0), (-1.0, 2.0)):
        with torch.no_grad():
            model.normal_head.bias.copy_(torch.tensor([0.0, 0.0, sign]))
        assert model.loss(up, generator())["normal"].item() == pytest.approx(value, abs=1e-5)


def test_neighboring_scans_are_laid_over_each_other_in_the_first_view_only():
    points = PointBatch.join([scan(40, s) for s in range(3)])
    assert overlaid(points).counts().tolist() == [80, 40]
    model = method(mix=1.0)
    assert model.planned_views == ("second",)
    assert model.loss(batch(model, 3), generator())["mixed"] == 1.0
    assert method().planned_views == ("first", "second")


def test_a_scan_without_color_and_a_network_that_reads_none_are_refused():
    with pytest.raises(UserError, match="regresses colors"):
        VIEWS(scan(100, color=False), generator())
    with pytest.raises(ValueError, match="no color or normal"):
        method(views=MaskedPairViews(inputs=["coord"]))


@pytest.mark.parametrize("options", [{"mask_share": 0.6}, {"mask_share": 0.0}, {"cell": 0.0}])
def test_masks_that_cannot_be_disjoint_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MaskedPairViews(**options)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="must not be negative"):
        method(color_weight=-1.0)
    model = method()
    views = batch(model)
    views["first"] = views["first"].with_attributes(match=torch.full((views["first"].num_points,), -1))
    with pytest.raises(ValueError, match="no matched points"):
        model.loss(views, generator())
